"""The road to Spotify over TLS, and through a proxy of the environment."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config import Config
from spotify import Sender, Spotify
from spotify.tokens import Token
from stand_in import StandIn
from tests.conftest import CLIENT_ID, Browser, Clock, MakeApp, needs
from tests.http2_spotify import TlsSpotify


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsSpotify]:
    """A Spotify whose certificate is trusted because of the environment alone."""
    needs("openssl", shutil.which("openssl") is not None)
    certificate = tmp_path / "certificate.pem"
    command = f"""openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes
        -subj /CN=spotify -addext subjectAltName=IP:127.0.0.1
        -keyout {certificate} -out {certificate}"""
    subprocess.run(command.split(), check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with TlsSpotify(certificate) as spotify:
        yield spotify


def visitor(make_app: MakeApp, spotify: TlsSpotify) -> Browser:
    app = make_app(accounts_url=spotify.accounts_url, api_url=spotify.api_url)
    return Browser(app, spotify)  # type: ignore[arg-type]


@pytest.fixture
def robin(make_app: MakeApp, tls: TlsSpotify) -> Browser:
    """A browser in which Robin is logged in over TLS."""
    browser = visitor(make_app, tls)
    browser.log_in("robin")
    return browser


@pytest.fixture
def mika(robin: Browser) -> Browser:
    browser = robin.twin()
    browser.log_in("mika")
    return browser


def test_server_with_a_foreign_certificate_gets_no_secret(
    make_app: MakeApp, tls: TlsSpotify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert visitor(make_app, tls).log_in().status_code == 502
    assert tls.asked == []


def test_over_http2_people_share_a_connection_but_no_token_request_does(
    robin: Browser, mika: Browser, tls: TlsSpotify, clock: Clock
) -> None:
    for _ in range(3):
        assert robin.json()["title"] == "Song of robin"
        assert mika.json()["title"] == "Song of mika"
        clock.advance(40)
    ports = {(it.port, it.method) for it in tls.asked}
    assert sorted(method for _, method in ports) == ["GET"] + ["POST"] * 2
    assert len({port for port, _ in ports}) == 3


def test_connection_serves_one_person_where_http2_comes_and_goes(
    robin: Browser, mika: Browser, tls: TlsSpotify, clock: Clock
) -> None:
    """As with servers that are not all alike."""
    tls.asked.clear()
    for _ in range(3):
        for browser, protocol in ((robin, "h2"), (mika, "http/1.1")):
            tls.context.set_alpn_protocols([protocol])
            tls.tricks = ["go away"]
            assert browser.json()["state"] == "playing"
        clock.advance(40)
    assert [":path" in it.headers for it in tls.asked] == [True, False] * 3
    assert len({it.port for it in tls.asked}) == 6


@pytest.mark.parametrize("trick", ["go away", "never mind", "refuse", "vanish"])
def test_call_that_a_server_ends_goes_out_once_more_and_not_again(
    robin: Browser, tls: TlsSpotify, clock: Clock, trick: str
) -> None:
    """Once is not noticed; nor does it matter later."""
    for times in (0, 1, 9, 0):
        tls.tricks = [trick] * times
        tls.asked.clear()
        answered = times < 9 or trick == "go away"
        assert robin.json().get("state") == ("playing" if answered else None)
        assert len(tls.asked) <= 2
        clock.advance(40)


def test_kept_connection_that_a_server_has_ended_is_not_noticed(
    robin: Browser, tls: TlsSpotify, clock: Clock
) -> None:
    """By TLS alone, and with a GOAWAY for an error."""
    for trick in ("", "hang up", "", "break down", ""):
        tls.tricks = [trick]
        assert robin.json()["state"] == "playing"
        clock.advance(40)
        tls.hang_up.set()
        assert not trick or tls.hung_up.wait(10)
        tls.hang_up.clear()
        tls.hung_up.clear()


@pytest.mark.parametrize("trick", ["never mind", "vanish"])
def test_token_request_is_never_sent_twice(
    robin: Browser, tls: TlsSpotify, clock: Clock, trick: str
) -> None:
    for _ in range(2):  # if ever, a connection is kept after these
        clock.advance(3600)
        assert robin.json()["state"] == "playing"
    clock.advance(3600)
    tls.asked.clear()
    tls.tricks = [trick] * 9
    assert robin.json()["error"] == "unreachable"
    assert [it.path for it in tls.asked] == ["/api/token"]


def test_connection_that_has_gone_silent_is_not_used_again(
    make_app: MakeApp, tls: TlsSpotify, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One visit hears of it, and none after, whoever it is."""
    monkeypatch.setattr("spotify.sender.CALL_SECONDS", 1.0)
    robin = visitor(make_app, tls)
    mika = robin.twin()
    robin.log_in("robin")
    mika.log_in("mika")
    tls.tricks = ["silent"]
    assert robin.json()["error"] == "unreachable"
    clock.advance(40)
    assert mika.json()["title"] == "Song of mika"
    assert robin.json()["title"] == "Song of robin"


FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@pytest.mark.parametrize(
    ("method", "sent", "body", "kind"),
    [
        ("POST", {}, "", JSON),
        ("PUT", {"params": {"volume": "7"}}, "", JSON),
        ("POST", {"json": {"id": "ü"}}, '{"id": "\\u00fc"}', JSON),
        ("DELETE", {"json": {}}, "{}", JSON),
        ("POST", {"data": {"a": "ü &"}}, "a=%C3%BC+%26", FORM),
        ("PUT", {"content": "ü"}, "ü", JSON),
    ],
)
def test_call_of_any_kind_leaves_nothing_to_the_next(
    method: str, sent: Any, body: str, kind: str, tls: TlsSpotify, clock: Clock
) -> None:
    """Neither its method nor its body nor whose it was."""
    config = Config(CLIENT_ID, api_url=tls.api_url)
    sender = Sender(config, clock.monotonic)
    spotify = Spotify(config, sender)
    robin, mika = (Token(it, None, 0, 0, True) for it in ("robin", "mika"))
    for _ in range(2):
        assert spotify.get(mika, "me")["id"] == "mika"
        assert spotify.send(robin, method, "me/player", **sent)["id"] == "robin"
        assert spotify.get(mika, "me")["id"] == "mika"
    calls = [(it.method, it.body) for it in tls.asked]
    assert calls == [("GET", ""), (method, body), ("GET", "")] * 2
    for tls.tricks in (["vanish"], ["refuse"], ["never mind"], ["go away"], []):
        assert spotify.get(mika, "me")["id"] == "mika"
    assert sender.calls.count == len(tls.asked)  # the day's
    assert tls.asked[1].headers["content-type"] == kind


def test_the_proxy_of_the_environment_is_used_but_not_for_this_machine(
    make_app: MakeApp, spotify: StandIn, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Its password is in no log, though libcurl quotes it."""
    for name in ("HTTPS_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://robin:canary@127.0.0.1:port")
    assert Browser(make_app(), spotify).log_in().status_code == 307
    far = Browser(make_app(accounts_url="https://spotify.invalid"), spotify)
    link = f"/callback?code=x&state={far.begin_login()['state']}"
    assert far.get(link).status_code == 502
    assert "libcurl error 5" in caplog.text
    assert "canary" not in caplog.text
