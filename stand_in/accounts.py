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
    r"(https://(?!localhost(:|/|$))[\w.-]+|http://(127\.0\.0\.1|\[::1\]))"
    r'(:\d{1,5})?(/[!-"$-~]*)?',
    re.ASCII | re.IGNORECASE,
)


class Refused(Exception):
    """An error as the answer."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status, self.body = status, body


def oauth_error(error: str, description: str) -> Refused:
    return Refused(400, {"error": error, "error_description": description})


def api_error(status: int, message: str) -> Refused:
    return Refused(status, {"error": {"status": status, "message": message}})


@dataclass(kw_only=True, eq=False)
class Accounts:
    """The accounts service, without its HTTP; times are in seconds."""

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
        invalid = re.search("[^a-z -]", query.get("scope", ""))
        return "INVALID_SCOPE: Invalid scope" if invalid else ""

    def grant(self, /, redirect_uri: str, person: str = "robin", **params: str) -> str:
        """Issue a code, as Agree does; `params` are those of the authorise request."""
        code = token_urlsafe(48)
        asked = {"client_id": "", "scope": SCOPE, "code_challenge": ""} | params
        asked |= {"redirect_uri": redirect_uri, "person": person}
        self._codes[code] = asked, self.clock() + 600
        return code

    def token(self, form: Mapping[str, str], basic: str) -> dict[str, Any]:
        """Return new tokens for a code or a refresh token."""
        kind, used = form.get("grant_type"), form.get("refresh_token", "")
        with self.lock:
            if kind == "authorization_code":
                allowed, used = self._redeem(form), ""
            elif kind != "refresh_token":
                raise oauth_error("unsupported_grant_type", "Unsupported grant_type")
            elif used not in self._refresh:
                raise oauth_error("invalid_grant", "Refresh token revoked")
            else:
                allowed = self._refresh[used]
            self._check_client(allowed, form.get("client_id"), basic)
            return self._issue(allowed, used)

    def _redeem(self, form: Mapping[str, str]) -> Grant:
        allowed, expires = self._codes.pop(form.get("code", ""), (None, 0.0))
        digest = sha256(form.get("code_verifier", "").encode()).digest()
        challenge = urlsafe_b64encode(digest).decode().rstrip("=")
        if allowed is None:
            raise oauth_error("invalid_grant", "Invalid authorization code")
        if self.clock() >= expires:
            raise oauth_error("invalid_grant", "Authorization code expired")
        if form.get("redirect_uri") != allowed["redirect_uri"]:
            raise oauth_error("invalid_grant", "Invalid redirect URI")
        if allowed["code_challenge"] not in ("", challenge):
            raise oauth_error("invalid_grant", "code_verifier was incorrect")
        return allowed

    def _check_client(self, allowed: Grant, client: str | None, basic: str) -> None:
        pair = f"{allowed['client_id']}:{self.client_secret}".encode()
        if allowed["code_challenge"]:
            if client != allowed["client_id"]:
                raise oauth_error("invalid_client", "Invalid client")
        elif self.client_secret and basic != f"Basic {b64encode(pair).decode()}":
            raise oauth_error("invalid_client", "Invalid client secret")

    def _issue(self, allowed: Grant, used: str) -> dict[str, Any]:
        access, refresh = token_urlsafe(64), token_urlsafe(64)
        self._access[access] = allowed, self.clock() + self.expires_in
        body: dict[str, Any] = {"access_token": access, "expires_in": self.expires_in}
        body |= {"scope": allowed["scope"], "token_type": "Bearer"}
        if allowed["code_challenge"] or not used:
            self._refresh.pop(used, None)
            self._refresh[refresh] = allowed
            body["refresh_token"] = refresh
        return body

    def whose(self, authorization: str, scope: str = "") -> str:
        """Return the person behind an access token."""
        token = authorization.removeprefix("Bearer ")
        allowed, expires = self._access.get(token, (None, 0.0))
        if allowed is None:
            raise api_error(401, "Invalid access token")
        if self.clock() >= expires:
            raise api_error(401, "The access token expired")
        if scope and scope not in allowed["scope"].split():
            raise api_error(403, "Insufficient client scope")
        return allowed["person"]

    def expire_tokens(self) -> None:
        """Let every access token have expired."""
        for token, (allowed, _) in list(self._access.items()):
            self._access[token] = allowed, float("-inf")

    def revoke(self) -> None:
        """Let every refresh token be dead."""
        self._refresh.clear()
