"""Many at once: nothing is done twice, nobody comes back, nobody sees another's."""

from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import pytest

from stand_in import StandIn
from tests.conftest import Browser, Clock, MakeApp, people
from tests.wire import hold


def test_fifty_identical_callbacks_exchange_once(flow: str, browser: Browser) -> None:
    """One of them logs in, 49 are refused, Spotify hears of one."""
    link = browser.code_for(browser.begin_login())
    tabs = [browser.tab() for _ in range(50)]
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda tab: tab.get(link), tabs))
    assert sorted(it.status_code for it in answers) == [307] + [400] * 49
    assert (browser.spotify.count("token"), people(browser.app)) == (1, 1)


@pytest.mark.parametrize(("endpoint", "seconds"), [("token", 3600), ("player", 30)])
def test_logout_while_spotify_is_slow_does_not_wait_and_stays_logged_out(
    endpoint: str, seconds: int, flow: str, browser: Browser, clock: Clock
) -> None:
    """What comes late brings nobody back, and is not the next person's."""
    app, spotify = browser.app, browser.spotify
    for name in ("robin", "mika"):
        spotify.play({"item": {"name": f"Song of {name}"}, "is_playing": True}, name)
    browser.log_in()
    clock.advance(seconds)
    tabs = [browser.tab() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool, hold(spotify, endpoint) as held:
        visits = [pool.submit(tab.get, "/now-playing") for tab in tabs]
        assert held.arrived()
        assert browser.post("/logout").status_code == 303
        held.release()
        answers = sorted(visit.result().status_code for visit in visits)
    # The visit that asked may still tell what it was told.
    assert answers == [200 if endpoint == "player" else 401, 401, 401, 401]
    assert people(app) == 0
    spotify.forget()
    assert [tab.json()["error"] for tab in tabs] == ["logged_out"] * 4
    assert spotify.calls == []
    browser.log_in("mika")
    assert browser.json()["title"] == "Song of mika"


@pytest.mark.parametrize("fails", [False, True])
def test_crowd_of_one_person_refreshes_once_and_leaves_room_for_others(
    fails: bool, make_app: MakeApp, spotify: StandIn, clock: Clock, monkeypatch: Any
) -> None:
    """Four of their tabs may wait, maybe in vain; the rest is told to come back."""
    monkeypatch.setattr("player.MOST_WAITING", 4)
    browser = Browser(make_app(threads=2), spotify)
    other = browser.twin()
    browser.log_in("robin")
    other.log_in("mika")
    clock.advance(3600)
    spotify.forget()
    spotify.fail("player", "rate_limited", int(fails))
    with ThreadPoolExecutor(9) as pool, hold(spotify, "player") as held:
        visits = [pool.submit(browser.tab().json) for _ in range(8)]
        done = as_completed(visits, timeout=20)
        turned_away = [next(done).result() for _ in range(3)]
        visits.append(pool.submit(other.json))
        assert held.arrived(2)
        held.release()
        told = [visit.result() for visit in visits]
    served, refused = (1, 5) if fails else (6, 0)
    assert [it["error"] for it in turned_away] == ["busy"] * 3
    assert [it.get("state") for it in told].count("playing") == served
    assert [it.get("error") for it in told].count("rate_limited") == refused
    assert (spotify.count("token"), spotify.count("player")) == (2, 2)
