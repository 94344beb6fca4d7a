"""Logging in, in both flows, and what attackers try on the way."""

import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from urllib.parse import quote

import pytest
from flask import Flask

from stand_in import StandIn
from tests.conftest import (
    CLIENT_ID,
    ORIGIN,
    SECRET,
    Browser,
    Clock,
    MakeApp,
    pending,
    people,
    query_of,
    shown,
)

REDIRECT_URI = f"{ORIGIN}/callback"


def test_login_proves_itself_and_leads_to_a_track(flow: str, browser: Browser) -> None:
    """By a verifier (RFC 7636) or the secret, in one call, once, and nowhere else."""
    assert 'href="/login"' in browser.get("/").text
    page = browser.get("/login").headers["Location"]
    assert page.startswith(f"{browser.spotify.accounts_url}/authorize?")
    query = browser.begin_login()
    asked = {"client_id": CLIENT_ID, "redirect_uri": REDIRECT_URI}
    asked |= {"response_type": "code", "scope": "user-read-currently-playing"}
    assert asked.items() <= query.items()
    link = browser.code_for(query)
    answer, user_id, again = browser.get(link), browser.user_id, browser.get(link)
    assert (answer.status_code, answer.location) == (307, "/")
    assert browser.json()["state"] == "playing"
    assert (again.status_code, shown(again)) == (400, "invalid_state")
    assert "You’re logged in all the same." in again.text
    assert browser.user_id == user_id is not None
    token, *others = browser.spotify.calls
    calls = [call.endpoint for call in browser.spotify.calls]
    assert calls == ["token", "profile", "player"]
    basic = urlsafe_b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()
    secret = basic if flow == "secret" else token.form["code_verifier"]
    if flow == "secret":
        assert token.headers["authorization"] == f"Basic {basic}"
        assert "code_challenge" not in query
    else:
        assert re.fullmatch(r"[\w.~-]{43,128}", secret)
        digest = urlsafe_b64encode(sha256(secret.encode()).digest())
        assert query["code_challenge"] == digest.decode().rstrip("=")
        assert query["code_challenge_method"] == "S256"
        assert token.form["client_id"] == CLIENT_ID
        assert "authorization" not in token.headers
    form = token.form | {"code_verifier": ""}
    elsewhere = f"{query}{answer.headers}{answer.text}{others}{form}"
    assert not re.search(f"{SECRET}|{secret}", elsewhere)


# ---- The state


def test_login_that_a_restart_interrupted_begins_anew(
    browser: Browser, make_app: MakeApp
) -> None:
    """Whether the new app can read the cookie or not."""
    link = browser.code_for(browser.begin_login())
    for app in (make_app(), make_app(secret_key=browser.app.secret_key)):
        page = browser.tab(app).get(link)
        assert (shown(page), 'href="/login"' in page.text) == ("invalid_state", True)


def test_state_from_another_browser_is_refused_and_not_burnt(
    app: Flask, browser: Browser, other: Browser
) -> None:
    """Whether to log in or to cancel, by a stranger or by who is logged in."""
    other.log_in("mika")
    link = browser.code_for(query := browser.begin_login())
    for visitor in (browser.twin(), other):
        before = visitor.user_id
        cancel = f"/callback?error=access_denied&state={query['state']}"
        for foreign in (link, cancel):
            answer = visitor.get(foreign)
            assert (answer.status_code, shown(answer)) == (400, "invalid_state")
            assert "Set-Cookie" not in answer.headers
        assert visitor.user_id == before
    assert browser.spotify.count("token") == people(app) == 1  # of the other's login
    assert browser.get(link).status_code == 307


def test_what_no_person_asked_for_begins_nothing_and_uses_nothing_up(
    browser: Browser, other: Browser
) -> None:
    link = browser.code_for(browser.begin_login())
    for method, status, header, value in (
        ("HEAD", 405, "", ""),
        ("POST", 405, "", ""),
        ("GET", 403, "Sec-Purpose", "prefetch;prerender"),
        ("GET", 403, "X-Moz", "prefetch"),
        ("GET", 403, "Sec-Fetch-Dest", "image"),
    ):
        for visitor, path in ((other, "/login"), (browser, link)):
            answer = visitor.open(method, path, **({header: value} if header else {}))
            assert answer.status_code == status
            assert not {"Set-Cookie", "Location"} & set(answer.headers.keys())
    assert (pending(browser.app), browser.spotify.calls) == (1, [])
    assert browser.get(link).status_code == 307


@pytest.mark.parametrize("first", [0, 1])
def test_two_tabs_end_in_one_session(first: int, app: Flask, browser: Browser) -> None:
    """In either order; the earlier session is gone from the store."""
    queries = [browser.begin_login(), browser.begin_login()]
    assert browser.get(browser.code_for(queries[first])).status_code == 307
    before, user_id = browser.tab(), browser.user_id
    assert browser.get(browser.code_for(queries[1 - first], "mika")).status_code == 307
    assert browser.user_id not in (None, user_id)
    assert "Mika Okonjo" in browser.get("/").text
    assert (people(app), pending(app)) == (1, 0)
    assert before.json()["error"] == "logged_out"


# ---- Where things go


def test_no_header_and_no_argument_changes_where_things_go(browser: Browser) -> None:
    """Both calls name the configured redirect URI; there is no next parameter."""
    headers = {"X_Forwarded_Host": "evil.example", "X_Forwarded_Proto": "https"}
    names = ["redirect_uri", "client_id", "scope", "next", "return_to"]
    noise = "&".join(f"{name}=https://evil.example" for name in names)
    begun = browser.get(f"/login?{noise}", **headers)
    assert not re.search("evil|Secure", f"{begun.headers}")
    query = query_of(begun)
    for path in (browser.code_for(query), "/login?", "/logout?"):
        assert browser.get(f"{path}&{noise}", **headers).location == "/"
    call = browser.spotify.calls[0]
    assert query["redirect_uri"] == call.form["redirect_uri"] == REDIRECT_URI
    assert "evil" not in f"{call}{browser.get(f'/?{noise}', **headers).text}"


# ---- What comes back


def test_cancel_or_error_is_a_page_of_ours_once_and_logs_nobody_out(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is asked, nothing shown of what came, and the state is used up."""
    states = [browser.begin_login()["state"] for _ in range(3)]
    browser.log_in()
    browser.spotify.forget()
    for error, status, name in (
        ("access_denied", 403, "cancelled"),
        ("<b>evil", 502, "login_failed"),
        ("", 400, "code_refused"),
    ):
        link = f"/callback?state={states.pop()}&error={quote(error)}"
        link += "&error_description=<script>evil&error_uri=evil&next=//evil.example"
        answer, again = browser.get(link), browser.get(link)
        assert (answer.status_code, shown(answer)) == (status, name)
        assert (again.status_code, shown(again)) == (400, "invalid_state")
        seen = f"{answer.headers}{answer.text}{again.headers}{again.text}"
        assert not re.search("evil|Set-Cookie", seen + caplog.text)
    assert "login refused: access_denied" in caplog.text
    assert (pending(browser.app), browser.spotify.calls) == (0, [])
    assert browser.json()["state"] == "playing"


BAD_QUERIES = """
    state=STATE code=CODE code=&state=STATE code=CODE&code=x&state=STATE
    code=CODE&state=STATE&state=STATE code=LONG&state=STATE code=CODE&state=LONG
    code=CODE&state=STATE%00 code=CODE&state=%ff%fe error=access_denied
"""


def test_callback_without_one_code_and_state_asks_nothing(browser: Browser) -> None:
    """Missing, empty, twice or 8 KB: refused before Spotify hears of it."""
    for query in BAD_QUERIES.replace("LONG", "a" * 8192).split():
        asked = browser.begin_login()
        code = browser.spotify.grant(**asked)
        query = query.replace("CODE", code).replace("STATE", asked["state"])
        assert browser.get(f"/callback?{query}").status_code == 400
        assert browser.user_id is None
    assert (browser.spotify.calls, people(browser.app)) == ([], 0)


# ---- The flow


@pytest.mark.parametrize("secrets", [(None, SECRET), (SECRET, None)])
def test_a_token_is_renewed_by_the_flow_it_came_by(
    secrets: tuple[str | None, ...], make_app: MakeApp, spotify: StandIn, clock: Clock
) -> None:
    """Also with a client secret by now; without the one it came by, the login ends."""
    before = make_app(client_secret=secrets[0])
    browser = Browser(before, spotify)
    browser.log_in()
    clock.advance(3600)
    spotify.forget()
    told = browser.tab(make_app(like=before, client_secret=secrets[1])).json()
    if secrets[0]:
        assert told["message"].startswith("Spotify has ended this login")
        assert (spotify.calls, people(before)) == ([], 0)
    else:
        assert told["state"]
        assert spotify.calls[0].form["client_id"] == CLIENT_ID
        assert "authorization" not in spotify.calls[0].headers
