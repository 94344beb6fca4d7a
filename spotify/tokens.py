"""A person's token: exchanged for a code, renewed before it expires."""

import re
from dataclasses import dataclass, field

import tekore as tk

from config import SPOTIFY_ACCOUNTS, Config
from problems import Problem, log

LONGEST_CODE = 2048  # characters
EXPIRY_MARGIN = 60  # seconds; a token counts as expired so long before its end
YOUNG_SECONDS = 60  # a token that is refused so soon is not at fault
USUAL_SECONDS = 3600  # that an access token lives
TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")  # fits in a header (RFC 6750 §2.1)
WORD = re.compile("[a-z_]{1,40}")  # as OAuth's errors are (RFC 6749 §4.1.2.1)

LOGIN_PROBLEMS = {"rate_limited": "login_later", "unreachable": "login_failed"}
# All else is unreachable; also a client that is refused when it renews a token: whoever
# runs the app can correct its secret, and the login goes on.
REFUSALS = {
    ("authorization_code", "invalid_grant"): "code_refused",
    ("authorization_code", "invalid_client"): "client_refused",
    ("refresh_token", "invalid_grant"): "session_ended",
}


@dataclass(frozen=True, slots=True)
class Token:
    """What Spotify granted. Times are in seconds since 1970.

    uses_pkce: by which of the two flows it came, and so has to be renewed.
    """

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    expires_at: float
    issued_at: float
    uses_pkce: bool

    def is_expiring(self, now: float) -> bool:
        """Tell whether the token has to be renewed before it is used."""
        return self.expires_at - now < EXPIRY_MARGIN

    def is_young(self, now: float) -> bool:
        """Tell whether Spotify has only just granted it."""
        return 0 <= now - self.issued_at < YOUNG_SECONDS


def authorize_url(config: Config, auth: tk.UserAuth) -> str:
    """Return where to send somebody to log in."""
    url: str = config.login_url + auth.url.removeprefix(SPOTIFY_ACCOUNTS)
    # So that a person can change accounts; with the secret tekore asks for it itself.
    return f"{url}&show_dialog=true" if auth.verifier else url


def login_error(error: str) -> Problem:
    """Return what it means when Spotify sends somebody back with an error."""
    if WORD.fullmatch(error):
        log.warning("login refused: %s", error)
    return Problem("cancelled" if error == "access_denied" else "login_failed")


def request_token(cred: tk.Credentials, code: str, verifier: str, now: float) -> Token:
    """Exchange a login's code. verifier: empty if the login was not by PKCE.

    Raises Problem: code_refused, client_refused, login_later, login_failed, busy.
    """
    if not 0 < len(code) <= LONGEST_CODE:
        raise Problem("code_refused")
    try:
        if verifier:
            return _token(cred.request_pkce_token(code, verifier), now)
        return _token(cred.request_user_token(code), now)
    except Problem as problem:
        name = LOGIN_PROBLEMS.get(problem.name, problem.name)
        raise Problem(name, problem.retry_after) from None


def refresh_token(cred: tk.Credentials, old: Token, now: float) -> Token:
    """Renew a token. Raises Problem: session_ended when that is over for good."""
    if old.refresh is None or not (old.uses_pkce or cred.client_secret):
        raise Problem("session_ended")
    refresh = cred.refresh_pkce_token if old.uses_pkce else cred.refresh_user_token
    return _token(refresh(old.refresh), now)


def token_answer(response: tk.Response, grant_type: str) -> tk.Response:
    """Return the answer with all that tekore 6.2 reads; Problem if it has no token.

    Tolerant, because refusing a token can lose the login: with PKCE, the answer has
    used up the old refresh token.
    """
    token = response.content if isinstance(response.content, dict) else {}
    error = ""
    if response.status_code >= 400:
        error = str(token.get("error") or "unknown")
    for name in ("access_token", "refresh_token"):
        if not (isinstance(token.get(name), str) and TOKEN.fullmatch(token[name])):
            token[name] = None
    if error or not token["access_token"]:
        log.warning("no token: %s", error if WORD.fullmatch(error) else "unreachable")
        raise Problem(REFUSALS.get((grant_type, error), "unreachable"))
    token |= {"token_type": "Bearer", "scope": ""}  # neither is read
    try:
        seconds = int(float(token["expires_in"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        seconds = 0
    token["expires_in"] = seconds if seconds > 0 else USUAL_SECONDS
    return response


def _token(new: tk.Token, now: float) -> Token:
    expires_at = now + new.expires_in
    return Token(new.access_token, new.refresh_token, expires_at, now, new.uses_pkce)
