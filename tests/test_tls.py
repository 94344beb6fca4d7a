"""The road to Spotify over TLS, and through a proxy of the environment."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame

from stand_in import StandIn
from tests.conftest import Browser, Clock, MakeApp, needs
from tests.http2_spotify import TlsSpotify

CERTIFY = """openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes
-subj /CN=spotify -addext subjectAltName=IP:127.0.0.1 -keyout {0} -out {0}"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 and its key, which nobody trusts by itself."""
    needs("openssl", shutil.which("openssl") is not None)
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    subprocess.run(CERTIFY.format(path).split(), check=True, capture_output=True)
    return path


Start = Callable[[str], TlsSpotify]


@pytest.fixture
def start(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Give a function that starts a Spotify which is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with ExitStack() as stack:
        yield lambda protocol: stack.enter_context(TlsSpotify(certificate, protocol))


def visitor(make_app: MakeApp, spotify: TlsSpotify) -> Browser:
    app = make_app(accounts_url=spotify.accounts_url, api_url=spotify.api_url)
    return Browser(app, spotify)  # type: ignore[arg-type]


def test_a_server_that_nobody_vouches_for_gets_no_secret(
    certificate: Path, make_app: MakeApp
) -> None:
    with TlsSpotify(certificate, "h2") as spotify:
        assert visitor(make_app, spotify).log_in().status_code == 502
        assert spotify.asked == []


def test_over_http2_people_share_a_connection_but_no_token_request_does(
    start: Start, make_app: MakeApp, clock: Clock
) -> None:
    spotify = start("h2")
    robin = visitor(make_app, spotify)
    mika = robin.twin()
    for person, name in ((robin, "robin"), (mika, "mika")):
        assert person.log_in(name).status_code == 307
    for _ in range(3):
        assert robin.json()["title"] == "Song of robin"
        assert mika.json()["title"] == "Song of mika"
        clock.advance(3)
    gets = {asked.connection for asked in spotify.asked if asked.method == "GET"}
    posts = [asked.connection for asked in spotify.asked if asked.method == "POST"]
    assert len(gets) == 2  # the first one shows that it could have been kept
    assert len(set(posts)) == 2
    assert spotify.connections == 4


def test_over_http1_no_connection_serves_two_requests(
    start: Start, make_app: MakeApp, clock: Clock
) -> None:
    spotify = start("http/1.1")
    browser = visitor(make_app, spotify)
    browser.log_in()
    assert browser.json()["title"] == "Song of robin"
    assert spotify.connections == len(spotify.asked) == 3


@pytest.mark.parametrize("trick", ["go away", "vanish"])
def test_a_connection_that_ends_between_two_calls_is_not_noticed(
    start: Start, make_app: MakeApp, clock: Clock, trick: str
) -> None:
    spotify = start("h2")
    browser = visitor(make_app, spotify)
    browser.log_in()
    assert browser.json()["state"] == "playing"
    for what in (trick, ""):
        clock.advance(3)
        spotify.trick = what
        assert browser.json()["state"] == "playing"


def test_a_token_request_is_never_sent_twice(
    start: Start, make_app: MakeApp, clock: Clock
) -> None:
    spotify = start("h2")
    browser = visitor(make_app, spotify)
    browser.log_in()
    clock.advance(3600)
    spotify.asked.clear()
    spotify.trick = "vanish"
    assert browser.json()["error"] == "unreachable"
    assert [asked.path for asked in spotify.asked] == ["/api/token"]


def frames(stream: int) -> dict[str, bytes]:
    """Return what nobody asked for: an answer on another stream, or a part of one."""
    ok = HeadersFrame(stream, b"\x88", flags=["END_HEADERS"]).serialize()
    body = b'{"item": {"name": "Song of nobody"}, "is_playing": true}'
    data = DataFrame(stream, body, flags=["END_STREAM"]).serialize()
    reset = RstStreamFrame(stream, error_code=8).serialize()
    return {"answer": ok + data, "body": data, "reset": reset}


@pytest.mark.parametrize(
    ("kind", "stream"),
    [("answer", 1), ("answer", 99), ("answer", 2), ("body", 99), ("reset", 1)],
)
def test_frames_that_nobody_asked_for_reach_nobody(
    start: Start, make_app: MakeApp, clock: Clock, kind: str, stream: int
) -> None:
    spotify = start("h2")
    robin = visitor(make_app, spotify)
    mika = robin.twin()
    robin.log_in("robin")
    mika.log_in("mika")
    titles = {}
    for _ in range(3):
        spotify.trick = frames(stream)[kind]
        for name, person in (("robin", robin), ("mika", mika)):
            titles[name] = person.json().get("title")
            assert titles[name] in (f"Song of {name}", None)
        clock.advance(20)
    assert titles["mika"] == "Song of mika"


def test_a_rate_limit_over_http2_is_kept_to(
    start: Start, make_app: MakeApp, clock: Clock
) -> None:
    spotify = start("h2")
    browser = visitor(make_app, spotify)
    browser.log_in()
    spotify.trick = "429"
    for _ in range(2):
        answer = browser.get("/now-playing")
        assert answer.headers["Retry-After"] == "7"
        assert answer.get_json()["error"] == "rate_limited"
    assert [asked.method for asked in spotify.asked] == ["POST", "GET", "GET"]
    clock.advance(7)
    assert browser.json()["state"] == "playing"


@pytest.mark.parametrize("excepted", [False, True])
def test_the_proxy_of_the_environment_is_used_but_not_for_this_machine(
    make_app: MakeApp,
    spotify: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    excepted: bool,
) -> None:
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def refuse() -> None:
            while True:
                with proxy.accept()[0] as connection:
                    heard.append(connection.recv(4096))
                    connection.sendall(b"HTTP/1.1 502 Not today\r\n\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        address = f"http://robin:secret@127.0.0.1:{proxy.getsockname()[1]}"
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, address)
        if excepted:
            monkeypatch.setenv("NO_PROXY", "other.example,spotify.invalid")
        assert Browser(make_app(), spotify).log_in().status_code == 307
        assert not heard
        app = make_app(accounts_url="https://spotify.invalid")
        far = Browser(app, spotify)
        state = far.get("/login").headers["Location"].partition("state=")[2]
        path = f"/callback?code=x&state={state.partition('&')[0]}"
        assert far.get(path).status_code == 502
    if excepted:
        assert not heard
    else:
        assert heard[0].startswith(b"CONNECT spotify.invalid:443 HTTP/1.1\r\n")
        assert b"Proxy-Authorization: Basic cm9iaW46c2VjcmV0\r\n" in heard[0]
