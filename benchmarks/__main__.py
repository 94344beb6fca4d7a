"""Measure the app beside the docs example, in about three minutes."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from importlib.util import find_spec
from pathlib import Path
from secrets import token_urlsafe
from typing import NamedTuple

from .load import Page, in_turn, open_tabs
from .report import Row, save, table
from .servers import (
    APP,
    BASELINE,
    CROWD,
    HOME,
    Manager,
    Site,
    Spotify,
    environ,
    resident,
    run_redis,
    serve,
)

STARTED = time.monotonic()
TABS = {"robin": 1, "mika": 10, "ines": 50}


class Plan(NamedTuple):
    """How much is measured. seconds: of a run that is repeated; others take one."""

    clients: tuple[int, ...] = (1, 8, 32, 128)
    rounds: int = 3
    seconds: int = 2
    crowds: tuple[int, ...] = (1, 1_000, 100_000)
    tab_seconds: int = 30

    @property
    def note(self) -> str:
        return f", median of {self.rounds}" if self.rounds > 1 else ""


QUICK = Plan((32,), 1, 1, (1, 10_000), 10)


def say(text: str) -> None:
    """Report progress."""
    print(f"[{time.monotonic() - STARTED:4.0f} s] {text}", file=sys.stderr, flush=True)


def start_rows(plan: Plan, url: str) -> Iterator[Row]:
    """Time each command until its first answer."""
    say("time to the first answer")
    app = "`python app.py`"
    for what, command, spotify in (
        (app, APP, url),
        (f"{app}, the demo", APP, ""),
        ("the baseline", BASELINE, url),
    ):
        seconds = []
        for _ in range(plan.rounds):
            with serve(command, spotify) as site:
                seconds.append(site.seconds)
        what = f"first answer of {what}{plan.note}"
        yield Row(what, value=statistics.median(seconds), unit="s")


def memory_rows(plan: Plan, url: str) -> Iterator[Row]:
    """Weigh what the store keeps, each time in a fresh process."""
    one, _, _ = weigh(url, "logins", 10_000)  # as many as the app keeps
    yield Row("memory of one pending login", value=one, unit="bytes")
    _, before, after = weigh(url, "logins", 100_000)
    yield megabytes("memory of 100,000 abandoned logins", after - before)
    yield megabytes("a process with 100,000 abandoned logins", after)
    one, before, after = weigh(url, "users", plan.crowds[-1])
    yield Row("memory of one user", value=one, unit="bytes")
    yield megabytes(f"memory of {plan.crowds[-1]:,} users", after - before)
    yield megabytes(f"a process with {plan.crowds[-1]:,} users", after)


def weigh(url: str, kind: str, count: int) -> tuple[float, int, int]:
    """Return the bytes of one, and of a process without and with so many."""
    say(f"memory of {count:,} {kind}")
    command = [sys.executable, "-m", "benchmarks.crowd", kind, str(count)]
    output = subprocess.check_output(command, cwd=HOME, env=environ(url, 5000))
    before, after = json.loads(output)
    return (after - before) / count, before, after


def megabytes(what: str, size: int) -> Row:
    return Row(what, value=size / 1e6, unit="MB")


def load_rows(plan: Plan, spotify: Spotify, url: str) -> Iterator[Row]:
    """Measure every page of the app, and of the baseline where it has it."""
    title = spotify.play_track()
    with serve(BASELINE, url) as baseline, serve(APP, url) as app:
        yield megabytes("`python app.py` as started, in memory", resident(app.pid))
        kinds = dict(pages(spotify, title, baseline, app))
        in_turn(kinds["logged in /"], 32, 1)  # to warm up
        for delay in (0, 100):
            spotify.slow_down(delay)
            for what, both in kinds.items():
                for clients in plan.clients:
                    yield load_row(plan, what, both, clients, delay)
        spotify.slow_down(0)
        yield megabytes("`python app.py` after the load above", resident(app.pid))


def pages(
    spotify: Spotify, title: str, baseline: Site, app: Site
) -> Iterator[tuple[str, list[Page]]]:
    """Name each page, on both sites or on the app alone."""
    sites = [(site, site.log_in(spotify)) for site in (baseline, app)]
    yield "logged out /", [Page(site, "/", "", "User ID: None") for site, _ in sites]
    yield "logged in /", [Page(site, "/", cookie, title) for site, cookie in sites]
    yield "/login", [Page(site, "/login", "", "/authorize?") for site, _ in sites]
    yield "/now-playing", [Page(app, "/now-playing", sites[1][1], title)]


def load_row(plan: Plan, what: str, both: list[Page], clients: int, delay: int) -> Row:
    if what == "logged in /" and clients == 32:
        what += plan.note
        results = in_turn(both, clients, plan.seconds, plan.rounds)
    else:
        results = in_turn(both, clients, 1)
    row = Row(what, clients, delay, results[-1][0])
    if len(both) == 2:
        row = row._replace(baseline=results[0][0], ratio=results[1][1])
    say(" ".join(filter(None, row.cells()[:4] + row.cells()[7:8])))
    return row


def variant_rows(
    plan: Plan, spotify: Spotify, variants: Mapping[str, AbstractContextManager[Site]]
) -> Iterator[Row]:
    """Measure several servers' logged-in page; ratios are to the first one's."""
    title, pages, first = spotify.play_track(), [], next(iter(variants))
    with ExitStack() as stack:
        for what, variant in variants.items():
            say(f"logged in /, {what}")
            site = stack.enter_context(variant)
            pages.append(Page(site, "/", site.log_in(spotify), title))
            pages[-1].load(32, 1)  # to warm up
        results = in_turn(pages, 32, plan.seconds, plan.rounds)
    for what, (rate, ratio) in zip(variants, results, strict=True):
        beside = "" if what == first else f", beside {first}"
        yield Row(f"logged in /, {what}{beside}{plan.note}", 32, 0, rate, ratio=ratio)


def store_rows(plan: Plan, spotify: Spotify, url: str) -> Iterator[Row]:
    """Measure the dicts against Redis, and one worker against two."""
    packages = find_spec("redis") and find_spec("cryptography")
    if not packages or not shutil.which("redis-server"):
        yield Row("Redis: not measured, needs redis-server and requirements-redis.txt")
        return
    with run_redis() as redis:
        shared = {"REDIS_URL": redis, "SECRET_KEY": token_urlsafe()}
        variants = {
            "dicts": serve(APP, url),
            "Redis, 1 worker": serve(APP, url, **shared),
            "Redis, 2 workers": serve(APP, url, **shared, WORKERS="2"),
        }
        yield from variant_rows(plan, spotify, variants)


def tab_rows(plan: Plan, spotify: Spotify, url: str) -> Iterator[Row]:
    """Count what reaches Spotify while three people have tabs open, all at once."""
    say(f"tabs, for {plan.tab_seconds} s")
    spotify.play("programme")
    spotify.slow_down(100)
    with serve(APP, url) as app:
        cookies = {person: app.log_in(spotify, person) for person in TABS}
        tabs = {cookies[person]: count for person, count in TABS.items()}
        spotify.forget()
        failed = open_tabs(app, tabs, plan.tab_seconds)
        for person, count in TABS.items():
            what = (
                f"calls to Spotify in {plan.tab_seconds} s, tabs of one person: {count}"
            )
            calls, errors = spotify.player_calls(person), failed[cookies[person]]
            yield Row(what, None, 100, value=calls, unit="calls", errors=errors)


def rows(plan: Plan) -> Iterator[Row]:
    with Manager() as manager:
        spotify = manager.spotify()
        url = spotify.begin()
        yield from start_rows(plan, url)
        yield from memory_rows(plan, url)
        yield from load_rows(plan, spotify, url)
        crowds = {
            f"{n:,} logged in": serve(CROWD, url, CROWD=str(n - 1)) for n in plan.crowds
        }
        yield from variant_rows(plan, spotify, crowds)
        yield from store_rows(plan, spotify, url)
        yield from tab_rows(plan, spotify, url)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of it, once each")
    default = Path(__file__).with_name("results")
    parser.add_argument(
        "--out", type=Path, default=default, help="folder for the files"
    )
    args = parser.parse_args()
    if not shutil.which("wrk") or not Path("/proc/self/statm").exists():
        print("The benchmark needs Linux, and wrk: apt install wrk", file=sys.stderr)
        return 2
    try:
        measured = list(rows(QUICK if args.quick else Plan()))
    except KeyboardInterrupt:
        return 130
    about = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "quick": args.quick,
        "cpus": os.cpu_count(),
        "machine": platform.platform(),
        "python": platform.python_version(),
    }
    save(measured, about, args.out)
    print(table(measured))
    say(f"results.json and results.svg are in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
