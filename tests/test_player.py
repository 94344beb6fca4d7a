"""Asking with a person's token, in a route that somebody adds."""

from __future__ import annotations

import gc
from types import FrameType
from typing import Any

import pytest
import tekore as tk
from flask import Flask, session

from config import Config
from player import Player
from spotify import Sender, Spotify
from stand_in import StandIn
from tests.conftest import CLIENT_ID, Browser, Clock, MakeApp


@pytest.fixture
def app(make_app: MakeApp, spotify: StandIn, clock: Clock) -> Flask:
    """The app, with one more route."""
    app = make_app()
    config = Config(CLIENT_ID, accounts_url=spotify.url, api_url=spotify.api_url)
    sender = Sender(config, clock.monotonic)
    cred = tk.Credentials(CLIENT_ID, None, config.redirect_uri, sender)
    api = Spotify(config, sender)
    player = Player(cred, api, app.extensions["store"], clock)

    @app.get("/me")
    def me() -> Any:
        user_id = session.get("user", "")
        return player.ask(user_id, lambda token: api.get(token, "me"))

    return app


def ask(browser: Browser) -> tuple[int, str]:
    """Return the status of the answer, and what was asked of Spotify for it."""
    browser.spotify.forget()
    page = browser.get("/me")
    assert page.status_code != 200 or page.get_json()["id"] == "robin"
    return page.status_code, " ".join(call.endpoint for call in browser.spotify.calls)


def test_a_token_is_renewed_where_it_has_to_be(browser: Browser, clock: Clock) -> None:
    """Before its end, and where the API refuses it; the new one is kept, if any."""
    assert ask(browser) == (401, "")
    browser.log_in()
    assert ask(browser) == (200, "profile")
    clock.advance(3600 - 59)
    assert ask(browser) == (200, "token profile")
    clock.advance(60)
    browser.spotify.expire_tokens()
    assert ask(browser) == (200, "profile token profile")
    assert ask(browser) == (200, "profile")


def test_an_api_that_refuses_every_token_is_in_trouble_itself(
    browser: Browser, clock: Clock
) -> None:
    """So a token is renewed at most once a minute for that, and the login stays."""
    browser.log_in()
    browser.spotify.fail("profile", "invalid_token")
    browser.spotify.holds["profile"] = lambda: clock.advance(1)  # each takes a second
    assert ask(browser) == (502, "profile")
    clock.advance(59)
    assert ask(browser) == (502, "profile token profile")
    assert ask(browser) == (502, "profile")
    browser.spotify.heal()
    assert ask(browser) == (200, "profile")


def test_a_visit_that_failed_leaves_nothing_behind(browser: Browser) -> None:
    """As it would if its error were kept, with all that led to it."""
    browser.log_in()
    browser.spotify.fail("player", "rate_limited")
    assert browser.json()["error"] == "rate_limited"
    gc.collect()
    frames = (it for it in gc.get_objects() if isinstance(it, FrameType))
    assert "_ask_again" not in [frame.f_code.co_name for frame in frames]
