"""What this app asks of Spotify, over tekore; what goes wrong is a named Problem."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import tekore as tk

from config import SPOTIFY_ACCOUNTS, Config
from problems import Problem

from .playback import NowPlaying, read, text
from .sender import Host, Sender

SCOPE = tk.scope.user_read_currently_playing
LONGEST_CODE = 2048  # characters
USUAL_SECONDS = 3600  # that a token lives
EXPIRY_MARGIN = 60  # seconds before its end that a token counts as expired
TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")  # fits in a header (RFC 6750 §2.1)

# The library trips over answers that are not what it expects, each in its own way.
NOT_A_TOKEN = (TypeError, KeyError, AttributeError, ValueError, OverflowError)


class Unauthorised(Problem):
    """The API does not accept the access token; a new one may help."""


class Pending(NamedTuple):
    """A login that was begun. verifier: the PKCE code verifier, empty with a secret."""

    url: str
    state: str
    verifier: str


class Account(NamedTuple):
    """Who somebody is at Spotify."""

    name: str | None
    id: str | None


@dataclass(frozen=True, slots=True)
class Token:
    """What Spotify granted. expires_at: seconds since 1970."""

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    expires_at: float


class Spotify:
    """The conversation with Spotify. Any method may raise Problem.

    deadline: when a call has to be over, in seconds of time.monotonic. Rules and
    errors: https://developer.spotify.com/documentation/web-api
    """

    def __init__(
        self,
        config: Config,
        paused: Callable[[str], float],
        pause: Callable[[str, float], None],
        clock: Callable[[], float],
    ) -> None:
        self._config, self._clock = config, clock
        self._pkce = config.client_secret is None
        pauses = paused, pause
        # Refreshes have handles of their own, so that strangers' logins stop nobody.
        logins = config.threads // 4 + 1
        self._logins = Host("accounts", config.accounts_url, logins, *pauses)
        self._refreshes = Host("accounts", config.accounts_url, logins, *pauses)
        self._api = Host("api", config.api_url, config.threads, *pauses)

    def begin_login(self) -> Pending:
        """Return a new login: where to send the person, its state, its verifier."""
        auth = tk.UserAuth(self._credentials(self._logins, 0), SCOPE, pkce=self._pkce)
        url = self._config.login_url + auth.url.removeprefix(SPOTIFY_ACCOUNTS)
        if self._pkce:
            url += "&show_dialog=true"  # so that a person can change accounts
        return Pending(url, auth.state, auth.verifier or "")

    def exchange(self, code: str, verifier: str, deadline: float) -> Token:
        """Return the token for a code. Raises Problem code_refused, client_refused."""
        if not 0 < len(code) <= LONGEST_CODE:
            raise Problem("code_refused")
        credentials = self._credentials(self._logins, deadline)
        if verifier:
            return self._token(credentials.request_pkce_token, code, verifier)
        return self._token(credentials.request_user_token, code)

    def refresh(self, token: Token, deadline: float) -> Token:
        """Return a new token for an old one.

        Raises Problem code_refused when Spotify will not refresh it ever again.
        """
        if token.refresh is None:
            raise Problem("code_refused")
        via = self._credentials(self._refreshes, deadline)
        refresh = via.refresh_pkce_token if self._pkce else via.refresh_user_token
        fresh = self._token(refresh, token.refresh)
        return replace(fresh, refresh=fresh.refresh or token.refresh)

    def expires_soon(self, token: Token) -> bool:
        """Tell whether the token has to be refreshed before it is used."""
        return token.expires_at - self._clock() < EXPIRY_MARGIN

    def account(self, token: Token, deadline: float) -> Account:
        """Return whose token it is. Raises Unauthorised."""
        profile = self._get(token, deadline, "me")
        fields = profile if isinstance(profile, dict) else {}
        account = Account(text(fields.get("display_name")), text(fields.get("id")))
        if not any(account):
            raise Problem("unreachable")
        return account

    def now_playing(self, token: Token, deadline: float) -> NowPlaying:
        """Return what the token's owner is playing. Raises Unauthorised."""
        path, types = "me/player/currently-playing", "track,episode"
        answer = self._get(token, deadline, path, additional_types=types)
        playing = read(answer, self._config.art_origin)
        if playing is None:
            raise Problem("unreachable")
        return playing

    def _credentials(self, accounts: Host, deadline: float) -> tk.Credentials:
        config, sender = self._config, Sender(accounts, self._api, deadline)
        return tk.Credentials(
            config.client_id, config.client_secret, config.redirect_uri, sender
        )

    def _get(self, token: Token, deadline: float, path: str, **params: str) -> Any:
        sender = Sender(self._logins, self._api, deadline)
        # A request of its own for every call: tekore keeps the bearer in it.
        request = tk.Request("GET", path, params=params)
        response = tk.Spotify(token.access, sender=sender).send(request)
        if response.status_code == 401:
            raise Unauthorised("session_ended")
        if response.status_code == 403:
            raise Problem(_refusal(str(response.content)))
        if response.status_code == 400:
            raise Problem("unreachable")
        return response.content

    def _token(self, request: Callable[..., tk.Token], *args: str) -> Token:
        try:
            token = request(*args)
            access, refresh = token.access_token, token.refresh_token
            if not (isinstance(refresh, str) and TOKEN.fullmatch(refresh)):
                refresh = None
            seconds = float(token.expires_in)
            if TOKEN.fullmatch(access):
                seconds = seconds if math.isfinite(seconds) else USUAL_SECONDS
                return Token(access, refresh, self._clock() + seconds)
        except tk.RefreshTokenInvalid:  # which a code can be, too
            raise Problem("code_refused") from None
        except tk.HTTPError as error:
            said = error.response.content
            if isinstance(said, dict) and said.get("error") == "invalid_client":
                raise Problem("client_refused") from None
        except NOT_A_TOKEN:
            pass
        raise Problem("unreachable")


def _refusal(words: str) -> str:
    """Tell the kinds of 403 apart, which Spotify does in words alone."""
    words = words.lower()
    if "premium" in words:
        return "owner_premium"
    if re.search(r"not (be )?registered|not approved", words):
        return "not_registered"
    return "forbidden"
