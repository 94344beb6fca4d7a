"""The stand-in is as strict as Spotify where the app can tell."""

from __future__ import annotations

import re
from base64 import b64encode
from socket import create_connection
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from werkzeug.test import TestResponse

from spotify.playback import read
from stand_in import FAILURES, StandIn
from tests.conftest import CLIENT_ID, ORIGIN, SECRET, Clock

URI = f"{ORIGIN}/callback"
# The example of RFC 7636.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
PKCE = {"client_id": CLIENT_ID, "redirect_uri": URI, "code_challenge": CHALLENGE}
AUTHORIZE = PKCE | {"response_type": "code", "code_challenge_method": "S256"}
AUTHORIZE |= {"scope": "user-read-currently-playing", "state": "a+b&c"}
BASIC = f"Basic {b64encode(f'{CLIENT_ID}:{SECRET}'.encode()).decode()}"
PLAYER = "/v1/me/player/currently-playing"


def get(spotify: StandIn, path: str, token: str = "", **query: str) -> TestResponse:
    headers = {"Authorization": f"Bearer {token}"}
    return spotify.website.test_client().get(path, query_string=query, headers=headers)


def post(spotify: StandIn, path: str, form: Any, **headers: str) -> TestResponse:
    return spotify.website.test_client().post(path, data=form, headers=headers)


def told(answer: TestResponse) -> Any:
    """Return the JSON of a success, or the status and the words of an error."""
    body: Any = answer.get_json() if answer.data else None
    if answer.status_code < 300:
        return body
    return answer.status_code, body.get("error_description") or body["error"]["message"]


def ask_token(spotify: StandIn, basic: str = "", **form: str) -> Any:
    kind = "refresh_token" if "refresh_token" in form else "authorization_code"
    usual = {"grant_type": kind, "redirect_uri": URI, "client_id": CLIENT_ID}
    usual["code_verifier"] = VERIFIER
    return told(post(spotify, "/api/token", usual | form, Authorization=basic))


def log_in(spotify: StandIn, **asked: str) -> Any:
    return ask_token(spotify, code=spotify.grant(**PKCE | asked))


def look(spotify: StandIn, token: str, types: str = "track,episode") -> Any:
    return told(get(spotify, PLAYER, token, additional_types=types))


def test_code_serves_once_for_what_it_was_given(spotify: StandIn, clock: Clock) -> None:
    """And for ten minutes."""
    for name, value, words in (
        ("code_verifier", "w" * 43, "code_verifier was incorrect"),
        ("redirect_uri", f"{URI}/", "Invalid redirect URI"),
        ("client_id", "another", "Invalid client"),
        ("grant_type", "password", "Refresh token revoked"),
    ):
        form = {"code": spotify.grant(**PKCE), name: value}
        assert ask_token(spotify, **form) == (400, words)
    assert told(post(spotify, "/api/token", "{}")) == (400, "The body must be a form")
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
            refused = ask_token(spotify, wrong, **form)
            assert refused == (400, "Invalid client secret")
    for _ in range(2):  # it is not used up, and none comes back
        assert "refresh_token" not in ask_token(spotify, BASIC, **refresh)


def test_refresh_token_of_pkce_is_replaced(spotify: StandIn) -> None:
    first = {"refresh_token": log_in(spotify)["refresh_token"]}
    assert ask_token(spotify, **first, client_id="x") == (400, "Invalid client")
    second = {"refresh_token": ask_token(spotify, **first)["refresh_token"]}
    assert ask_token(spotify, **first) == (400, "Refresh token revoked")
    assert ask_token(spotify, **second)["access_token"]


def test_player_refuses_other_tokens_and_scopes(spotify: StandIn, clock: Clock) -> None:
    token = log_in(spotify)["access_token"]
    narrow = log_in(spotify, scope="")["access_token"]
    assert look(spotify, narrow) == (403, "Insufficient client scope")
    assert look(spotify, "unknown") == (401, "Invalid access token")
    clock.advance(3_600)
    assert look(spotify, token) == (401, "The access token expired")


def test_login_is_refused_with_the_reason(spotify: StandIn) -> None:
    spotify.redirect_uris = [URI]
    for name, value, words in (
        ("client_id", "another", "INVALID_CLIENT: Invalid client"),
        ("redirect_uri", "http://localhost:5000/callback", "Insecure redirect URI"),
        ("redirect_uri", "http://127.0.0.1.evil.example/", "Insecure redirect URI"),
        ("redirect_uri", f"{URI}#x", "Insecure redirect URI"),
        ("redirect_uri", f"{URI}/", "Invalid redirect URI"),
        ("redirect_uri", "", "Invalid redirect URI"),
        ("response_type", "token", "response_type must be code"),
        ("code_challenge_method", "plain", "code_challenge_method must be S256"),
    ):
        asked = AUTHORIZE | {name: value}
        agreed = post(spotify, "/authorize", asked | {"decision": "agree"})
        for page in (get(spotify, "/authorize", **asked), agreed):
            assert (page.status_code, page.headers.get("Location")) == (400, None)
            assert words in page.text
            assert "<form" not in page.text


def test_consent_leads_back_with_a_code_or_without(spotify: StandIn) -> None:
    for uri in (URI, "http://[::1]:1/cb", "https://a.example/c?x=1"):
        asked = AUTHORIZE | {"redirect_uri": uri}
        page = get(spotify, "/authorize", **asked).text
        assert "Stand-in for Spotify" in page
        hidden = re.findall(r'type="hidden" name="(.*?)" value="(.*?)"', page)
        form = {name: value.replace("&amp;", "&") for name, value in hidden}
        assert form == asked
        queries = []
        for decision in ("cancel", "agree"):
            sent = form | {"decision": decision, "person": "mika"}
            back = post(spotify, "/authorize", sent).location
            assert back.startswith(uri)
            queries.append(dict(parse_qsl(urlsplit(back).query)))
        assert [query["state"] for query in queries] == ["a+b&c"] * 2
        assert queries[0]["error"] == "access_denied"
        token = ask_token(spotify, code=queries[1]["code"], redirect_uri=uri)
        me = get(spotify, "/v1/me", token["access_token"]).get_json()
        assert (me["id"], me["display_name"]) == ("mika", "Mika Okonjo")


def test_programme_plays_by_the_clock(spotify: StandIn, clock: Clock) -> None:
    token = log_in(spotify)["access_token"]
    heard = "track track track episode ad track paused local chapter nothing nothing"
    items = [*zip(spotify.programme.values(), heard.split(), strict=False)]
    for (seconds, _), expected in items * 2:  # it starts anew
        for waited in (0, seconds - 1):
            clock.advance(waited)
            now = read(look(spotify, token))
            assert now
            assert expected == (now.kind if now.state == "playing" else now.state)
            if expected not in ("paused", "nothing"):
                assert now.progress_ms == waited * 1_000
        clock.advance(1)
    people = ("robin", "mika", "ines")
    assert len({spotify.playing(person)["item"]["name"] for person in people}) == 3
    spotify.play("episode")
    assert look(spotify, token, "track")["item"] is None  # who asks for tracks alone


def test_switches_take_what_is_on_them_from_their_own_page(spotify: StandIn) -> None:
    for name in FAILURES:
        assert post(spotify, "/switches", {"token": name}).status_code == 303
        assert f"<option selected>{name}</option>" in get(spotify, "/switches").text
    post(spotify, "/switches", {"token": "works"})
    evil, form = "https://evil.example", {"player": "hang"}
    assert post(spotify, "/switches", form, Origin=evil).status_code == 403
    for form in ({"player": "no_such"}, {"nowhere": "hang"}, {"playing": "no_such"}):
        assert post(spotify, "/switches", form).status_code == 400
    assert spotify.failing == {}


def test_nonsense_is_refused_in_silence(
    spotify: StandIn, capfd: pytest.CaptureFixture[str]
) -> None:
    for nonsense in (
        "http://[/ HTTP/1.1",
        "/ HTTP/1.1\r\nTransfer-Encoding: chunked",
        "/ HTTP/1.1\r\nContent-Length: 100000",
    ):
        with create_connection(("127.0.0.1", spotify.port), 10) as there:
            there.sendall(f"POST {nonsense}\r\n\r\n".encode())
            assert b" 400 " in there.recv(99)
    assert capfd.readouterr().err == ""
