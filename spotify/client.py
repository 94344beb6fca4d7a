"""What this app asks Spotify's API, over tekore; what fails is a named Problem."""

import re
from typing import Any, NamedTuple

import tekore as tk

from config import Config
from problems import Problem, log

from .playback import NowPlaying, read, text
from .sender import Sender
from .tokens import Token


class Unauthorised(Problem):
    """The API does not accept the access token; a new one may help."""


class Account(NamedTuple):
    """Who somebody is at Spotify."""

    name: str | None
    id: str | None


class Spotify:
    """Spotify's API. Any method may raise Problem, Unauthorised among them.

    Rules and errors: https://developer.spotify.com/documentation/web-api
    """

    def __init__(self, config: Config, sender: Sender) -> None:
        self._sender, self._art_origin = sender, config.art_origin
        self.calls = sender.calls

    def now_playing(self, token: Token) -> NowPlaying:
        """Return what the token's owner is playing."""
        path = "me/player/currently-playing?additional_types=track,episode"
        playing = read(self.get(token, path), self._art_origin)
        if playing is None:
            raise Problem("unreachable")
        return playing

    def account(self, token: Token) -> Account | None:
        """Return whose token it is, or None if Spotify does not say; never raises."""
        try:
            profile = self.get(token, "me")
        except Problem as problem:
            log.warning("no profile: %s", problem.name)
            return None
        fields = profile if isinstance(profile, dict) else {}
        account = Account(text(fields.get("display_name")), text(fields.get("id")))
        return account if any(account) else None

    def get(self, token: Token, path: str, **params: str) -> Any:
        """Ask for a path below https://api.spotify.com/v1/, and return its JSON."""
        return self.send(token, "GET", path, params=params)

    def send(self, token: Token, method: str, path: str, **more: Any) -> Any:
        """Send a request, with params, or with json as its body; return the JSON."""
        # A request of its own for every call: tekore keeps the bearer in it.
        request = tk.Request(method, path, **more)
        response = tk.Spotify(token.access, sender=self._sender).send(request)
        if response.status_code >= 400:
            raise _refusal(response.status_code, str(response.content).lower())
        return response.content


def _refusal(status: int, words: str) -> Problem:
    """Tell the refusals apart, which Spotify does in words alone."""
    if status == 400:
        return Problem("unreachable")
    if status == 401 and "permission" not in words:
        return Unauthorised("session_ended")
    if "premium" in words:
        return Problem("owner_premium")
    if re.search(r"not (be )?registered|not approved", words):
        return Problem("not_registered")
    return Problem("wrong_country" if "in this country" in words else "forbidden")
