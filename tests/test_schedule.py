"""When Spotify is asked again: the table, and a day's calls that last for the day."""

import logging
import random
from statistics import fmean

import pytest

from benchmarks.day import App, ask, listen
from schedule import Answer, Said, goes_on, next_wait, seconds_left, wait_seconds
from spotify.playback import NowPlaying
from spotify.quota import DAY, HOUR, DailyCalls
from tests.conftest import Clock


def playing(seconds: float | None = 0, length: int | None = 200) -> NowPlaying:
    """Return a track at so many seconds of its length."""
    progress = None if seconds is None else int(1000 * seconds)
    duration = None if length is None else 1000 * length
    return NowPlaying("playing", progress_ms=progress, duration_ms=duration)


PAUSED, NOTHING, UNKNOWN, AD = map(NowPlaying, ("paused", "nothing", "unknown", "ad"))
WAITS = [
    # (what, unchanged, pace, seconds to wait)
    *((playing(at), 9, 1, wait) for at, wait in ((1, 5), (10, 20), (60, 30))),
    *((playing(at), 9, 1, wait) for at, wait in ((167, 30), (168, 32.8), (190, 10.8))),
    *((playing(at, None), 9, 1, wait) for at, wait in ((10, 20), (None, 18))),
    *((playing(200), for_, 1, wait) for for_, wait in ((0, 2), (14, 16), (50, 30))),
    (playing(200), 2, 4, 16),
    # The pace, which leaves the end alone.
    (playing(10), 9, 2, 40),
    (playing(135), 9, 2, 65.8),
    (playing(190), 9, 20, 10.8),
    # A position that stands still just before the end, of a player that is gone.
    *((playing(199.5), for_, 1, wait) for for_, wait in ((0, 1.3), (10.5, 10))),
    (playing(199.5), 900, 2, 60),
    *((PAUSED, for_, 1, wait) for for_, wait in ((0, 15), (40, 40), (99, 60))),
    *((NOTHING, for_, 2, wait) for for_, wait in ((0, 60), (70, 140), (999, 240))),
    (UNKNOWN, 0, 1, 30),
    # At a slow pace short silences are still found.
    *((PAUSED, for_, 20, wait) for for_, wait in ((0, 120), (200, 200), (999, 420))),
    (AD, 99, 2, 20),
    *(("unreachable", for_, 1, wait) for for_, wait in ((0, 15), (40, 40), (999, 120))),
    *(("owner_premium", 0, pace, wait) for pace, wait in ((1, 300), (20, 420))),
]


@pytest.mark.parametrize(("what", "unchanged", "pace", "wait"), WAITS)
def test_wait_is_the_tables(
    what: Said, unchanged: float, pace: float, wait: float
) -> None:
    assert wait_seconds(what, unchanged, pace) == pytest.approx(wait)
    later = [next_wait(what, unchanged, pace) - wait for _ in range(50)]
    at_end = wait == pytest.approx((seconds_left(what) or 200) + 0.8)
    assert 0 <= min(later) < max(later) <= (0.6 if at_end else 0.08 * wait) + 1e-9


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (playing(10.5), playing(10), True),  # not to the millisecond
        (playing(150), playing(3), False),  # once more
        (playing(150), playing(152), False),  # as it should
        (playing(150), playing(200), False),  # now past its end
        (playing(200), playing(200), True),
        (playing(None), playing(None), True),
        (PAUSED, NOTHING, False),
    ],
)
def test_answer_goes_on_or_is_news(
    before: NowPlaying, now: NowPlaying, expected: bool
) -> None:
    assert goes_on(before, now) is expected


@pytest.mark.parametrize("left", [0, 0.5, 20])
def test_position_that_stands_still_before_the_end_takes_few_calls(left: float) -> None:
    """Also for a page that is opened only then. Once in 30 s would be 120."""
    answer, time, calls = Answer(), 0.0, 0
    while time < HOUR:
        answer, calls = answer.next(playing(200 - left), time, pace=1), calls + 1
        time = answer.due
    assert 110 < calls < 135


# ---- The calls of a day


def spend(calls: DailyCalls, count: int) -> DailyCalls:
    for _ in range(count):
        calls.add()
    return calls


def test_calls_are_counted_for_24_hours_to_the_second(clock: Clock) -> None:
    calls = DailyCalls(0, 1, clock.monotonic)
    for _ in range(90):
        spend(calls, 2)
        clock.advance(DAY / 60)  # so that each time 60 are of the last 24 hours
    assert calls.count == 2 * 59
    clock.advance(DAY / 60 - 1)
    assert calls.count == 2 * 59
    clock.advance(1)
    assert calls.count == 2 * 58


PACES = [(100, 1, 0, 1), (100, 1, 45, 2), (100, 1, 150, 20), (0, 1, 9_999, 1)]
PACES += [(400, 4, 45, 2), (3, 4, 1, 20), (0, 4, 9_999, 1)]  # shared by workers


@pytest.mark.parametrize(
    ("limit", "workers", "spent", "pace"),
    [*PACES, (None, 1, 450, 2), (None, 2, 225, 2)],
)
def test_pace_slows_down_as_the_limit_comes_near(
    limit: int | None, workers: int, spent: int, pace: float, clock: Clock
) -> None:
    calls = spend(DailyCalls(limit, workers, clock.monotonic), spent)
    assert calls.pace == pytest.approx(pace)


def test_more_than_five_people_in_a_day_have_no_limit_unless_it_is_set(
    clock: Clock,
) -> None:
    usual, fixed = (DailyCalls(it, 1, clock.monotonic) for it in (None, 300))
    for name in "abcdeabcdefgh":
        usual.seen(name)
        fixed.seen(name)
        assert (usual.limit, fixed.limit) == (0 if name in "fgh" else 1000, 300)
    for name in 9 * "abcdef":  # each comes back before a day is over
        clock.advance(DAY / 7)
        usual.seen(name)
        assert usual.limit == 0
    clock.advance(DAY + 1)
    assert usual.limit == 1000


def test_limit_is_learned_from_spotify(clock: Clock) -> None:
    """Nine tenths of the calls, at least 200, and no more than what is set."""
    for limit, spent, learned in ((None, 800, 720), (0, 10, 200), (500, 800, 500)):
        calls = spend(DailyCalls(limit, 1, clock.monotonic), spent)
        calls.learn()
        for name in "abcdef":
            calls.seen(name)
        assert calls.limit == learned


def test_log_says_the_count_once_an_hour_if_calls_go_out(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "now_playing")
    calls = DailyCalls(None, 1, clock.monotonic)
    for _ in range(8):
        spend(calls, 5)
        clock.advance(HOUR / 4)
    clock.advance(20 * HOUR)
    assert [record.args for record in caplog.records] == [(21,)]
    calls.add()
    assert [record.args for record in caplog.records] == [(21,), (41,)]


@pytest.mark.parametrize(
    ("limit", "hours", "length", "most", "late"),
    [
        (0, 14, 210, 3_000, 1.5),
        (None, 14, 210, 1_000, 3),
        (None, 14, 105, 1_150, 8),  # short tracks
        (500, 14, 210, 750, 5),
    ],
)
def test_days_of_music_stay_within_the_limit_and_ends_are_known_at_once(
    limit: int | None, hours: int, length: int, most: int, late: float
) -> None:
    """hours: of music in a day. late: the most seconds in the mean."""
    random.seed(1)
    calls, hourly, seconds = ask(listen(hours, length), App(limit), [])
    assert calls <= most
    assert hourly < 150
    assert fmean(seconds["end"]) < late
