"""Everything that can go wrong: its name, its status and its words; and the log."""

import logging
import math
import random
from typing import Any, NamedTuple

log = logging.getLogger("now_playing")


class Kind(NamedTuple):
    """What a problem means."""

    status: int  # of the answer (HTTP)
    message: str
    advice: str = ""  # what to do next
    poll_after: int = 0  # seconds until a page should ask again; 0: it would not help


ADD_ACCOUNT = "Ask the app’s owner to add its e-mail address in the dashboard."
AGREE = "Log out, log in again, and agree to what Spotify asks."
COMPARE = "If you run this app: compare both with the dashboard."
COUNTRY = "Spotify isn’t available in the country this app runs in."
ELSEWHERE = "Run the app in a country where Spotify is available."
ENDS = "It does so after six months, or when you disconnect the app. Log in again."
QUOTA = "Spotify’s daily limit for this app is used up."
RENEW = "The owner needs to renew Premium. Spotify may take a few hours to notice."
SHARED = "All apps of its developer count together. This page goes on by itself."
STARTED = "Log in again, in the browser you started in."
WAIT = "Too many requests: Spotify has asked this app to wait."

KINDS = {
    "logged_out": Kind(401, "You’re not logged in.", "Log in with Spotify."),
    "session_unknown": Kind(401, "You’ve been logged out.", "Log in again."),
    "session_ended": Kind(401, "Spotify has ended this login.", ENDS),
    "not_registered": Kind(
        403, "This Spotify account isn’t on the app’s list of users.", ADD_ACCOUNT, 60
    ),
    "owner_premium": Kind(
        403, "Spotify only answers while the app’s owner has Premium.", RENEW, 300
    ),
    "wrong_country": Kind(403, COUNTRY, ELSEWHERE, 300),
    "forbidden": Kind(403, "Spotify won’t share what you’re playing.", AGREE, 60),
    "unreachable": Kind(
        502, "Spotify isn’t answering properly.", "This page keeps trying.", 15
    ),
    "rate_limited": Kind(503, WAIT, "This page asks again after that.", 5),
    "quota_exceeded": Kind(503, QUOTA, SHARED, 60),
    "busy": Kind(503, "Many people are here right now.", "Try again in a moment.", 2),
    "unavailable": Kind(503, "The app can’t reach Redis.", "Try again.", 10),
    "cancelled": Kind(403, "You cancelled the login.", "Log in whenever you like."),
    "login_failed": Kind(502, "Spotify didn’t complete the login.", "Log in again."),
    "login_later": Kind(503, WAIT, "Reload this page after that."),
    "invalid_state": Kind(400, "This login expired or was already used.", STARTED),
    "code_refused": Kind(400, "Spotify rejected this login.", "Log in again."),
    "client_refused": Kind(502, "Spotify refused this client ID or secret.", COMPARE),
    "cross_site": Kind(403, "That request came from another site. It was ignored."),
    "wrong_host": Kind(400, "This app isn’t set up for the address you used."),
    "bad_request": Kind(400, "That request wasn’t understood."),
    "not_found": Kind(404, "Page not found."),
    "method_not_allowed": Kind(405, "This page can’t be used that way."),
    "too_large": Kind(413, "That request is too large."),
    "server_error": Kind(500, "Something went wrong in the app.", "Try again."),
}


class Problem(Exception):
    """A named outcome that is not success.

    name: a key of KINDS. error: what /now-playing calls it. retry_after: seconds to
    wait, where Spotify says so. poll_after_ms: until a page should ask again; 0: never.
    """

    def __init__(self, name: str, retry_after: float | None = None) -> None:
        super().__init__(name)
        kind = KINDS[name]
        self.name = name
        self.error = "logged_out" if kind.status == 401 else name
        self.status, self.message, self.advice = kind.status, kind.message, kind.advice
        self.retry_after = None if retry_after is None else math.ceil(retry_after)
        wait = 1000 * max(kind.poll_after, self.retry_after or 0)
        # Later at random, so that a crowd comes back spread out.
        self.poll_after_ms = wait and wait + random.randint(0, max(wait // 10, 1000))

    def as_json(self) -> dict[str, Any]:
        """Return the fields under the names that /now-playing answers with."""
        message = f"{self.message} {self.advice}".strip()
        return {"error": self.error, "message": message}
