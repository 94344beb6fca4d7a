"""Logging in and out, in both flows."""

from __future__ import annotations

from stand_in import StandIn
from tests.conftest import CLIENT_ID, ORIGIN, Browser


def test_main_page_without_login_shows_no_user(browser: Browser) -> None:
    page = browser.get("/")
    assert page.status_code == 200
    assert "User ID: None" in page.get_data(as_text=True)
    assert 'href="/login"' in page.get_data(as_text=True)


def test_login_leads_to_spotify_and_back_to_a_track(
    flow: str, browser: Browser, spotify: StandIn
) -> None:
    query = browser.begin_login()
    assert query["client_id"] == CLIENT_ID
    assert query["redirect_uri"] == f"{ORIGIN}/callback"
    assert query["scope"] == "user-read-currently-playing"
    assert ("code_challenge" in query) == (flow == "pkce")
    answer = browser.get(browser.code_for(query))
    assert (answer.status_code, answer.headers["Location"]) == (307, "/")
    page = browser.get("/").get_data(as_text=True)
    assert "User ID: None" not in page
    assert browser.json()["state"] == "playing"
