"""Everything that can go wrong, in one table: its name, its words, what to do next."""

from __future__ import annotations

import math
from typing import NamedTuple


class _Kind(NamedTuple):
    status: int
    message: str
    advice: str
    poll_after: float = 0  # seconds; 0: asking again would not help


_LOG_IN = "Log in again."

KINDS = {
    # What /now-playing may answer; the names and statuses are part of its contract.
    "logged_out": _Kind(401, "You are not logged in.", "Log in with Spotify."),
    "session_unknown": _Kind(401, "This login is no longer known here.", _LOG_IN),
    "session_ended": _Kind(
        401,
        "Spotify has ended this login: its six months are over, or the access was "
        "withdrawn.",
        _LOG_IN,
    ),
    "not_registered": _Kind(
        403,
        "This Spotify account is not on the app’s list of users.",
        "Ask the app’s owner to add the account’s e-mail address in the dashboard, "
        "then reload.",
        60,
    ),
    "owner_premium": _Kind(
        403,
        "Spotify answers only while the app’s owner has Premium.",
        "The owner has to renew Premium; it can take some hours until Spotify notices.",
        300,
    ),
    "forbidden": _Kind(
        403,
        "Spotify refuses to say what is playing.",
        "Log out and log in again, and agree to what Spotify asks.",
        60,
    ),
    "unreachable": _Kind(
        502,
        "Spotify can’t be reached, or its answer makes no sense.",
        "Nothing is lost: this page keeps trying.",
        15,
    ),
    "rate_limited": _Kind(
        503,
        "Spotify has asked this app to wait, because it was asked too often.",
        "Nothing is lost: this page asks again when the wait is over.",
        5,
    ),
    "unavailable": _Kind(
        503,
        "The app can’t reach its store of logins.",
        "Nothing is lost: try again in a moment.",
        10,
    ),
    # What may happen on the way in and out.
    "cancelled": _Kind(
        403,
        "The login was cancelled, so nothing was shared.",
        "Log in whenever you like.",
    ),
    "login_failed": _Kind(
        502, "Spotify did not complete the login.", "Try to log in again."
    ),
    "login_later": _Kind(
        503,
        "Spotify has asked this app to wait, so nobody can log in just now.",
        "Log in when the wait is over.",
    ),
    "invalid_state": _Kind(
        400,
        "Invalid state! This login was not begun in this browser, was used before, or "
        "is older than ten minutes.",
        "Start again from the main page.",
    ),
    "code_refused": _Kind(
        400, "Spotify did not accept the code of this login.", _LOG_IN
    ),
    "client_refused": _Kind(
        502,
        "Spotify does not accept this app’s client ID or secret.",
        "Whoever runs the app: compare SPOTIFY_CLIENT_ID and SPOTIFY_CLIENT_SECRET "
        "with the dashboard.",
    ),
    "cross_site": _Kind(
        403,
        "Another website, or a browser reading ahead, asked for this, so nothing was "
        "done.",
        "Do it from the main page.",
    ),
    # The rest of HTTP.
    "bad_request": _Kind(
        400, "That request makes no sense here.", "Start from the main page."
    ),
    "not_found": _Kind(404, "There is no such page.", "Go to the main page."),
    "method_not_allowed": _Kind(
        405, "This page can’t be used that way.", "Go to the main page."
    ),
    "too_large": _Kind(413, "That request is too large.", "Go to the main page."),
    "server_error": _Kind(
        500, "Something went wrong in the app.", "Try again; the log says what it was."
    ),
}


class Problem(Exception):
    """A named outcome that is not success.

    name: a key of KINDS. retry_after: seconds that Spotify asks to wait, or None.
    """

    def __init__(self, name: str, retry_after: float | None = None) -> None:
        super().__init__(name)
        self.name = name
        self.retry_after = None if retry_after is None else math.ceil(retry_after)

    @property
    def error(self) -> str:
        """The name that /now-playing answers with: every 401 is logged_out."""
        return "logged_out" if self.status == 401 else self.name

    @property
    def status(self) -> int:
        """The HTTP status that says the same."""
        return KINDS[self.name].status

    @property
    def message(self) -> str:
        """One sentence for the person."""
        return KINDS[self.name].message

    @property
    def advice(self) -> str:
        """What the person can do next, in one sentence."""
        return KINDS[self.name].advice

    @property
    def poll_after_ms(self) -> int:
        """When a page should ask again, in milliseconds; 0 means never."""
        return int(1000 * max(KINDS[self.name].poll_after, self.retry_after or 0))
