"""Simulate days of music: how many calls a page costs, and how late it is.

The listener is seeded, Spotify answers at once, and the app's waits are its own code.
"""

import argparse
import random
from bisect import bisect, bisect_left
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from statistics import fmean, quantiles
from typing import NamedTuple

from schedule import Answer
from spotify.playback import NowPlaying
from spotify.quota import DAY, HOUR, USUAL_LIMIT, DailyCalls

DAYS = 4
LIMITS = {"app, no limit": 0, "app": None, "app, 500 a day": 500}
LIMITS |= {"app, one of five": USUAL_LIMIT // 5}
KINDS = "end", "skip", "pause", "start"
HEAD = "who asks|music a day|calls in 24 h|calls an hour of music|an end|a skip|a pause"
HEAD = f"| {HEAD.replace('|', ' | ')} | a start |\n| --- | --- |{' ---: |' * 6}"
Wait = Callable[[float, NowPlaying], float]  # a call's time and answer; seconds to wait
# Calls in 24 hours and in an hour of music; seconds until the page knew, by kind.
Result = tuple[int, float, dict[str, list[float]]]
LABELS = {"app, 500 a day": (-7, -4, "right"), "app, touched": (0, -16, "center")}
LABELS["app, no limit"] = (6, -10, "left")


class Moment(NamedTuple):
    """When Spotify begins to say something. kind: one of KINDS, or empty."""

    time: float
    kind: str
    playing: NowPlaying


class App:
    """The app's decision when to ask again. limit: see DailyCalls."""

    def __init__(self, limit: int | None) -> None:
        self.answer, self.time = Answer(), 0.0
        self.calls = DailyCalls(limit, 1, lambda: self.time)

    def __call__(self, time: float, playing: NowPlaying) -> float:
        self.time = time
        self.calls.add()
        self.answer = self.answer.next(playing, time, self.calls.pace)
        return self.answer.due - time


def listen(hours: int, length: float) -> list[Moment]:
    """Return days with so many hours of music, in two parts; length: of the tracks."""
    chance, time = random.Random(hours), 0.0
    moments = [Moment(time, "", NowPlaying("nothing"))]
    for session in range(2 * DAYS):
        planned = session // 2 * DAY + (14 if session % 2 else 6) * HOUR
        time = max(time + 900, planned) + chance.uniform(0, 600)
        heard, kind = 0.0, "start"
        while heard < hours / 2 * HOUR:
            end = max(chance.gauss(length, length / 5), 45)
            # As Paul Lamere counted over millions of plays ("The Skip", 2014).
            skips = [(0.5, 5)] * 5 + [(5, 30)] * 2 + [(30, end)] * 3 + [(end, end)] * 10
            stop = chance.uniform(*chance.choice(skips))
            track = NowPlaying("playing", title=f"{time}", duration_ms=int(1000 * end))
            moments.append(Moment(time, kind, track._replace(progress_ms=0)))
            if chance.random() < 0.04:
                at, rest = chance.uniform(0, stop), chance.lognormvariate(4.5, 1.2)
                there, pause = track._replace(progress_ms=int(1000 * at)), time + at
                moments.append(Moment(pause, "pause", there._replace(state="paused")))
                time += min(rest, 600)
                moments.append(Moment(time + at, "start", there))
            time, heard = time + stop, heard + stop
            kind = "end" if stop == end else "skip"
        moments.append(Moment(time, "pause", track._replace(state="paused")))
        moments.append(Moment(time + 600, "", NowPlaying("nothing")))
    return moments


def ask(moments: list[Moment], wait: Wait, touches: list[float]) -> Result:
    """Let a page ask for all the days. touches: when somebody touches it."""
    time, calls, times = 0.0, [], [it.time for it in moments]
    while time < DAYS * DAY:
        calls.append(time)
        begun, _, playing = moments[bisect(times, time) - 1]
        due = time + wait(time, playing.after(1000 * (time - begun)))
        touched = bisect(touches, time + 5)  # the page asks if its answer is older
        time = min([due, *touches[touched : touched + 1]])
    during = played = 0.0
    late: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for now, then in pairwise(moments):
        first = bisect_left(calls, now.time)
        if now.kind:
            late[now.kind].append(calls[first] - now.time)
        if now.playing.state == "playing":
            during += bisect_left(calls, then.time) - first
            played += then.time - now.time
    most = max(bisect_left(calls, it + DAY) - n for n, it in enumerate(calls))
    return most, during * HOUR / played, late


def draw(results: dict[str, Result], path: str) -> None:
    """Draw where the app and the others stand: calls against lateness."""
    from matplotlib import pyplot  # which only this needs

    figure, panels = pyplot.subplots(1, 2, sharey=True, layout="tight")
    figure.set_size_inches(8, 3.8)
    whens = {"end": "when a track ends", "skip": "when somebody skips"}
    for panel, (kind, when) in zip(panels, whens.items(), strict=True):
        panel.axvspan(600, 1_400, color="#fbe3d6", lw=0)
        panel.text(920, 0.22, "blocks reported", ha="center", fontsize=8)
        for who, (most, _, late) in results.items():
            point = most, fmean(late[kind])
            color = "#08683f" if "app" in who else "#555"
            panel.plot(*point, "o", color=color)
            *place, side = LABELS.get(who, (6, -4, "left"))
            style = {"ha": side, "color": color, "textcoords": "offset points"}
            panel.annotate(who.removeprefix("app, "), point, place, **style)
        panel.set(xscale="log", yscale="log", xlim=(50, 900_000), ylim=(0.2, 200))
        for axis in panel.xaxis, panel.yaxis:
            axis.set_major_formatter("{x:,.0f}")
        panel.set(title=when, xlabel="calls to Spotify in 24 hours")
    panels[0].set_ylabel("seconds until the page knows")
    figure.savefig(path, dpi=90, pil_kwargs={"optimize": True})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", metavar="FILE", help="draw one with matplotlib")
    args = parser.parse_args()
    random.seed(1)
    print(HEAD)
    for hours, length in (14, 105), (4, 210), (14, 210):
        moments, results = listen(hours, length), {}
        touches = [it.time + 3 for it in moments if it.kind in KINDS[1:]]
        for seconds in 1.0, 5.0, 30.0:
            wait = partial(lambda seconds, *_: seconds, seconds)
            results[f"every {seconds:.0f} s"] = ask(moments, wait, [])
        for who, limit in LIMITS.items():
            results[who] = ask(moments, App(limit), [])
        results["app, touched"] = ask(moments, App(None), touches)
        for who, (most, hourly, late) in results.items():
            music = f"{hours} h" + (", short tracks" if length < 200 else "")
            row = [who, music, f"{most:,}", f"{hourly:,.0f}"]
            for waits in late.values():
                row.append(f"{fmean(waits):.1f} ({quantiles(waits, n=10)[8]:.1f})")
            print("|", " | ".join(row), "|")
    if args.picture:
        del results["app, one of five"]  # which would hide another point
        draw(results, args.picture)


if __name__ == "__main__":
    main()
