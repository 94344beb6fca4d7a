"""The road to Spotify over TLS, and through a proxy of the environment."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame

from stand_in import StandIn
from tests.conftest import Browser, Clock, MakeApp, needs
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


def test_a_server_that_nobody_vouches_for_gets_no_secret(
    make_app: MakeApp, tls: TlsSpotify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert visitor(make_app, tls).log_in().status_code == 502
    assert tls.asked == []


def test_over_http2_people_share_a_connection_but_no_token_request_does(
    robin: Browser, tls: TlsSpotify, clock: Clock
) -> None:
    mika = robin.twin()
    mika.log_in("mika")
    for _ in range(3):
        assert robin.json()["title"] == "Song of robin"
        assert mika.json()["title"] == "Song of mika"
        clock.advance(3)
    connections = {(port, method) for port, method, _ in tls.asked}
    # Of GET, the first one shows that it could have been kept.
    assert sorted(method for _, method in connections) == ["GET"] * 2 + ["POST"] * 2
    assert len({port for port, _ in connections}) == 4


@pytest.mark.parametrize("trick", ["go away", "vanish"])
def test_a_connection_that_ends_between_two_calls_is_not_noticed(
    robin: Browser, tls: TlsSpotify, clock: Clock, trick: str
) -> None:
    for what in ("", trick, ""):
        tls.trick = what
        assert robin.json()["state"] == "playing"
        clock.advance(3)


def test_a_token_request_is_never_sent_twice(
    robin: Browser, tls: TlsSpotify, clock: Clock
) -> None:
    for _ in range(2):  # if ever, a connection is kept after these
        clock.advance(3600)
        assert robin.json()["state"] == "playing"
    clock.advance(3600)
    tls.asked.clear()
    tls.trick = "vanish"
    assert robin.json()["error"] == "unreachable"
    assert [path for _, _, path in tls.asked] == ["/api/token"]


def frames(stream: int) -> dict[str, bytes]:
    """Return what nobody asked for: an answer on another stream, or a part of one."""
    ok = HeadersFrame(stream, b"\x88", flags=["END_HEADERS"]).serialize()
    body = b'{"item": {"name": "Song of nobody"}, "is_playing": true}'
    data = DataFrame(stream, body, flags=["END_STREAM"]).serialize()
    reset = RstStreamFrame(stream, error_code=8).serialize()
    return {"answer": ok + data, "body": data, "reset": reset}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "stream"), [("answer", 1), ("answer", 2), ("body", 99), ("reset", 1)]
)
def test_frames_that_nobody_asked_for_reach_nobody(
    robin: Browser, tls: TlsSpotify, clock: Clock, kind: str, stream: int
) -> None:
    mika = robin.twin()
    mika.log_in("mika")
    for _ in range(3):
        tls.trick = frames(stream)[kind]
        assert robin.json().get("title") in ("Song of robin", None)
        last = mika.json().get("title")
        assert last in ("Song of mika", None)
        clock.advance(20)
    assert last == "Song of mika"


def call_far(make_app: MakeApp, spotify: StandIn) -> None:
    """Send a code to a host that is not this machine."""
    far = Browser(make_app(accounts_url="https://spotify.invalid"), spotify)
    state = far.get("/login").headers["Location"].partition("state=")[2]
    path = f"/callback?code=x&state={state.partition('&')[0]}"
    assert far.get(path).status_code == 502


def test_the_proxy_of_the_environment_is_used_but_not_for_this_machine(
    make_app: MakeApp, spotify: StandIn, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """And for none of NO_PROXY; its password is in no log, though libcurl quotes it."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def refuse() -> None:
            with proxy.accept()[0] as connection:
                heard.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.1 502 Not today\r\n\r\n")

        Thread(target=refuse, daemon=True).start()
        address = f"http://robin:secret@127.0.0.1:{proxy.getsockname()[1]}"
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, address)
        assert Browser(make_app(), spotify).log_in().status_code == 307
        monkeypatch.setenv("NO_PROXY", "other.example,spotify.invalid")
        call_far(make_app, spotify)
        assert not heard
        monkeypatch.delenv("NO_PROXY")
        call_far(make_app, spotify)
    assert heard[0].startswith(b"CONNECT spotify.invalid:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic cm9iaW46c2VjcmV0\r\n" in heard[0]
    monkeypatch.setenv("HTTPS_PROXY", "http://robin:canary@127.0.0.1:port")
    call_far(make_app, spotify)
    assert "E_COULDNT_RESOLVE_PROXY" in caplog.text
    assert "canary" not in caplog.text
