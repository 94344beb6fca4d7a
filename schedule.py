"""When Spotify is worth asking again, in seconds after its last answer.

Spotify counts an app's calls by the day, so every call has to tell something new.
`unchanged` is always how long the answer has been like this (see goes_on). `pace`
stretches the waits, so that a day's calls last for the day (see spotify/quota.py).
"""

from __future__ import annotations

import math
import random
from typing import NamedTuple

from problems import KINDS, Problem
from spotify.playback import NowPlaying

FRESH = 2.0  # an answer so young serves those who look, too

# People skip early in a track: a quarter within 5 s, a third within 30 s. So the
# further it has come, the longer it is likely to go on.
PROGRESSES = 2
SHORTEST, LONGEST = 5.0, 30.0  # between a skip and the page that shows it
# The next track is there when this one ends, but Spotify takes a moment to say so.
AFTER_END = 0.8
NEAR_END = 3.0  # a call so close before the end would tell little
STILL_AT_END = 2.0  # a late start of the next track; or a player that was closed
# A pause is often short, or else long: so is the silence after the music.
IDLE = {"paused": (15.0, 60.0), "nothing": (30.0, 120.0), "unknown": (30.0, 120.0)}
IDLE["ad"] = 10.0, 10.0  # ads take 15 to 30 s, and don't say how long
LONGEST_PROBLEM = 120.0  # most outages that last this long last for hours
# At the slowest pace music would begin up to 40 minutes before a screen shows it. So a
# pause that has just begun is not stretched as far, and no idle time beyond 7 minutes.
MOST_STRETCHED, LONGEST_IDLE = 8, 420.0
# Up to so much more at random, so that a crowd comes back spread out.
SPREAD, SPREAD_AT_END = 0.08, 0.6

Said = NowPlaying | str  # what plays, or the name of a problem


class Answer(NamedTuple):
    """What Spotify last said of a person. Times are in seconds, monotonic."""

    said: Said = ""
    at: float = float("-inf")
    since: float = 0.0  # when it began to say so
    due: float = float("-inf")  # when it is worth asking again

    def serves(self, now: float, look: bool) -> bool:
        """Tell whether Spotify need not be asked. look: for somebody who looks."""
        return now < (min(self.at + FRESH, self.due) if look else self.due)

    def at_time(self, now: float) -> tuple[NowPlaying | None, Problem | None, int]:
        """Return what it says by now, and the milliseconds until it is due."""
        left = max(math.ceil(1000 * (self.due - now)), 1)
        if isinstance(self.said, NowPlaying):
            return self.said.after(1000 * (now - self.at)), None, left
        problem = Problem(self.said)
        problem.poll_after_ms = left
        return None, problem, left

    def next(self, said: Said, now: float, pace: float) -> Answer:
        """Return the answer that follows this one."""
        since = self.since if goes_on(self.said, said) else now
        return Answer(said, now, since, now + next_wait(said, now - since, pace))


def next_wait(said: Said, unchanged: float, pace: float) -> float:
    """Return wait_seconds, and a little more at random."""
    wait, left = wait_seconds(said, unchanged, pace), seconds_left(said)
    more = SPREAD * wait
    if left is not None and wait <= left + AFTER_END:
        more = min(more, left + AFTER_END - wait + SPREAD_AT_END)
    return wait + random.uniform(0, more)


def wait_seconds(said: Said, unchanged: float, pace: float) -> float:
    """Return how long an answer of Spotify's serves, before anything at random."""
    if isinstance(said, str):
        least = float(KINDS[said].poll_after)
        most = max(least, LONGEST_PROBLEM)
    elif said.state == "playing":
        return _while_playing(said, unchanged, pace)
    else:
        least, most = IDLE[said.state]
    wait = pace * min(max(unchanged, least), most)
    return min(wait, max(unchanged, MOST_STRETCHED * least), LONGEST_IDLE)


def seconds_left(said: Said) -> float | None:
    """Return the seconds until the end; 0 past it, None if nobody knows."""
    if isinstance(said, str) or said.progress_ms is None or not said.duration_ms:
        return None
    return max(said.duration_ms - said.progress_ms, 0) / 1000


def goes_on(before: Said, now: Said) -> bool:
    """Tell whether a new answer says nothing new, so that `unchanged` goes on counting.

    That is the same item in the same state and, while it plays, at the same position.
    """
    if isinstance(before, str) or isinstance(now, str):
        return before == now
    moved = abs((now.progress_ms or 0) - (before.progress_ms or 0)) >= 1000
    if moved and now.state == "playing":
        return False
    return before._replace(progress_ms=now.progress_ms) == now


def _while_playing(playing: NowPlaying, unchanged: float, pace: float) -> float:
    left, progress = seconds_left(playing), playing.progress_ms
    if left == 0:
        return pace * min(STILL_AT_END + unchanged, LONGEST)
    likely = PROGRESSES * (unchanged if progress is None else progress / 1000)
    wait = pace * min(max(likely, SHORTEST), LONGEST)
    if left is None or wait <= left - NEAR_END * pace:
        return wait
    # A position can stand still just before the end, for hours.
    overdue = min(unchanged - left, LONGEST)
    return max(left + AFTER_END, pace * overdue)
