"""A person's token: got for a code, renewed before its end."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import tekore as tk

from config import SPOTIFY_ACCOUNTS, Config
from problems import Problem

LONGEST_CODE = 2048  # characters
EXPIRY_MARGIN = 60  # seconds before its end that a token counts as expired
YOUNG_SECONDS = 60  # a token that is refused so soon is not at fault
TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")  # fits in a header (RFC 6750 §2.1)

# https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1
OAUTH_ERRORS = "access_denied invalid_request unauthorized_client server_error "
OAUTH_ERRORS += "unsupported_response_type invalid_scope temporarily_unavailable"
# tekore trips over answers that are not what it expects, each in its own way.
NOT_A_TOKEN = (TypeError, KeyError, AttributeError, ValueError, OverflowError)

log = logging.getLogger("now_playing")


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
    """Return what an error means with which Spotify sends somebody back."""
    if error in OAUTH_ERRORS.split():
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
            return _token(cred.request_pkce_token, (code, verifier), now)
        return _token(cred.request_user_token, (code,), now)
    except Problem as problem:
        log.warning("login failed: %s", problem.name)
        names = {"rate_limited": "login_later", "unreachable": "login_failed"}
        name = names.get(problem.name, problem.name)
        raise Problem(name, problem.retry_after) from None


def refresh_token(cred: tk.Credentials, old: Token, now: float) -> Token:
    """Renew a token. Raises Problem: code_refused when that is over for good."""
    if old.refresh is None or not (old.uses_pkce or cred.client_secret):
        raise Problem("code_refused")
    refresh = cred.refresh_pkce_token if old.uses_pkce else cred.refresh_user_token
    try:
        fresh = _token(refresh, (old.refresh,), now)
    except Problem as problem:
        if problem.name == "client_refused":  # whoever runs the app can mend that
            raise Problem("unreachable") from None
        raise
    return replace(fresh, refresh=fresh.refresh or old.refresh)


def _token(
    request: Callable[..., tk.Token], args: tuple[str, ...], now: float
) -> Token:
    try:
        token = request(*args)
        access, refresh = token.access_token, token.refresh_token
        if not (isinstance(refresh, str) and TOKEN.fullmatch(refresh)):
            refresh = None
        if TOKEN.fullmatch(access):
            expires_at = now + token.expires_in
            return Token(access, refresh, expires_at, now, token.uses_pkce)
        log.warning("Spotify: an access token that fits in no header")
    except tk.RefreshTokenInvalid:  # which a code can be, too
        raise Problem("code_refused") from None
    except tk.HTTPError as error:
        said = error.response.content
        if isinstance(said, dict) and said.get("error") == "invalid_client":
            raise Problem("client_refused") from None
    except NOT_A_TOKEN as error:
        log.warning("Spotify: not a token (%s)", type(error).__name__)
    raise Problem("unreachable")
