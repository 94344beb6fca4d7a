"""Many at once: nothing is done twice, nobody comes back, nobody sees another's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from threading import Barrier, Semaphore
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from flask import Flask

from stand_in import FAILURES, StandIn
from stand_in.failures import answer
from tests.conftest import Browser, Clock, MakeApp
from tests.wire import hold

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

T = TypeVar("T")
Message = dict[str, Any]


def at_once(jobs: Iterable[Callable[[], T]]) -> list[T]:
    """Start all jobs at the same time, each in a thread, and return their results."""
    jobs = list(jobs)
    start = Barrier(len(jobs))

    def run(job: Callable[[], T]) -> T:
        start.wait(30)
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


def twins(app: Flask, spotify: StandIn, browser: Browser, n: int) -> list[Browser]:
    """Return tabs of one browser: each has its cookie."""
    tabs = [Browser(app, spotify) for _ in range(n)]
    for tab in tabs:
        tab.cookie = browser.cookie
    return tabs


def served(app: Flask, paths: Iterable[str], cookie: str) -> list[tuple[int, str]]:
    """Send the requests at once through both lanes, as the server does."""

    async def ask(path: str) -> tuple[int, str]:
        sent: list[Message] = []
        path, _, query = path.partition("?")
        headers = [(b"host", b"127.0.0.1:5000"), (b"cookie", b"now_playing=%s")]
        headers[1] = (b"cookie", f"now_playing={cookie}".encode())
        scope: Message = {"type": "http", "method": "GET", "scheme": "http"}
        scope |= {"raw_path": path.encode(), "path": path, "headers": headers}
        scope |= {"query_string": query.encode(), "http_version": "1.1"}

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await app.extensions["lanes"](scope, receive, send)
        return sent[0]["status"], b"".join(m.get("body", b"") for m in sent).decode()

    async def ask_all() -> list[tuple[int, str]]:
        return await asyncio.gather(*map(ask, paths))

    return asyncio.run(ask_all())


def entering(inside: Semaphore, app: WSGIApplication) -> WSGIApplication:
    """Let the semaphore count the requests that have come in."""

    def enter(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        inside.release()
        return app(environ, start)

    return enter


def people(app: Flask) -> int:
    return len(app.extensions["store"].users)


def shown(page: str) -> str:
    found = re.search(r'id="player" data-state="(\w+)"', page)
    return found[1] if found else ""


# ---- Logging in


def test_fifty_identical_callbacks_exchange_once(
    flow: str, app: Flask, browser: Browser, spotify: StandIn
) -> None:
    """C5: one of them logs in, 49 are refused, Spotify hears of one."""
    link = browser.code_for(browser.begin_login())
    tabs = twins(app, spotify, browser, 50)
    answers = at_once([partial(tab.get, link) for tab in tabs])
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [307] + [400] * 49
    assert (spotify.count("token"), people(app)) == (1, 1)


def test_fifty_identical_callbacks_exchange_once_on_the_server_too(
    flow: str, app: Flask, browser: Browser, spotify: StandIn
) -> None:
    """C5: through the lanes, where a request may start over."""
    link = browser.code_for(browser.begin_login())
    answers = served(app, [link] * 50, browser.cookie)
    assert sorted(status for status, _ in answers) == [307] + [400] * 49
    assert (spotify.count("token"), people(app)) == (1, 1)


def test_callback_under_another_spelling_is_not_burnt_by_starting_over(
    app: Flask, browser: Browser, spotify: StandIn
) -> None:
    """C5: if //callback is the callback, then it logs in; if not, the state stays."""
    link = browser.code_for(browser.begin_login())
    ((status, _),) = served(app, [f"/{link}"], browser.cookie)
    assert status == 307 or browser.get(link).status_code == 307
    assert people(app) == 1


def test_many_people_log_in_at_once(flow: str, app: Flask, spotify: StandIn) -> None:
    """C3, C24: each ends up as who they are, with an ID of their own."""

    def log_in(name: str) -> tuple[str | None, bool]:
        browser = Browser(app, spotify)
        browser.log_in(name)
        return browser.user_id, f"<bdi>{name}</bdi>" in browser.get("/").text

    names = [f"person-{n}" for n in range(40)]
    results = at_once([partial(log_in, name) for name in names])
    assert len({user_id for user_id, _ in results}) == people(app) == 40
    assert all(own for _, own in results)


# ---- Refreshing


@pytest.fixture
def late(browser: Browser, spotify: StandIn, clock: Clock) -> Browser:
    """A browser whose access token has expired."""
    spotify.play("track")
    browser.log_in()
    clock.advance(3600)
    spotify.forget()
    return browser


def test_fifty_requests_on_an_expired_token_refresh_once(
    flow: str, app: Flask, late: Browser, spotify: StandIn
) -> None:
    """C54: and all fifty get the page with the track."""
    tabs = twins(app, spotify, late, 50)
    pages = at_once([partial(tab.get, "/") for tab in tabs])
    assert [page.status_code for page in pages] == [200] * 50
    assert all("Postcards to the Ferryman" in page.text for page in pages)
    assert (spotify.count("token"), spotify.count("player")) == (1, 1)


def test_fifty_requests_on_an_expired_token_refresh_once_on_the_server_too(
    flow: str, app: Flask, late: Browser, spotify: StandIn
) -> None:
    """C54: through the lanes, where a request may start over."""
    answers = served(app, ["/", "/now-playing"] * 25, late.cookie)
    assert [status for status, _ in answers] == [200] * 50
    assert all("Postcards to the Ferryman" in body for _, body in answers)
    assert (spotify.count("token"), spotify.count("player")) == (1, 1)


@pytest.mark.parametrize("endpoint", ["token", "player"])
@pytest.mark.parametrize("expired", [True, False])
def test_logout_while_spotify_is_slow_stays_logged_out(
    endpoint: str,
    expired: bool,
    flow: str,
    app: Flask,
    browser: Browser,
    spotify: StandIn,
    clock: Clock,
) -> None:
    """C33: neither the new token nor the late answer brings the person back."""
    browser.log_in()
    clock.advance(3600 if expired else 3)
    if not expired and endpoint == "token":
        spotify.fail("player", "expired_token", 1)
    tabs = twins(app, spotify, browser, 4)
    with ThreadPoolExecutor(4) as pool, hold(spotify, endpoint) as held:
        paths = ["/", "/now-playing", "/", "/now-playing"]
        late = list(map(lambda tab, path: pool.submit(tab.get, path), tabs, paths))
        assert held.arrived()
        assert browser.post("/logout").status_code == 303
        held.release()
        answers = [future.result() for future in late]
    assert people(app) == 0
    assert [answer.status_code for answer in answers] == [200, 401] * 2
    assert all("User ID: None" in answer.text for answer in answers[::2])
    spotify.forget()
    assert [tab.json()["error"] for tab in tabs] == ["logged_out"] * 4
    assert spotify.calls == []


def test_logout_does_not_wait_for_a_slow_spotify(
    app: Flask, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """C33: it is answered while the refresh still hangs."""
    browser.log_in()
    clock.advance(3600)
    tab = twins(app, spotify, browser, 1)[0]
    with ThreadPoolExecutor(1) as pool, hold(spotify, "token") as held:
        late = pool.submit(tab.get, "/")
        assert held.arrived()
        browser.post("/logout")
        assert people(app) == 0
        assert not late.done()


def test_dead_refresh_is_found_out_once(
    flow: str, app: Flask, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """C55: fifty tabs hear the reason, Spotify is asked once."""
    browser.log_in()
    clock.advance(3600)
    spotify.revoke()
    spotify.forget()
    tabs = twins(app, spotify, browser, 50)
    answers = at_once([partial(tab.get, "/now-playing") for tab in tabs])
    assert {answer.get_json()["error"] for answer in answers} == {"logged_out"}
    assert all("ended this login" in answer.get_json()["message"] for answer in answers)
    assert [call.endpoint for call in spotify.calls] == ["token"]


def test_rate_limit_stops_a_crowd(app: Flask, spotify: StandIn, clock: Clock) -> None:
    """C52: those already on their way aside, nobody's request goes out."""
    browsers = [Browser(app, spotify) for _ in range(20)]
    for n, browser in enumerate(browsers):
        browser.log_in(f"p{n}")
    spotify.forget()
    spotify.fail("player", "rate_limited")
    browsers[0].get("/")
    answers = at_once([partial(b.get, "/now-playing") for b in browsers])
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.headers["Retry-After"] for answer in answers} == {"7"}
    assert spotify.count("player") == 1


# ---- Tabs, and people


def test_fifty_tabs_cost_one_call_in_two_seconds(
    app: Flask, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """C54: a minute of fifty tabs that each ask every second: 30 calls at the most."""
    browser.log_in()
    spotify.forget()
    tabs = twins(app, spotify, browser, 50)
    for second in range(60):
        if second % 20 == 0:
            at_once([partial(tab.json) for tab in tabs])
        else:
            for tab in tabs:
                assert tab.get("/now-playing").status_code == 200
        clock.advance(1)
    assert 20 <= spotify.count("player") <= 30


def test_crowd_of_one_person_leaves_room_for_others(
    make_app: MakeApp, spotify: StandIn, clock: Clock
) -> None:
    """C53: one person's many tabs do not use up all that others could wait with."""
    app = make_app(threads=12, deadline=60.0)
    greedy, modest = Browser(app, spotify), Browser(app, spotify)
    greedy.log_in("robin")
    modest.log_in("mika")
    tabs = twins(app, spotify, greedy, 30)
    inside = Semaphore(0)
    app.wsgi_app = entering(  # type: ignore[assignment, method-assign]
        inside, app.wsgi_app
    )
    with ThreadPoolExecutor(31) as pool, hold(spotify, "player") as held:
        for tab in tabs:
            pool.submit(tab.get, "/now-playing")
        assert held.arrived(1)
        assert all(inside.acquire(timeout=30) for _ in tabs)
        page = pool.submit(modest.get, "/now-playing")
        assert held.arrived(2, timeout=2), page.result().get_json()


def test_every_page_is_its_owners_under_mixed_faults(
    flow: str, make_app: MakeApp, spotify: StandIn, clock: Clock
) -> None:
    """C43, C57: 400 requests of 20 people, half of them failing: never another's."""
    spotify.expires_in = 300
    app, random = make_app(deadline=10.0), Random(4)
    names = [f"person-{n:02}" for n in range(20)]
    browsers = {name: Browser(app, spotify) for name in names}
    for name, browser in browsers.items():
        track = {"name": f"Song of {name}", "artists": [{"name": f"Band of {name}"}]}
        spotify.play({"item": track, "is_playing": True}, name)
        browser.log_in(name)
    ids = {name: browsers[name].user_id for name in names}
    tabs = [(name, t) for name in names for t in twins(app, spotify, browsers[name], 2)]
    ending = {n for n in FAILURES if "token" in n or "grant" in n or "expired" in n}
    faults = sorted(
        FAILURES.keys() - ending - {"hang", "invalid_code", "invalid_redirect_uri"}
    )

    states = set()
    for _ in range(10):
        for endpoint in ("player", "profile", "token"):
            spotify.fail(endpoint, random.choice(faults), random.randrange(1, 20))
        kinds = {"/": "*/*", "/now-playing": "text/html"}
        visits = random.choices([*kinds.items()], k=len(tabs))
        pages = at_once(
            partial(tab.get, path, Accept=accept)
            for (_, tab), (path, accept) in zip(tabs, visits, strict=True)
        )
        for (name, _), page in zip(tabs, pages, strict=True):
            assert page.status_code in (200, 403, 502, 503)
            assert set(re.findall(r"person-\d\d", page.text)) <= {name}
            assert not any(str(ids[n]) in page.text for n in names if n != name)
            states.add(state := shown(page.text))
            told = f"Song of {name}" in page.text and f"Band of {name}" in page.text
            assert told == (state == "playing")
        spotify.heal()
        clock.advance(random.choice([3, 100, 90_000]))
    assert {"playing", "unreachable"} < states
    for name, browser in browsers.items():
        assert f"Song of {name}" in browser.get("/").text
        assert browser.user_id == ids[name]


def test_slow_answer_of_one_login_is_not_the_next_ones(
    flow: str, app: Flask, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """C43: who logs in as another meanwhile does not get the late track."""
    for name in ("robin", "mika"):
        spotify.play({"item": {"name": f"Song of {name}"}, "is_playing": True}, name)
    browser.log_in("robin")
    tab = twins(app, spotify, browser, 1)[0]
    with ThreadPoolExecutor(1) as pool, hold(spotify, "player") as held:
        late = pool.submit(tab.get, "/now-playing")
        assert held.arrived()
        browser.post("/logout")
        held.release()
        assert late.result().status_code == 401
    browser.log_in("mika")
    assert browser.json()["title"] == "Song of mika"


def test_account_is_learnt_without_disturbing_others(
    app: Flask, browser: Browser, other: Browser, spotify: StandIn, clock: Clock
) -> None:
    """C53: while one person's profile hangs, another's page comes at once."""
    spotify.fail("profile", answer(500, "", "Connection: close"), 1)
    browser.log_in("robin")
    other.log_in("mika")
    with ThreadPoolExecutor(1) as pool, hold(spotify, "profile") as held:
        late = pool.submit(browser.get, "/")
        assert held.arrived()
        assert "Mika Okonjo" in other.get("/").text
        held.release()
        assert "Robin Vale" in late.result().text
