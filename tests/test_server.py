"""`python app.py` as a person runs it: a process, its words, its signals, its log."""

from __future__ import annotations

import base64
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from stand_in import StandIn
from tests.conftest import CLIENT_ID
from tests.wire import hold

HOME = Path(__file__).parent.parent
SETTINGS = re.findall(r"^([A-Z_]+)=", (HOME / ".env.example").read_text(), re.M)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with these settings, whatever a .env file says."""
    return {**os.environ, **dict.fromkeys(SETTINGS, ""), **settings}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(**settings: str) -> subprocess.CompletedProcess[str]:
    """Run the app with settings that it refuses."""
    return subprocess.run(
        [sys.executable, "app.py"],
        cwd=HOME,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


class Server:
    """The app in a process of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.port = free_port()
        self._log = folder / "log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "app.py"],
                cwd=HOME,
                env=environment({"PORT": str(self.port), **settings}),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout
        self.greeting = self.process.stdout.readline()
        while True:
            try:
                self.get("/healthz")
                return
            except ConnectionRefusedError:
                assert self.process.poll() is None, self.log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        """Return the status, the headers and the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode()
        finally:
            connection.close()

    def log_in(self, spotify: StandIn) -> dict[str, str]:
        """Log in, and return the headers of somebody who is."""
        _, headers, _ = self.get("/login")
        query = dict(parse_qsl(urlsplit(headers["location"]).query))
        code = spotify.grant(**query)
        cookie = headers["set-cookie"].split(";")[0]
        path = f"/callback?code={code}&state={query['state']}"
        status, headers, _ = self.get(path, Cookie=cookie)
        assert status == 307
        return {"Cookie": headers["set-cookie"].split(";")[0]}


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Server]:
    server = Server(folder, **settings)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.communicate(timeout=30)


@pytest.fixture
def at_spotify(spotify: StandIn) -> dict[str, str]:
    """Settings for the stand-in that the test has started."""
    return {
        "SPOTIFY_CLIENT_ID": CLIENT_ID,
        "SPOTIFY_ACCOUNTS_URL": spotify.accounts_url,
        "SPOTIFY_API_URL": spotify.api_url,
    }


def test_it_says_where_to_open_it_and_what_to_paste(
    tmp_path: Path, at_spotify: dict[str, str]
) -> None:
    with serving(tmp_path, **at_spotify) as server:
        origin = f"http://127.0.0.1:{server.port}"
        assert server.greeting == f"Open {origin}\n"
        assert server.process.stdout
        assert f" {origin}/callback\n" in server.process.stdout.readline()


def test_without_a_client_id_it_is_a_demo_that_says_so(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert "demo" in server.greeting
        page = server.get("/")[2]
        assert "Demo." in page
        assert "nothing leaves this machine" in page
        _, headers, _ = server.get("/login")
        spotify = urlsplit(headers["location"])
        assert spotify.hostname == "127.0.0.1"
        consent = http.client.HTTPConnection(spotify.netloc)
        consent.request("GET", f"{spotify.path}?{spotify.query}")
        assert "stand-in" in consent.getresponse().read().decode().lower()
        consent.close()
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection(spotify.netloc).request("GET", "/")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_finish_and_ends_with_status_0(
    tmp_path: Path, spotify: StandIn, at_spotify: dict[str, str], number: signal.Signals
) -> None:
    """C60."""
    with serving(tmp_path, **at_spotify) as server, ThreadPoolExecutor() as threads:
        cookie = server.log_in(spotify)
        with hold(spotify, "player") as held:
            page = threads.submit(server.get, "/", **cookie)
            assert held.arrived()
            server.process.send_signal(number)
            held.release()
        assert page.result()[0] == 200
        assert 'data-state="playing"' in page.result()[2]
        assert server.process.wait(30) == 0
        assert "Traceback" not in server.log


def test_a_second_copy_on_the_port_says_so_in_a_sentence(
    tmp_path: Path, at_spotify: dict[str, str]
) -> None:
    with serving(tmp_path, **at_spotify) as server:
        second = run(**at_spotify, PORT=str(server.port))
        assert second.returncode == 2
        assert f"PORT {server.port} on 127.0.0.1 can't be used" in second.stderr
        assert "AirPlay" in second.stderr
        assert server.get("/healthz")[0] == 200


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"SPOTIFY_CLIENT_ID": "nonsense!"}, ["SPOTIFY_CLIENT_ID"]),
        ({"PORT": "eighty", "WORKERS": "2"}, ["PORT", "WORKERS", "REDIS_URL"]),
        (
            {
                "SPOTIFY_CLIENT_ID": CLIENT_ID,
                "SPOTIFY_REDIRECT_URI": "http://localhost:5000/callback",
                "SECRET_KEY": "short",
            },
            ["http://127.0.0.1:5000/callback", "SECRET_KEY"],
        ),
        ({"HOST": "192.0.2.1", "SPOTIFY_CLIENT_ID": CLIENT_ID}, ["192.0.2.1", "HOST"]),
    ],
)
def test_wrong_settings_are_told_all_at_once_with_status_2(
    settings: dict[str, str], words: list[str]
) -> None:
    ended = run(**settings)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    for word in words:
        assert word in ended.stderr
    assert ended.stdout == ""


def test_no_secret_and_no_query_is_in_the_log(
    tmp_path: Path, spotify: StandIn, at_spotify: dict[str, str]
) -> None:
    """C43, C44: one line a request, with the path alone."""
    with serving(tmp_path, **at_spotify) as server:
        cookie = server.log_in(spotify)
        server.get("/?secret=canary", **cookie)
        spotify.fail("player", "server_error_html")
        server.get("/callback?code=canary&state=canary&error=canary")
        server.get("/%0a2026-01-01%20forged%20line", **cookie)
    log = server.log
    assert len(re.findall(r"INFO GET /callback 307 [\d.]+ ms\n", log)) == 1
    assert "login refused: invalid state" in log
    assert "/%0A2026-01-01%20forged%20line 404" in log
    secrets = ["canary", "?", cookie["Cookie"].partition("=")[2]]
    for call in spotify.calls:
        secrets += call.form.values()
        secrets += [call.headers.get("authorization", "Bearer -")[7:]]
    payload = cookie["Cookie"].partition("=")[2].split(".")[0]
    secrets.append(base64.urlsafe_b64decode(payload + "==").decode()[9:40])
    allowed = {"authorization_code", CLIENT_ID, "-"}
    for secret in set(secrets) - allowed:
        if not secret.startswith("http"):
            assert secret not in log


def test_half_sent_requests_do_not_hold_anybody_up(
    tmp_path: Path, at_spotify: dict[str, str]
) -> None:
    with serving(tmp_path, **at_spotify) as server:
        half_sent = []
        for start in (
            b"GET / HT",
            b"POST /logout HTTP/1.1\r\nContent-Length: 9\r\n\r\n1",
        ):
            for _ in range(100):
                half_sent.append(socket.create_connection(("127.0.0.1", server.port)))
                half_sent[-1].sendall(start)
        assert server.get("/")[0] == 200
        for connection in half_sent:
            connection.close()


def test_people_stuck_at_spotify_do_not_hold_up_the_others(
    tmp_path: Path, spotify: StandIn, at_spotify: dict[str, str]
) -> None:
    """C53: 12 people wait, and all of 4 threads with them."""
    with (
        serving(tmp_path, **at_spotify, THREADS="4") as server,
        ThreadPoolExecutor(12) as threads,
    ):
        people = [server.log_in(spotify) for _ in range(12)]
        spotify.forget()
        with hold(spotify, "player") as held:
            pages = [threads.submit(server.get, "/", **person) for person in people]
            assert held.arrived(4)
            assert server.get("/healthz")[0] == 200
            assert "User ID: None" in server.get("/")[2]
            held.release()
        states = [
            re.findall('data-state="([a-z]+)"', page.result()[2])[0] for page in pages
        ]
    assert states.count("playing") == spotify.count("player") >= 4
    assert set(states) <= {"playing", "unreachable"}


def raw(port: int, request: bytes) -> bytes:
    """Send bytes, and return what comes back until the connection closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


HOST = b"Host: 127.0.0.1:%d\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [
        (b"HEAD / HTTP/1.1", HOST, 200),
        (b"OPTIONS /callback HTTP/1.1", HOST, 200),
        (b"GET /%ff%fe%00%c3 HTTP/1.1", HOST, 404),
        (b"GET //evil.example HTTP/1.1", HOST, 404),
        (b"GET / HTTP/1.1", HOST + b"X-Junk: \xff\xfe\r\n", 200),
        (b"GET / HTTP/1.1", HOST + b"Cookie: now_playing=\xff\xfe\r\n", 200),
        (b"GET / HTTP/1.1", HOST + b"Host: evil.example\r\n", 400),
        (b"GET / HTTP/1.1", b"Connection: close\r\n", 400),
        (b"GET / HTTP/1.0", b"", 400),
        (b"POST /logout HTTP/1.1", HOST + b"Content-Length: 99999\r\n", 413),
        (b"POST /logout HTTP/1.1", HOST + b"Transfer-Encoding: chunked\r\n", 413),
        (b"POST /callback HTTP/1.1", HOST + b"Content-Length: 0\r\n", 405),
        (b"BREW / HTTP/1.1", HOST, 405),
        (b"GET /logout HTTP/1.1", HOST + b"sec_fetch_site: same-origin\r\n"
         b"Sec-Fetch-Site: cross-site\r\n", 403),
        (b"GET / HTTP/1.1", HOST + b"X-Long: " + 9000 * b"x" + b"\r\n", 200),
    ],
)  # fmt: skip
def test_bytes_on_the_wire_get_a_plain_answer(
    wire: Server, request_line: bytes, headers: bytes, status: int
) -> None:
    if b"%d" in headers:
        headers = headers.replace(b"%d", str(wire.port).encode())
    answer = raw(wire.port, request_line + b"\r\n" + headers + b"\r\n")
    assert int(answer.split(b" ")[1]) == status
    assert b"evil.example" not in answer
    if request_line.startswith(b"HEAD"):
        assert answer.endswith(b"\r\n\r\n")


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("wire")
    with serving(folder, SPOTIFY_CLIENT_ID=CLIENT_ID) as server:
        yield server


def test_other_servers_refuse_to_start_without_a_client_id() -> None:
    code = "import app; app.create_app()"
    ended: Any = subprocess.run(
        [sys.executable, "-c", code],
        cwd=HOME,
        env=environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode != 0
    assert "SPOTIFY_CLIENT_ID is not set" in ended.stderr


def test_flask_run_still_serves_it(at_spotify: dict[str, str]) -> None:
    port = free_port()
    command = [sys.executable, "-m", "flask", "run", "--port", str(port)]
    settings = {**at_spotify, "PORT": str(port)}
    with subprocess.Popen(
        command, cwd=HOME, env=environment(settings), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr
            while "Running on" not in process.stderr.readline():
                assert process.poll() is None
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/")
            assert "User ID: None" in connection.getresponse().read().decode()
            connection.close()
        finally:
            process.terminate()
            process.communicate()
