"""Load on a page: by wrk, or by tabs that ask again when they are told to."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from .servers import Site

SCRIPT = Path(__file__).with_name("load.lua")
POLL = re.compile(r'data-poll-after-ms="(\d+)"')


class Rate(NamedTuple):
    """What a site did under load. errors: failed answers, and wrong pages."""

    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


class Page(NamedTuple):
    """A page as one kind of visitor sees it, and a text that it has to hold."""

    site: Site
    path: str
    cookie: str
    expected: str

    def load(self, clients: int, seconds: int) -> Rate:
        """Ask for it again and again, with that many clients at once.

        One visit comes before, so that no run begins with an answer grown old.
        """
        self.site.get(self.path, self.cookie)
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "10s"]
        command += ["-s", str(SCRIPT), "-H", f"Cookie: {self.cookie}"]
        command += [f"http://{self.site.netloc}{self.path}", "--", self.expected]
        output = subprocess.check_output(command, text=True)
        return Rate(**json.loads(output.splitlines()[-1]))


def in_turn(
    pages: Sequence[Page], clients: int, seconds: int, rounds: int = 1
) -> list[tuple[Rate, float]]:
    """Return each page's medians, and that of its ratios to the first one's rate.

    They take turns (A B A B), since a machine is not equally fast all the time.
    """
    runs = [[page.load(clients, seconds) for page in pages] for _ in range(rounds)]
    return [
        (
            median(rates),
            statistics.median(
                rate.per_second / max(run[0].per_second, 1e-9)
                for rate, run in zip(rates, runs, strict=True)
            ),
        )
        for rates in zip(*runs, strict=True)
    ]


def median(rates: Sequence[Rate]) -> Rate:
    """Return the median of each figure, and all errors."""
    middle = [statistics.median(values) for values in zip(*rates, strict=True)]
    return Rate(middle[0], middle[1], middle[2], sum(rate.errors for rate in rates))


def open_tabs(site: Site, tabs: dict[str, int], seconds: float) -> dict[str, int]:
    """Keep so many tabs open for each cookie, and return the failed answers."""
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(sum(tabs.values())) as threads:
        open_ones = {
            cookie: [threads.submit(_tab, site, cookie, n, end) for n in range(count)]
            for cookie, count in tabs.items()
        }
    return {
        cookie: sum(tab.result() for tab in those)
        for cookie, those in open_ones.items()
    }


def _tab(site: Site, cookie: str, number: int, end: float) -> int:
    """Do as static/player.js does. A person opens ten tabs a second."""
    wait, path, failed = number / 10, "/", 0
    while time.monotonic() + wait < end:
        time.sleep(wait)
        answer = site.get(path, cookie)
        poll = POLL.search(answer.body)
        failed += answer.status != 200 or poll is None
        path, wait = "/now-playing", max(int(poll[1]) if poll else 5_000, 500) / 1000
    return failed
