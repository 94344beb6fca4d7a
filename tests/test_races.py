"""Many at once: nothing is done twice, nobody comes back, nobody sees another's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from random import Random
from socket import socket
from threading import Barrier, Event
from typing import TypeVar

import pytest
from flask import Flask

from stand_in import FAILURES, StandIn
from stand_in.failures import answer
from tests.conftest import Browser, Clock, MakeApp, about, people, shown
from tests.wire import CLOSE, hold
from users import User

T = TypeVar("T")


def at_once(jobs: Iterable[Callable[[], T]]) -> list[T]:
    """Start all jobs at the same time, each in a thread, and return their results."""
    jobs = list(jobs)
    start = Barrier(len(jobs))

    def run(job: Callable[[], T]) -> T:
        start.wait(30)
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


def tabs_of(browser: Browser, n: int) -> list[Browser]:
    return [browser.tab() for _ in range(n)]


@pytest.fixture
def late(browser: Browser, spotify: StandIn, clock: Clock) -> Browser:
    """A browser whose access token has expired."""
    spotify.play("track")
    browser.log_in()
    clock.advance(3600)
    spotify.forget()
    return browser


# ---- Logging in


def test_fifty_identical_callbacks_exchange_once(
    flow: str, app: Flask, browser: Browser, spotify: StandIn
) -> None:
    """One of them logs in, 49 are refused, Spotify hears of one."""
    link = browser.code_for(browser.begin_login())
    answers = at_once([partial(tab.get, link) for tab in tabs_of(browser, 50)])
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [307] + [400] * 49
    assert (spotify.count("token"), people(app)) == (1, 1)


def test_many_people_log_in_at_once(app: Flask, spotify: StandIn) -> None:
    """Each ends up as who they are, with an ID of their own."""

    def log_in(name: str) -> tuple[str | None, bool]:
        browser = Browser(app, spotify)
        browser.log_in(name)
        return browser.user_id, f"<bdi>{name}</bdi>" in browser.get("/").text

    names = [f"person-{n}" for n in range(40)]
    results = at_once([partial(log_in, name) for name in names])
    assert len({user_id for user_id, _ in results}) == people(app) == 40
    assert all(own for _, own in results)


# ---- Refreshing


def test_fifty_requests_on_an_expired_token_refresh_once(
    flow: str, late: Browser, spotify: StandIn
) -> None:
    """And all fifty get the page with the track."""
    pages = at_once([partial(tab.get, "/") for tab in tabs_of(late, 50)])
    assert [page.status_code for page in pages] == [200] * 50
    assert all("Postcards to the Ferryman" in page.text for page in pages)
    assert (spotify.count("token"), spotify.count("player")) == (1, 1)


def test_dead_refresh_is_found_out_once(
    flow: str, late: Browser, spotify: StandIn
) -> None:
    """Fifty tabs hear the reason, Spotify is asked once."""
    spotify.revoke()
    answers = at_once([partial(tab.json) for tab in tabs_of(late, 50)])
    assert {answer["error"] for answer in answers} == {"logged_out"}
    assert all("ended this login" in answer["message"] for answer in answers)
    assert [call.endpoint for call in spotify.calls] == ["token"]


@pytest.mark.parametrize(
    ("endpoint", "seconds"), [("token", 3600), ("player", 3600), ("player", 3)]
)
def test_logout_while_spotify_is_slow_does_not_wait_and_stays_logged_out(
    endpoint: str, seconds: int, flow: str, browser: Browser, clock: Clock
) -> None:
    """Neither the new token nor the late answer brings the person back."""
    app, spotify = browser.app, browser.spotify
    browser.log_in()
    clock.advance(seconds)
    tabs = tabs_of(browser, 4)
    paths = ["/", "/now-playing"] * 2
    with ThreadPoolExecutor(4) as pool, hold(spotify, endpoint) as held:
        visits = list(map(pool.submit, [tab.get for tab in tabs], paths))
        assert held.arrived()
        assert browser.post("/logout").status_code == 303
        assert people(app) == 0
        assert not any(visit.done() for visit in visits)
        held.release()
        answers = [visit.result() for visit in visits]
    assert people(app) == 0
    assert [answer.status_code for answer in answers] == [200, 401] * 2
    assert all("User ID: None" in answer.text for answer in answers[::2])
    spotify.forget()
    assert [tab.json()["error"] for tab in tabs] == ["logged_out"] * 4
    assert spotify.calls == []


def test_slow_answer_of_one_login_is_not_the_next_ones(
    browser: Browser, spotify: StandIn
) -> None:
    """Who logs in as another meanwhile does not get the late track."""
    for name in ("robin", "mika"):
        spotify.play({"item": {"name": f"Song of {name}"}, "is_playing": True}, name)
    browser.log_in("robin")
    tab = browser.tab()
    with ThreadPoolExecutor(1) as pool, hold(spotify, "player") as held:
        visit = pool.submit(tab.get, "/now-playing")
        assert held.arrived()
        browser.post("/logout")
        held.release()
        assert visit.result().status_code == 401
    browser.log_in("mika")
    assert browser.json()["title"] == "Song of mika"


def test_login_whose_token_another_process_renewed_is_not_ended(
    app: Flask, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """As when the lock of this one expired; its visitor comes back for the new one."""
    browser.log_in()
    user_id = str(browser.user_id)
    clock.advance(3)
    spotify.forget()

    def refuse(connection: socket, healed: Event) -> None:
        if spotify.count("player") == 2:

            def change(user: User) -> User:
                return replace(user, token=replace(user.token, access="theirs"))

            app.extensions["store"].users.update(user_id, change)
        connection.sendall(answer(401, {}, CLOSE))

    spotify.fail("player", refuse)
    assert browser.json()["error"] == "busy"
    spotify.heal()
    browser.json()
    assert spotify.calls[3].headers["authorization"] == "Bearer theirs"
    assert people(app) == 1


# ---- Tabs, and people


def test_crowd_of_one_person_leaves_room_for_others(
    make_app: MakeApp, spotify: StandIn
) -> None:
    """Twice THREADS of their tabs may wait; the rest is busy, others go on."""
    app = make_app(threads=2, deadline=60.0)
    greedy, modest = Browser(app, spotify), Browser(app, spotify)
    greedy.log_in("robin")
    modest.log_in("mika")
    tabs = tabs_of(greedy, 8)
    with ThreadPoolExecutor(9) as pool, hold(spotify, "player") as held:
        visits = [pool.submit(tab.json) for tab in tabs]
        done = as_completed(visits, timeout=20)
        turned_away = [next(done).result() for _ in range(3)]
        visits.append(pool.submit(modest.json))
        assert held.arrived(2)
        assert sum(visit.done() for visit in visits) == 3
        held.release()
        states = [visit.result().get("state") for visit in visits]
    assert states.count("playing") == 6
    assert [told["error"] for told in turned_away] == ["busy"] * 3
    assert all(told["poll_after_ms"] in about(1_000, 2_000) for told in turned_away)
    assert spotify.count("player") == 2


def test_visit_that_waited_for_another_until_its_deadline_is_told_busy(
    app: Flask, make_app: MakeApp, browser: Browser, spotify: StandIn
) -> None:
    """And the other one goes on."""
    browser.log_in()
    hasty = browser.tab(make_app(like=app, deadline=0.05))
    with ThreadPoolExecutor(1) as pool, hold(spotify, "player") as held:
        visit = pool.submit(browser.json)
        assert held.arrived()
        assert hasty.json()["error"] == "busy"
        held.release()
        assert visit.result()["state"] == "playing"
    assert spotify.count("player") == 1


def test_fifty_tabs_cost_one_call_in_two_seconds(
    app: Flask, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """Also when they all come at the same moment."""
    browser.log_in()
    tabs = tabs_of(browser, 50)
    for rounds in range(1, 5):
        states = {told["state"] for told in at_once([tab.json for tab in tabs])}
        assert states == {"playing"}
        assert spotify.count("player") == (rounds + 1) // 2
        clock.advance(1)


@pytest.mark.slow
def test_every_page_is_its_owners_under_mixed_faults(
    flow: str, make_app: MakeApp, spotify: StandIn, clock: Clock
) -> None:
    """400 requests of 20 people, half of them failing: never another's."""
    spotify.expires_in = 300
    app, random = make_app(threads=8, deadline=30.0), Random(4)
    names = [f"person-{n:02}" for n in range(20)]
    browsers = {name: Browser(app, spotify) for name in names}
    for name, browser in browsers.items():
        track = {"name": f"Song of {name}", "artists": [{"name": f"Band of {name}"}]}
        spotify.play({"item": track, "is_playing": True}, name)
        browser.log_in(name)
    ids = {name: browsers[name].user_id for name in names}
    tabs = [(name, tab) for name in names for tab in tabs_of(browsers[name], 2)]
    ending = {n for n in FAILURES if "token" in n or "grant" in n or "expired" in n}
    ending |= {"hang", "invalid_code", "invalid_redirect_uri"}
    faults = sorted(FAILURES.keys() - ending)

    states = set()
    for _ in range(10):
        for endpoint in ("player", "profile", "token"):
            spotify.fail(endpoint, random.choice(faults), random.randrange(1, 20))
        kinds = [("/", "*/*"), ("/now-playing", "text/html")]
        visits = random.choices(kinds, k=len(tabs))
        pages = at_once(
            partial(tab.get, path, Accept=accept)
            for (_, tab), (path, accept) in zip(tabs, visits, strict=True)
        )
        for (name, _), page in zip(tabs, pages, strict=True):
            assert page.status_code in (200, 403, 502, 503)
            assert set(re.findall(r"person-\d\d", page.text)) <= {name}
            assert not any(str(ids[n]) in page.text for n in names if n != name)
            states.add(state := shown(page))
            told = f"Song of {name}" in page.text and f"Band of {name}" in page.text
            assert told == (state == "playing")
        spotify.heal()
        clock.advance(random.choice([3, 100, 90_000]))
    assert {"playing", "unreachable"} < states
    for name, browser in browsers.items():
        assert f"Song of {name}" in browser.get("/").text
        assert browser.user_id == ids[name]
