"""Who may log in where: consent, codes and tokens, as strict as the real Spotify."""

import re
import threading
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any

Grant = dict[str, str]  # What was asked, and the person who agreed.
PEOPLE = {"robin": "Robin Vale", "mika": "Mika Okonjo", "ines": "Inès Aldana"}
SCOPE = "user-read-currently-playing"
SECURE_URI = re.compile(
    r"(?ai)(https://(?!localhost(:|/|$))[\w.-]+|http://(127\.0\.0\.1|\[::1\]))"
    r'(:\d{1,5})?(/[!-"$-~]*)?'
)


class Refused(Exception):
    """An error as the answer: its JSON and its status."""


def oauth_error(error: str, description: str) -> Refused:
    return Refused({"error": error, "error_description": description}, 400)


def api_error(status: int, message: str) -> Refused:
    return Refused({"error": {"status": status, "message": message}}, status)


@dataclass(kw_only=True, eq=False)
class Accounts:
    """The accounts service, without its HTTP. Times are in seconds."""

    client_id: str | None = None
    client_secret: str | None = None
    redirect_uris: Sequence[str] = ()
    clock: Callable[[], float] = time.time
    expires_in: int = 3600

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self._codes: dict[str, tuple[Grant, float]] = {}
        self._access: dict[str, tuple[Grant, float]] = {}
        self._refresh: dict[str, Grant] = {}

    def refusal(self, query: Mapping[str, str]) -> str:
        """Return why this authorise request is refused, or an empty string."""
        client, uri = query.get("client_id"), query.get("redirect_uri", "")
        if not client or client != (self.client_id or client):
            return "INVALID_CLIENT: Invalid client"
        if uri and not SECURE_URI.fullmatch(uri):
            return "INVALID_CLIENT: Insecure redirect URI"
        if not uri or uri not in (self.redirect_uris or [uri]):
            return "INVALID_CLIENT: Invalid redirect URI"
        if query.get("response_type") != "code":
            return "response_type must be code"
        if "code_challenge" in query and query.get("code_challenge_method") != "S256":
            return "code_challenge_method must be S256"
        return ""

    def grant(self, /, redirect_uri: str, person: str = "robin", **asked: str) -> str:
        """Return a new code, as Agree does. asked: what else the app asked with."""
        code, grant = token_urlsafe(48), {"client_id": "", "code_challenge": ""}
        grant |= {"scope": SCOPE, **asked, "redirect_uri": redirect_uri}
        grant["person"] = person
        self._codes[code] = grant, self.clock() + 600
        return code

    def token(self, form: Mapping[str, str], basic: str) -> dict[str, Any]:
        """Return new tokens for a code or a refresh token."""
        used = form.get("refresh_token", "")
        with self.lock:
            if form.get("grant_type") == "authorization_code":
                grant, used = self._redeem(form), ""
            elif not (grant := self._refresh.get(used, {})):
                raise oauth_error("invalid_grant", "Refresh token revoked")
            self._check_client(grant, form.get("client_id"), basic)
            return self._issue(grant, used)

    def _redeem(self, form: Mapping[str, str]) -> Grant:
        grant, expires = self._codes.pop(form.get("code", ""), ({}, 0.0))
        digest = sha256(form.get("code_verifier", "").encode()).digest()
        challenge = urlsafe_b64encode(digest).decode().rstrip("=")
        if not grant:
            raise oauth_error("invalid_grant", "Invalid authorization code")
        if self.clock() >= expires:
            raise oauth_error("invalid_grant", "Authorization code expired")
        if form.get("redirect_uri") != grant["redirect_uri"]:
            raise oauth_error("invalid_grant", "Invalid redirect URI")
        if grant["code_challenge"] not in ("", challenge):
            raise oauth_error("invalid_grant", "code_verifier was incorrect")
        return grant

    def _check_client(self, grant: Grant, client: str | None, basic: str) -> None:
        pair = f"{grant['client_id']}:{self.client_secret}".encode()
        if grant["code_challenge"]:
            if client != grant["client_id"]:
                raise oauth_error("invalid_client", "Invalid client")
        elif self.client_secret and basic != f"Basic {b64encode(pair).decode()}":
            raise oauth_error("invalid_client", "Invalid client secret")

    def _issue(self, grant: Grant, used: str) -> dict[str, Any]:
        access, refresh = token_urlsafe(64), token_urlsafe(64)
        self._access[access] = grant, self.clock() + self.expires_in
        body: dict[str, Any] = {"access_token": access, "expires_in": self.expires_in}
        body |= {"scope": grant["scope"], "token_type": "Bearer"}
        if grant["code_challenge"] or not used:
            self._refresh.pop(used, None)
            self._refresh[refresh] = grant
            body["refresh_token"] = refresh
        return body

    def whose(self, authorization: str, scope: str = "") -> str:
        """Return the person behind an access token."""
        grant, expires = self._access.get(authorization[7:], ({}, 0.0))  # "Bearer …"
        if not grant:
            raise api_error(401, "Invalid access token")
        if self.clock() >= expires:
            raise api_error(401, "The access token expired")
        if scope and scope not in grant["scope"].split():
            raise api_error(403, "Insufficient client scope")
        return grant["person"]

    def expire_tokens(self) -> None:
        self._access = {token: (it[0], 0.0) for token, it in self._access.items()}

    def revoke(self) -> None:
        self._refresh.clear()
