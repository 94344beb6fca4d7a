"""The stand-in is as strict as Spotify where the app can tell."""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from contextlib import closing
from hashlib import sha256
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from stand_in import FAILURES, StandIn
from tests.conftest import CLIENT_ID, ORIGIN, SECRET, Clock

URI = f"{ORIGIN}/callback"
VERIFIER = "v" * 43
DIGEST = sha256(VERIFIER.encode()).digest()
CHALLENGE = urlsafe_b64encode(DIGEST).decode().rstrip("=")
AUTHORIZE = {
    "client_id": CLIENT_ID,
    "response_type": "code",
    "redirect_uri": URI,
    "scope": "user-read-currently-playing",
    "state": "a+b&c",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}
PKCE = {"client_id": CLIENT_ID, "redirect_uri": URI, "code_verifier": VERIFIER}
BASIC = {
    "Authorization": f"Basic {b64encode(f'{CLIENT_ID}:{SECRET}'.encode()).decode()}"
}


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> tuple[int, str, str]:
        """The status and both halves of an error of the token endpoint."""
        return self.status, self.json["error"], self.json["error_description"]


def ask(
    spotify: StandIn,
    path: str,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """GET the path, or POST the form to it, without following redirects."""
    sent = dict(headers or {})
    body = None if form is None else urlencode(form)
    if form is not None:
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    with closing(HTTPConnection("127.0.0.1", spotify.port, timeout=10)) as connection:
        connection.request("GET" if form is None else "POST", path, body, sent)
        answer = connection.getresponse()
        return Reply(answer.status, dict(answer.headers), answer.read().decode())


def redeem(spotify: StandIn, granted: str, **form: str) -> Reply:
    wanted = {"grant_type": "authorization_code", "code": granted} | PKCE | form
    return ask(spotify, "/api/token", wanted)


def refresh(spotify: StandIn, token: str, **form: str) -> Reply:
    wanted = {"grant_type": "refresh_token", "refresh_token": token} | form
    return ask(spotify, "/api/token", {"client_id": CLIENT_ID} | wanted)


def look(spotify: StandIn, token: str) -> Reply:
    path = "/v1/me/player/currently-playing?additional_types=track,episode"
    return ask(spotify, path, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def code(spotify: StandIn) -> str:
    return spotify.grant(URI, client_id=CLIENT_ID, code_challenge=CHALLENGE)


INVALID_CODE = 400, "invalid_grant", "Invalid authorization code"
REVOKED = 400, "invalid_grant", "Refresh token revoked"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"code_verifier": "w" * 43}, "code_verifier was incorrect"),
        ({"code_verifier": ""}, "code_verifier was incorrect"),
        ({"redirect_uri": f"{URI}/"}, "Invalid redirect URI"),
        ({"redirect_uri": ""}, "Invalid redirect URI"),
        ({"code": "another"}, "Invalid authorization code"),
    ],
)
def test_code_is_refused_with_anything_wrong_beside_it(
    form: dict[str, str], error: str, code: str, spotify: StandIn
) -> None:
    assert redeem(spotify, code, **form).error == (400, "invalid_grant", error)


def test_code_serves_once_and_for_ten_minutes(
    code: str, spotify: StandIn, clock: Clock
) -> None:
    answer = redeem(spotify, code)
    assert answer.status == 200
    assert answer.json["token_type"] == "Bearer"
    assert redeem(spotify, code).error == INVALID_CODE
    late = spotify.grant(URI, client_id=CLIENT_ID, code_challenge=CHALLENGE)
    clock.advance(600)
    expired = 400, "invalid_grant", "Authorization code expired"
    assert redeem(spotify, late).error == expired


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (BASIC, 200),
        ({}, 400),
        ({"Authorization": BASIC["Authorization"][:-8] + "AAAAAAA="}, 400),
        ({"Authorization": f"Basic {b64encode(b'x:y').decode()}"}, 400),
        ({"Authorization": f"Basic {SECRET}"}, 400),
    ],
)
def test_login_without_pkce_needs_the_secret_then_and_at_each_refresh(
    headers: dict[str, str], status: int, spotify: StandIn
) -> None:
    code = spotify.grant(URI, client_id=CLIENT_ID)
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": URI}
    answer = ask(spotify, "/api/token", form, headers)
    assert answer.status == status
    if status != 200:
        assert answer.error == (400, "invalid_client", "Invalid client secret")
        return
    form = {
        "grant_type": "refresh_token",
        "refresh_token": answer.json["refresh_token"],
    }
    refused = ask(spotify, "/api/token", form)
    assert refused.error == (400, "invalid_client", "Invalid client secret")
    for _ in range(2):  # it is not used up, and none comes back
        fresh = ask(spotify, "/api/token", form, headers).json
        assert "refresh_token" not in fresh
        assert look(spotify, fresh["access_token"]).status == 200


def test_refresh_token_of_pkce_is_replaced_and_can_be_revoked(
    code: str, spotify: StandIn, clock: Clock
) -> None:
    first = redeem(spotify, code).json
    other = refresh(spotify, first["refresh_token"], client_id="another")
    assert other.error == (400, "invalid_client", "Invalid client")
    second = refresh(spotify, first["refresh_token"]).json
    assert second["refresh_token"] != first["refresh_token"]
    assert refresh(spotify, first["refresh_token"]).error == REVOKED
    clock.advance(3_600)
    assert look(spotify, second["access_token"]).json == {
        "error": {"status": 401, "message": "The access token expired"}
    }
    spotify.revoke()
    assert refresh(spotify, second["refresh_token"]).error == REVOKED


def test_api_refuses_unknown_and_expired_tokens_and_wrong_scopes(
    spotify: StandIn,
) -> None:
    answer = look(spotify, "unknown")
    assert (answer.status, answer.json["error"]["message"]) == (
        401,
        "Invalid access token",
    )
    code = spotify.grant(URI, client_id=CLIENT_ID, code_challenge=CHALLENGE, scope="")
    answer = look(spotify, redeem(spotify, code).json["access_token"])
    assert (answer.status, answer.json["error"]["message"]) == (
        403,
        "Insufficient client scope",
    )


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"client_id": "another"}, "INVALID_CLIENT: Invalid client"),
        ({"redirect_uri": "http://localhost:5000/callback"}, "Insecure redirect URI"),
        ({"redirect_uri": "https://localhost/callback"}, "Insecure redirect URI"),
        ({"redirect_uri": "http://music.example/callback"}, "Insecure redirect URI"),
        ({"redirect_uri": "http://127.0.0.1.evil.example/"}, "Insecure redirect URI"),
        ({"redirect_uri": f"{URI}#x"}, "Insecure redirect URI"),
        ({"redirect_uri": f"{URI}/"}, "Invalid redirect URI"),
        ({"redirect_uri": URI.replace("5000", "5001")}, "Invalid redirect URI"),
        ({"redirect_uri": ""}, "Invalid redirect URI"),
        ({"response_type": "token"}, "response_type must be code"),
        ({"code_challenge_method": "plain"}, "code_challenge_method must be S256"),
        ({"scope": "<script>"}, "INVALID_SCOPE"),
    ],
)
def test_authorise_page_refuses_and_leads_nowhere(
    query: dict[str, str], words: str, spotify: StandIn
) -> None:
    spotify.redirect_uris = [URI]
    asked = AUTHORIZE | query
    for form in (None, asked | {"decision": "agree"}):
        path = "/authorize" if form else f"/authorize?{urlencode(asked)}"
        page = ask(spotify, path, form)
        assert page.status == 400
        assert words in page.text
        assert "Location" not in page.headers
        assert "<form" not in page.text


@pytest.mark.parametrize(
    "uri", [URI, "http://[::1]:5000/cb", "https://music.example/c"]
)
def test_agree_leads_back_with_a_code_that_works(uri: str, spotify: StandIn) -> None:
    asked = AUTHORIZE | {"redirect_uri": uri}
    page = ask(spotify, f"/authorize?{urlencode(asked)}")
    assert page.status == 200
    assert 'value="agree"' in page.text
    assert 'value="cancel"' in page.text
    assert "Stand-in for Spotify" in page.text
    hidden = dict(re.findall(r'type="hidden" name="(.*?)" value="(.*?)"', page.text))
    form = {name: value.replace("&amp;", "&") for name, value in hidden.items()}
    assert form == asked
    agreed = ask(spotify, "/authorize", form | {"decision": "agree", "person": "mika"})
    where, _, query = agreed.headers["Location"].partition("?")
    assert (agreed.status, where) == (303, uri)
    back = dict(parse_qsl(query))
    assert back.keys() == {"code", "state"}
    assert back["state"] == "a+b&c"
    token = redeem(spotify, back["code"], redirect_uri=uri).json["access_token"]
    me = ask(spotify, "/v1/me", headers={"Authorization": f"Bearer {token}"}).json
    assert (me["id"], me["display_name"]) == ("mika", "Mika Okonjo")


def test_cancel_leads_back_without_a_code(spotify: StandIn) -> None:
    cancelled = ask(spotify, "/authorize", AUTHORIZE | {"decision": "cancel"})
    query = dict(parse_qsl(urlsplit(cancelled.headers["Location"]).query))
    assert query == {"error": "access_denied", "state": "a+b&c"}


def test_programme_moves_on_with_the_clock_and_starts_anew(
    code: str, spotify: StandIn, clock: Clock
) -> None:
    token = redeem(spotify, code).json["access_token"]
    *items, unknown = spotify.programme.values()
    for name, (seconds, expected) in [*spotify.programme.items()][:-1] * 2:
        for progress in (0, seconds - 1):
            answer = look(spotify, token)
            assert answer.status == (204 if expected is None else 200), name
            if expected:
                assert answer.json["item"] == expected["item"]
                shown = 20_000 if name == "paused" else progress * 1_000
                assert answer.json["progress_ms"] == shown
            clock.advance(seconds - 1 if progress == 0 else 1)
    assert sum(item.seconds for item in items) > 60
    spotify.play("unknown")
    assert look(spotify, token).json["item"] is None
    assert unknown.answer is not None


def test_two_people_start_with_different_tracks(spotify: StandIn) -> None:
    names = {
        spotify.playing(person)["item"]["name"] for person in ("robin", "mika", "ines")
    }
    assert len(names) == 3


@pytest.mark.parametrize("endpoint", ["authorize", "token", "profile", "player"])
def test_every_failure_can_be_switched_on_and_off(
    endpoint: str, spotify: StandIn
) -> None:
    for name in FAILURES:
        assert ask(spotify, "/switches", {endpoint: name}).status == 303
        assert f"<option selected>{name}</option>" in ask(spotify, "/switches").text
        assert spotify.failing[endpoint][0] == name
    assert ask(spotify, "/switches", {endpoint: "works"}).status == 303
    assert spotify.failing == {}


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("owner_premium", 403, "Active premium subscription required"),
        ("rate_limited_day", 429, "API rate limit exceeded"),
        ("html_200", 200, "Sign in to this network"),
        ("redirect", 302, ""),
    ],
)
def test_failure_fails_as_often_as_told_and_then_heals(
    name: str, status: int, words: str, code: str, spotify: StandIn
) -> None:
    token = redeem(spotify, code).json["access_token"]
    spotify.fail("player", name, times=2)
    answers = [look(spotify, token) for _ in range(3)]
    assert [answer.status for answer in answers] == [status, status, 200]
    assert words in answers[0].text
    assert answers[2].json["item"]["name"] == "Postcards to the Ferryman"
    assert spotify.count("player") == 3


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "65537"},
        {"Content-Length": "many"},
        {"Transfer-Encoding": "chunked"},
    ],
)
def test_body_too_long_or_of_unknown_length_is_refused(
    headers: dict[str, str], spotify: StandIn
) -> None:
    answer = ask(spotify, "/switches", headers=headers)
    assert (answer.status, answer.headers["Connection"]) == (400, "close")


def test_connection_is_kept_also_after_a_body_that_nobody_reads(
    spotify: StandIn,
) -> None:
    with closing(HTTPConnection("127.0.0.1", spotify.port, timeout=10)) as connection:
        connection.connect()
        first = connection.sock
        for _ in range(2):
            connection.request("POST", "/api/token", b"{}")
            assert b"must be a form" in connection.getresponse().read()
        assert connection.sock is first


def test_switches_refuse_unknown_names_and_forms_of_other_sites(
    spotify: StandIn,
) -> None:
    foreign = {"Origin": "https://evil.example"}
    switched = ask(spotify, "/switches", {"player": "hang"}, foreign)
    assert switched.status == 403
    for form in ({"player": "no_such"}, {"nowhere": "hang"}, {"playing": "no_such"}):
        assert ask(spotify, "/switches", form).status == 400
    assert spotify.failing == {}
