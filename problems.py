"""Everything that can go wrong; problems.json has the names, statuses and words."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple


class Kind(NamedTuple):
    """A line of problems.json. poll_after: seconds; 0: asking again would not help."""

    status: int
    poll_after: int
    message: str
    advice: str


_LINES = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
KINDS: dict[str, Kind] = {name: Kind(*line) for name, line in _LINES.items()}


class Problem(Exception):
    """A named outcome that is not success.

    name: a key of KINDS. error: what /now-playing calls it. status: the HTTP status
    that says the same. message, advice: one sentence for the person, and one on what to
    do next. retry_after: seconds that Spotify asks to wait, or None. poll_after_ms:
    when a page should ask again, in milliseconds; 0 means never.
    """

    def __init__(self, name: str, retry_after: float | None = None) -> None:
        super().__init__(name)
        self.name = name
        self.status, poll_after, self.message, self.advice = KINDS[name]
        self.error = "logged_out" if self.status == 401 else name
        self.retry_after = None if retry_after is None else math.ceil(retry_after)
        self.poll_after_ms = 1000 * max(poll_after, self.retry_after or 0)
