"""Logging in, in both flows, and what attackers try on the way."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from itertools import product
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from flask import Flask

from stand_in import StandIn
from tests.conftest import CLIENT_ID, ORIGIN, SECRET, Browser, Clock, MakeApp

REDIRECT_URI = f"{ORIGIN}/callback"
LONG = "a" * 8192
ROUTES = ["/", "/login", "/callback", "/logout", "/now-playing", "/healthz", "/readyz"]
EVIL = [
    f"{before}{host}{after}"
    for before, host, after in product(
        ["https://", "http://", "//", "///", "\\\\", "/\\", "https:", "@", "\t//", "."],
        ["evil.example", "127.0.0.1:5000@evil.example", "evil.example:5000"],
        ["", "/", "%2f..", "?a=b#c"],
    )
] + ["javascript:evil", "data:text/html,evil", "/evil\r\nX-Evil: 1", "evil\0"]


def pending(app: Flask) -> int:
    return len(app.extensions["store"].auths)


def people(app: Flask) -> int:
    return len(app.extensions["store"].users)


def test_main_page_without_login_shows_no_user(browser: Browser) -> None:
    page = browser.get("/")
    assert page.status_code == 200
    assert "User ID: None" in page.get_data(as_text=True)
    assert 'href="/login"' in page.get_data(as_text=True)


def test_login_leads_to_spotify_and_back_to_a_track(
    flow: str, browser: Browser, spotify: StandIn
) -> None:
    """C13, C14, C19: one code flow, one scope, and no code in the address after it."""
    query = browser.begin_login()
    assert query["client_id"] == CLIENT_ID
    assert query["redirect_uri"] == REDIRECT_URI
    assert query["response_type"] == "code"
    assert query["scope"] == "user-read-currently-playing"
    assert ("code_challenge" in query) == (flow == "pkce")
    answer = browser.get(browser.code_for(query))
    assert (answer.status_code, answer.headers["Location"]) == (307, "/")
    page = browser.get("/").get_data(as_text=True)
    assert "User ID: None" not in page
    assert browser.json()["state"] == "playing"
    assert [call.endpoint for call in spotify.calls] == ["token", "profile", "player"]


# ---- The state


@pytest.mark.parametrize("who", ["stranger", "beginner", "mika"])
def test_state_from_another_browser_is_refused_and_not_burnt(
    flow: str,
    who: str,
    app: Flask,
    browser: Browser,
    other: Browser,
    spotify: StandIn,
) -> None:
    """C1, C2, C3: nobody is logged in by somebody else's link, whoever they are."""
    if who == "beginner":
        other.begin_login()
    elif who == "mika":
        other.log_in("mika")
    before = other.user_id
    spotify.forget()
    link = browser.code_for(browser.begin_login())
    answer = other.get(link)
    assert answer.status_code == 400
    assert "Invalid state!" in answer.get_data(as_text=True)
    assert "Set-Cookie" not in answer.headers
    assert spotify.count("token") == 0
    assert other.user_id == before
    assert ("Mika Okonjo" in other.get("/").get_data(as_text=True)) == (who == "mika")
    assert browser.get(link).status_code == 307
    assert people(app) == (2 if who == "mika" else 1)


def test_every_state_is_new_and_cannot_be_guessed(app: Flask, spotify: StandIn) -> None:
    """C4, C9: states, verifiers' challenges and browsers' values never come twice."""
    browsers = [Browser(app, spotify) for _ in range(50)]
    queries = [browser.begin_login() for browser in browsers for _ in range(4)]
    for name in ("state", "code_challenge"):
        values = [query[name] for query in queries]
        assert len(set(values)) == 200
        # 22 characters of base64url hold 128 bit.
        assert all(re.fullmatch(r"[\w-]{22,}", value) for value in values)
        positions = list(zip(*values, strict=True))
        assert all(len(set(letters)) > 8 for letters in positions[:22])


def test_callback_works_once(flow: str, browser: Browser, spotify: StandIn) -> None:
    """C5: the second time it is refused, and the session of the first stays."""
    link = browser.code_for(browser.begin_login())
    assert browser.get(link).status_code == 307
    user_id = browser.user_id
    assert browser.get(link).status_code == 400
    assert spotify.count("token") == 1
    assert browser.user_id == user_id


@pytest.mark.parametrize(("seconds", "status"), [(599, 307), (600, 400)])
def test_login_expires_after_ten_minutes(
    seconds: int, status: int, app: Flask, browser: Browser, clock: Clock
) -> None:
    """C6: and its entry is gone."""
    query = browser.begin_login()
    clock.advance(seconds)
    link = browser.code_for(query)
    assert browser.get(link).status_code == status
    assert pending(app) == 0


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("HEAD", {}, 405),
        ("OPTIONS", {}, 200),
        ("GET", {"Sec_Purpose": "prefetch"}, 403),
        ("GET", {"Sec_Purpose": "prefetch;prerender"}, 403),
        ("GET", {"Purpose": "prefetch"}, 403),
        ("GET", {"X_Moz": "prefetch"}, 403),
        ("GET", {"Sec_Fetch_Dest": "iframe"}, 403),
        ("GET", {"Sec_Fetch_Dest": "image", "Sec_Fetch_Site": "cross-site"}, 403),
        ("POST", {}, 405),
        ("PUT", {}, 405),
    ],
)
def test_what_no_person_asked_for_uses_nothing_up(
    method: str,
    headers: dict[str, str],
    status: int,
    app: Flask,
    browser: Browser,
    spotify: StandIn,
) -> None:
    """C7, C13, C29: looks ahead, frames, pictures and other methods on the callback."""
    link = browser.code_for(browser.begin_login())
    answer = browser.open(method, link, **headers)
    assert answer.status_code == status
    assert "Set-Cookie" not in answer.headers
    assert (pending(app), people(app), spotify.count("token")) == (1, 0, 0)
    assert browser.get(link).status_code == 307


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", {}),
        ("OPTIONS", {}),
        ("POST", {}),
        ("GET", {"Sec_Purpose": "prefetch"}),
        ("GET", {"Sec_Purpose": "prefetch;prerender"}),
        ("GET", {"Purpose": "prefetch"}),
        ("GET", {"X_Moz": "prefetch"}),
        *(
            ("GET", {"Sec_Fetch_Dest": dest, "Sec_Fetch_Site": "cross-site"})
            for dest in ("image", "iframe", "frame", "empty", "script", "object")
        ),
    ],
)
def test_login_that_no_person_began_creates_nothing(
    method: str, headers: dict[str, str], app: Flask, browser: Browser
) -> None:
    """C7, C29: no pending login, no cookie, no way to Spotify."""
    answer = browser.open(method, "/login", **headers)
    assert answer.status_code in (200, 403, 405)
    assert not {"Set-Cookie", "Location"} & set(answer.headers.keys())
    assert pending(app) == 0


@pytest.mark.parametrize("first", [0, 1])
def test_two_tabs_end_in_one_session(
    first: int, flow: str, app: Flask, browser: Browser
) -> None:
    """C8, C25: in either order; the earlier session is gone from the store."""
    tabs = [browser.begin_login(), browser.begin_login()]
    assert browser.get(browser.code_for(tabs[first])).status_code == 307
    cookie, user_id = browser.cookie, browser.user_id
    assert browser.get(browser.code_for(tabs[1 - first], "mika")).status_code == 307
    assert browser.user_id not in (None, user_id)
    assert "Mika Okonjo" in browser.get("/").get_data(as_text=True)
    assert (people(app), pending(app)) == (1, 0)
    browser.cookie = cookie
    assert browser.json()["error"] == "logged_out"


# ---- PKCE, and where things go


def test_pkce_proves_itself(browser: Browser, spotify: StandIn) -> None:
    """C9: S256, a verifier of 43 to 128 characters, no secret, and no trace of it."""
    query = browser.begin_login()
    answer = browser.get(browser.code_for(query))
    form = spotify.calls[0].form
    verifier = form["code_verifier"]
    assert query["code_challenge_method"] == "S256"
    assert re.fullmatch(r"[\w.~-]{43,128}", verifier)
    digest = sha256(verifier.encode()).digest()
    assert query["code_challenge"] == urlsafe_b64encode(digest).decode().rstrip("=")
    assert form["client_id"] == CLIENT_ID
    assert "client_secret" not in form
    assert "authorization" not in spotify.calls[0].headers
    assert verifier not in answer.get_data(as_text=True) + str(answer.headers)


def test_secret_goes_to_the_token_endpoint_alone(
    make_app: MakeApp, spotify: StandIn
) -> None:
    """C43: in one header of one call, and in no address."""
    browser = Browser(make_app(client_secret=SECRET), spotify)
    query = browser.begin_login()
    browser.get(browser.code_for(query))
    browser.get("/")
    basic = urlsafe_b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()
    assert spotify.calls[0].headers["authorization"] == f"Basic {basic}"
    assert SECRET not in str(query)
    for call in spotify.calls[1:]:
        assert basic not in str(call)
        assert SECRET not in str(call)


def test_code_for_another_challenge_is_refused(
    app: Flask, browser: Browser, spotify: StandIn
) -> None:
    """C10: a code that was injected from another login leads to a friendly page."""
    mine, theirs = browser.begin_login(), browser.begin_login()
    link = browser.code_for(theirs).replace(theirs["state"], mine["state"])
    answer = browser.get(link)
    assert answer.status_code == 400
    assert "did not accept the code" in answer.get_data(as_text=True)
    assert (spotify.count("token"), people(app)) == (1, 0)
    assert browser.user_id is None


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Forwarded_Host": "evil.example"},
        {"X_Forwarded_Proto": "https", "X_Forwarded_Port": "443"},
        {"X_Forwarded_Prefix": "/evil", "X_Script_Name": "/evil"},
        {"Forwarded": "for=1.2.3.4;host=evil.example;proto=https"},
        {"X_Original_URL": "/evil", "X_Rewrite_URL": "/evil"},
        {"X_Host": "evil.example", "X_Forwarded_Server": "evil.example"},
        {"X_HTTP_Method_Override": "DELETE"},
        {"Proxy": "http://evil.example", "Referer": "https://evil.example/"},
        {"Cookie": "redirect_uri=https://evil.example; next=https://evil.example"},
    ],
)
def test_no_header_and_no_argument_changes_where_things_go(
    headers: dict[str, str], browser: Browser, spotify: StandIn
) -> None:
    """C11, C12, C22: both calls name the configured redirect URI, byte for byte."""
    noise = "redirect_uri=https://evil.example&client_id=evil&scope=evil&api_url=evil"
    answer = browser.get(f"/login?{noise}", **headers)
    location = answer.headers["Location"]
    assert location.startswith(f"{spotify.accounts_url}/authorize?")
    assert "evil" not in location
    query = dict(parse_qsl(urlsplit(location).query))
    assert query["redirect_uri"] == REDIRECT_URI
    if "Cookie" in headers:
        return  # it took the place of the jar's own
    link = f"{browser.code_for(query)}&{noise}"
    assert browser.get(link, **headers).headers["Location"] == "/"
    call = spotify.calls[0]
    assert (call.endpoint, call.form["redirect_uri"]) == ("token", REDIRECT_URI)
    assert "evil" not in str(call)


def test_login_from_localhost_passes_with_one_jar_per_host(
    flow: str, app: Flask, spotify: StandIn
) -> None:
    """C15: no cookie is set before the browser is at the canonical origin."""
    jars = {"localhost:5000": app.test_client(), "127.0.0.1:5000": app.test_client()}
    url = "http://localhost:5000/login"
    for _ in range(6):
        uri = urlsplit(url)
        if uri.netloc not in jars:
            query = dict(parse_qsl(uri.query))
            code = spotify.grant(person="robin", **query)
            url = f"{query['redirect_uri']}?code={code}&state={query['state']}"
            continue
        answer = jars[uri.netloc].get(
            f"{uri.path}?{uri.query}", base_url=f"http://{uri.netloc}"
        )
        if uri.netloc.startswith("localhost"):
            assert "Set-Cookie" not in answer.headers
        if answer.status_code == 200:
            break
        url = answer.headers["Location"]
        url = url if ":" in url else f"{ORIGIN}{url}"
    assert url == f"{ORIGIN}/"
    assert "Robin Vale" in answer.get_data(as_text=True)


# ---- What comes back


def test_cancelling_leads_to_one_sentence(
    flow: str, app: Flask, browser: Browser, spotify: StandIn
) -> None:
    """C16: with a valid state: nothing shared, nothing asked, entry gone, once."""
    state = browser.begin_login()["state"]
    answer = browser.get(f"/callback?error=access_denied&state={state}")
    assert (answer.status_code, answer.headers["Location"]) == (307, "/")
    assert "The login was cancelled" in browser.get("/").get_data(as_text=True)
    assert "cancelled" not in browser.get("/").get_data(as_text=True)
    assert (pending(app), spotify.count("token")) == (0, 0)
    link = f"/callback?code=x&state={state}"
    assert browser.get(link).status_code == 400
    assert spotify.count("token") == 0


@pytest.mark.parametrize("logged_in", [False, True])
@pytest.mark.parametrize("query", ["", "&state=", "&state=FOREIGN", "&state=a&state=b"])
def test_cancelling_somebody_elses_login_changes_nothing(
    query: str, logged_in: bool, app: Flask, browser: Browser, other: Browser
) -> None:
    """C16: with a foreign or missing state no session is touched."""
    if logged_in:
        other.log_in("mika")
    before = other.user_id
    mine = browser.begin_login()
    query = query.replace("FOREIGN", mine["state"])
    answer = other.get(f"/callback?error=access_denied{query}")
    assert answer.status_code == 400
    assert "Set-Cookie" not in answer.headers
    assert "cancelled" not in other.get("/").get_data(as_text=True)
    assert other.user_id == before
    assert browser.get(browser.code_for(mine)).status_code == 307


@pytest.mark.parametrize(
    "query",
    [
        "",
        "state=STATE",
        "code=CODE",
        "code=&state=STATE",
        "code=CODE&state=",
        "code=CODE&code=CODE&state=STATE",
        "code=CODE&code=other&state=STATE",
        "code=CODE&state=STATE&state=STATE",
        "code=CODE&state=STATE&state=other",
        f"code={LONG}&state=STATE",
        f"code=CODE&state={LONG}",
        f"code={LONG}&state={LONG}",
        "code=CODE&state=STATE%00",
        "code=CODE&state=STATE%20",
        "code=CODE&state=%ff%fe%ed%a0%80",
        "code=CODE&state[]=STATE",
        "CODE=CODE&STATE=STATE",
        "code=CODE;state=STATE",
        "code=CODE#&state=STATE",
    ],
)
def test_callback_without_one_code_and_one_state_asks_nothing(
    query: str, app: Flask, browser: Browser, spotify: StandIn
) -> None:
    """C17: missing, empty, twice or 8 KB: refused before Spotify hears of it."""
    asked = browser.begin_login()
    code = browser.code_for(asked).partition("code=")[2].partition("&")[0]
    query = query.replace("CODE", code).replace("STATE", asked["state"])
    answer = browser.get(f"/callback?{query}")
    assert answer.status_code == 400
    assert (spotify.count("token"), people(app)) == (0, 0)
    assert browser.user_id is None


@pytest.mark.parametrize(
    "error", ["access_denied", "server_error", "", "<b>evil", LONG]
)
def test_words_of_an_error_are_never_shown(error: str, browser: Browser) -> None:
    """C18: neither of a login of one's own nor of anybody's."""
    state = browser.begin_login()["state"]
    evil = quote('<script>evil("x")</script>')
    query = f"error={quote(error)}&error_description={evil}&error_uri={evil}"
    for link in (f"/callback?{query}&state={state}", f"/callback?{query}"):
        answer = browser.get(link)
        seen = f"{answer.headers}{answer.get_data(as_text=True)}"
        seen += browser.get("/").get_data(as_text=True)
        assert answer.status_code in (307, 400)
        assert "evil" not in seen
        assert LONG not in seen


@pytest.mark.parametrize("path", ROUTES)
def test_no_argument_leads_anywhere_else(
    path: str, browser: Browser, spotify: StandIn
) -> None:
    """C20: there is no next parameter, under any name, on any route."""
    names = ("next", "rd", "return_to", "url", "redirect", "continue", "redirect_uri")
    own = ("/", f"{spotify.accounts_url}/authorize?")
    for payload in EVIL:
        query = "&".join(f"{name}={quote(payload)}" for name in names)
        answer = browser.get(f"{path}?{query}")
        location = answer.headers.get("Location", "/")
        assert location == "/" or location.startswith(own[1])
        seen = f"{answer.headers}{answer.get_data(as_text=True)}"
        assert "evil" not in seen.replace(REDIRECT_URI, "").lower()
