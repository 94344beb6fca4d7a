"""A route that somebody adds: it asks Spotify with the person's token."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import tekore as tk
from flask import Flask, session

from config import Config
from player import Player
from spotify import Sender, Spotify
from stand_in import StandIn
from tests.conftest import CLIENT_ID, SECRET, Browser, Clock, MakeApp, people
from tests.wire import hold


@pytest.fixture
def app(flow: str, make_app: MakeApp, spotify: StandIn, clock: Clock) -> Flask:
    """The app, with one more route."""
    app, secret = make_app(), SECRET if flow == "secret" else None
    config = Config(
        CLIENT_ID, secret, accounts_url=spotify.url, api_url=spotify.api_url
    )
    sender = Sender(config, clock.monotonic)
    cred = tk.Credentials(CLIENT_ID, secret, config.redirect_uri, sender)
    api = Spotify(config, sender)
    player = Player(cred, api, app.extensions["store"], clock)

    @app.get("/me")
    def me() -> Any:
        return player.ask(session.get("user", ""), lambda token: api.get(token, "me"))

    return app


def asked(browser: Browser) -> list[str]:
    """Return what was asked of Spotify since the last time."""
    calls = [call.endpoint for call in browser.spotify.calls]
    browser.spotify.forget()
    return calls


def test_a_token_that_works_is_used(browser: Browser) -> None:
    assert browser.get("/me").status_code == 401
    browser.log_in()
    asked(browser)
    assert browser.get("/me").get_json()["id"] == "robin"
    assert asked(browser) == ["profile"]


def test_a_token_that_has_run_out_is_renewed_first(
    browser: Browser, clock: Clock
) -> None:
    browser.log_in()
    clock.advance(3600 - 59)
    asked(browser)
    for calls in (["token", "profile"], ["profile"]):
        assert browser.get("/me").get_json()["id"] == "robin"
        assert asked(browser) == calls


def test_a_token_that_the_api_refuses_is_renewed_once(
    browser: Browser, clock: Clock
) -> None:
    browser.log_in()
    clock.advance(60)
    browser.spotify.expire_tokens()
    asked(browser)
    for calls in (["profile", "token", "profile"], ["profile"]):
        assert browser.get("/me").get_json()["id"] == "robin"
        assert asked(browser) == calls


def test_an_api_that_refuses_every_token_is_the_one_in_trouble(
    browser: Browser, clock: Clock
) -> None:
    """A token is renewed at most once a minute for that, and the login stays."""
    browser.log_in()
    browser.spotify.fail("profile", "invalid_token")
    browser.spotify.holds["profile"] = lambda: clock.advance(1)  # each takes a second
    for calls in (["profile"], ["profile", "token", "profile"], ["profile"]):
        asked(browser)
        page = browser.get("/me")
        assert page.status_code == 502
        assert asked(browser) == calls
        clock.advance(59 if len(calls) == 1 else 0)
    browser.spotify.heal()
    assert browser.get("/me").get_json()["id"] == "robin"


def test_a_login_that_spotify_has_ended_is_over(
    app: Flask, browser: Browser, clock: Clock
) -> None:
    browser.log_in()
    browser.spotify.revoke()
    clock.advance(3600)
    page = browser.get("/me")
    assert page.status_code == 401
    assert "Spotify has ended this login" in page.text
    assert people(app) == 0


def test_many_at_once_renew_once(browser: Browser, clock: Clock) -> None:
    browser.log_in()
    clock.advance(3600)
    asked(browser)
    tabs = [browser.tab() for _ in range(20)]
    with ThreadPoolExecutor(20) as threads, hold(browser.spotify, "token") as held:
        pages = [threads.submit(tab.get, "/me") for tab in tabs]
        assert held.arrived()
        held.release()
        assert {page.result().get_json()["id"] for page in pages} == {"robin"}
    assert sorted(asked(browser)) == ["profile"] * 20 + ["token"]
