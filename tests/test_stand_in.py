"""The stand-in is as strict as Spotify where the app can tell."""

import re
from base64 import b64encode
from functools import partial
from threading import Thread
from typing import Any

import pytest
from werkzeug.serving import ThreadedWSGIServer

from stand_in import StandIn
from stand_in.demo import create_app
from tests.conftest import CLIENT_ID, ORIGIN, SECRET, Clock
from tests.wire import free_port

URI = f"{ORIGIN}/callback"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # the example of RFC 7636
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
PKCE = {"client_id": CLIENT_ID, "redirect_uri": URI, "code_challenge": CHALLENGE}
BASIC = f"Basic {b64encode(f'{CLIENT_ID}:{SECRET}'.encode()).decode()}"


def ask_token(spotify: StandIn, basic: str = "", **form: str) -> Any:
    kind = "refresh_token" if "refresh_token" in form else "authorization_code"
    form = {"grant_type": kind, "code_verifier": VERIFIER, **PKCE, **form}
    headers, client = {"Authorization": basic}, spotify.website.test_client()
    answer = client.post("/api/token", data=form, headers=headers)
    body: Any = answer.get_json()
    if answer.status_code == 200:
        return body
    return answer.status_code, body["error_description"]


def test_code_serves_once_for_what_it_was_given(spotify: StandIn, clock: Clock) -> None:
    for name, value, words in (
        ("code_verifier", "w" * 43, "code_verifier was incorrect"),
        ("redirect_uri", f"{URI}/", "Invalid redirect URI"),
        ("client_id", "another", "Invalid client"),
    ):
        form = {"code": spotify.grant(**PKCE), name: value}
        assert ask_token(spotify, **form) == (400, words)
    code, late = spotify.grant(**PKCE), spotify.grant(**PKCE)
    assert ask_token(spotify, code=code)["token_type"] == "Bearer"
    assert ask_token(spotify, code=code) == (400, "Invalid authorization code")
    clock.advance(600)
    assert ask_token(spotify, code=late) == (400, "Authorization code expired")


def test_without_pkce_the_secret_is_needed(spotify: StandIn) -> None:
    code = {"code": spotify.grant(URI, client_id=CLIENT_ID)}
    refresh = {"refresh_token": ask_token(spotify, BASIC, **code)["refresh_token"]}
    for wrong in ("", BASIC[:-8] + "AAAAAAA=", f"Basic {SECRET}"):
        code = {"code": spotify.grant(URI, client_id=CLIENT_ID)}
        for form in (code, refresh):
            assert ask_token(spotify, wrong, **form) == (400, "Invalid client secret")
    for _ in range(2):  # it is not used up, and none comes back
        assert "refresh_token" not in ask_token(spotify, BASIC, **refresh)


def test_with_pkce_the_refresh_token_is_replaced(spotify: StandIn) -> None:
    code = spotify.grant(**PKCE)
    first = {"refresh_token": ask_token(spotify, code=code)["refresh_token"]}
    assert ask_token(spotify, **first, client_id="x") == (400, "Invalid client")
    second = {"refresh_token": ask_token(spotify, **first)["refresh_token"]}
    assert ask_token(spotify, **first) == (400, "Refresh token revoked")
    assert ask_token(spotify, **second)["access_token"]


def test_login_is_refused_with_the_reason(spotify: StandIn) -> None:
    spotify.redirect_uris = [URI]
    asked = PKCE | {"response_type": "code", "code_challenge_method": "S256"}
    for name, value, words in (
        ("client_id", "another", "Invalid client"),
        ("redirect_uri", "http://localhost:5000/callback", "Insecure redirect URI"),
        ("redirect_uri", f"{URI}/", "Invalid redirect URI"),
        ("response_type", "token", "must be code"),
        ("code_challenge_method", "plain", "must be S256"),
    ):
        assert spotify.refusal(asked | {name: value}).endswith(words)
    assert not spotify.refusal(asked)


def test_programme_plays_by_the_clock(spotify: StandIn, clock: Clock) -> None:
    for seconds, plays in [*spotify.programme.values()][:-1] * 2:  # it starts anew
        for waited in (0, seconds - 1):
            clock.advance(waited)
            now = {"timestamp": 1000 * (clock.time() - waited)}
            now |= {"progress_ms": 1000 * waited}
            assert spotify.playing("robin") == (plays and now | plays)
        clock.advance(1)
    people = ("robin", "mika", "ines")
    assert len({spotify.playing(person)["item"]["name"] for person in people}) == 3


def test_demo_needs_only_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of ORIGIN, though it listens on another, as in a container."""
    environ = {"HOST": "0.0.0.0", "PORT": str(free_port()), "SPOTIFY_REDIRECT_URI": URI}
    monkeypatch.setattr("os.environ", environ | {"REDIS_URL": "does nothing here"})
    app, port = create_app(), int(environ["PORT"])
    browse = partial(app.test_client().open, follow_redirects=True, buffered=True)

    def visit(path: str, **form: str) -> str:
        method = "POST" if form else "GET"
        page = browse(path, base_url=ORIGIN, method=method, data=form)
        met = f"{[it.location for it in page.history]} {page.data!r}"
        assert {*re.findall(r"https?://[\w.]+:\d+", met)} <= {ORIGIN}
        assert page.status_code == 200
        return met

    with ThreadedWSGIServer("127.0.0.1", port, app) as server:
        Thread(target=server.serve_forever, args=(0.005,), daemon=True).start()
        switches = visit("/stand-in/switches", playing="duet")
        for link in re.findall(r'(?:src|href)="(\S+)"', switches):
            visit(link)
        assert "hang" not in switches  # that needs a port of its own
        consent = visit("/login")
        fields = re.findall(r'name="([^"]+)" value="([^"]+)">', consent)
        (there,) = re.findall(r'action="(\S+)"', consent)
        page = visit(there, **dict(fields, decision="agree"))
        assert "Second-Best Umbrella" in page
        assert "open.spotify.com" not in page  # what is invented is not there
        assert "JFIF" in visit(*re.findall(r'src="(\S+\.jpg)"', page))
        server.shutdown()
