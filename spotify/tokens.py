"""A person's token: exchanged for a code, renewed before it expires."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import tekore as tk

from config import SPOTIFY_ACCOUNTS, Config
from problems import Problem

LONGEST_CODE = 2048  # characters
EXPIRY_MARGIN = 60  # seconds; a token counts as expired so long before its end
YOUNG_SECONDS = 60  # a token that is refused so soon is not at fault
TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")  # fits in a header (RFC 6750 §2.1)

LOGIN_PROBLEMS = {"rate_limited": "login_later", "unreachable": "login_failed"}
# Whoever runs the app can correct a secret that is refused, and the login goes on.
REFRESH_PROBLEMS = {"code_refused": "session_ended", "client_refused": "unreachable"}
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
    """Return what it means when Spotify sends somebody back with an error."""
    if re.fullmatch("[a-z_]{1,40}", error):  # as OAuth's are (RFC 6749 §4.1.2.1)
        log.warning("login refused: %s", error)
    return Problem("cancelled" if error == "access_denied" else "login_failed")


def request_token(cred: tk.Credentials, code: str, verifier: str, now: float) -> Token:
    """Exchange a login's code. verifier: empty if the login was not by PKCE.

    Raises Problem: code_refused, client_refused, login_later, login_failed, busy.
    """
    if not 0 < len(code) <= LONGEST_CODE:
        raise Problem("code_refused")
    if verifier:
        return _token(now, LOGIN_PROBLEMS, cred.request_pkce_token, code, verifier)
    return _token(now, LOGIN_PROBLEMS, cred.request_user_token, code)


def refresh_token(cred: tk.Credentials, old: Token, now: float) -> Token:
    """Renew a token. Raises Problem: session_ended when that is over for good."""
    if old.refresh is None or not (old.uses_pkce or cred.client_secret):
        raise Problem("session_ended")
    refresh = cred.refresh_pkce_token if old.uses_pkce else cred.refresh_user_token
    fresh = _token(now, REFRESH_PROBLEMS, refresh, old.refresh)
    return replace(fresh, refresh=fresh.refresh or old.refresh)


def _token(
    now: float, names: dict[str, str], request: Callable[..., tk.Token], *args: str
) -> Token:
    """Return what request(*args) brings. names: of problems that have others here."""
    name, wait = "unreachable", None
    try:
        token = request(*args)
        access, refresh = token.access_token, token.refresh_token
        if not (isinstance(refresh, str) and TOKEN.fullmatch(refresh)):
            refresh = None
        if TOKEN.fullmatch(access):
            expires_at = now + token.expires_in
            return Token(access, refresh, expires_at, now, token.uses_pkce)
    except Problem as problem:
        name, wait = problem.name, problem.retry_after
    except tk.RefreshTokenInvalid:  # which a code can be, too
        name = "code_refused"
    except tk.HTTPError as error:
        if "invalid_client" in str(error):
            name = "client_refused"
    except NOT_A_TOKEN as error:
        log.warning("Spotify: not a token (%s)", type(error).__name__)
    log.warning("no token: %s", name)
    raise Problem(names.get(name, name), wait)
