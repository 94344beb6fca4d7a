"""`python app.py` as a person runs it: a process, its words, its signals, its log."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from urllib.request import urlopen

import pytest
from flask import Flask, Response, request

from config import DASHBOARD
from stand_in import StandIn
from tests.conftest import CLIENT_ID, SECRET, Browser, needs
from tests.redis_server import RedisServer
from tests.wire import free_port, hold

pytestmark = pytest.mark.slow
HOME = Path(__file__).parent.parent
APP = "python app.py"
SETTINGS = re.findall(r"^([A-Z_]+)=", (HOME / ".env.example").read_text(), re.M)


def launch(command: str, settings: dict[str, str]) -> Popen[str]:
    """Start a command as people type it, with these settings whatever .env says."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    unset = dict.fromkeys([*SETTINGS, "PYTHONUNBUFFERED"], "")
    return Popen(
        ["sh", "-c", command],
        cwd=HOME,
        env={**os.environ, **unset, "PATH": path, **settings},
        stdout=PIPE,
        text=True,
        start_new_session=True,  # so that it can be signalled as by a terminal
    )


def refused(status: int, command: str = APP, **settings: str) -> str:
    """Run the app with settings that end it with this status; return what it says."""
    command = f"exec 2>&1; exec {command}"
    process = launch(command, {"PORT": str(free_port()), **settings})
    try:
        said, _ = process.communicate(timeout=30)
    finally:
        process.terminate()
    assert process.returncode == status
    return said


def children(pid: int) -> list[int]:
    """Return the IDs of a process's child processes."""
    return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


class Server:
    """The app in a process of its own. website: passes every request on to it."""

    def __init__(self, folder: Path, command: str = APP, **settings: str) -> None:
        self.port, self._log = free_port(), folder / "log"
        command = f"exec 2>>{self._log}; exec {command}"
        self.process = launch(command, {**settings, "PORT": str(self.port)})
        self.website = Flask(__name__)
        self.website.testing = True
        self.website.before_request(self._pass_on)
        while True:
            with suppress(ConnectionError):
                self.website.test_client().get("/healthz")
                return
            assert self.runs(), self._log.read_text()

    def _pass_on(self) -> Response:
        headers = dict(request.headers, Host=f"127.0.0.1:{self.port}")
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            path = request.environ["REQUEST_URI"]
            connection.request(request.method, path, headers=headers)
            answer = connection.getresponse()
            return Response(answer.read(), answer.status, answer.getheaders())

    def runs(self) -> bool:
        """Tell whether it has not ended, nor does within a moment."""
        with suppress(TimeoutExpired):
            self.process.wait(0.02)
        return self.process.returncode is None

    def says(self) -> str:
        """Return the next line that it prints."""
        assert self.process.stdout
        return self.process.stdout.readline()

    def stop(self) -> str:
        """End it, and return its log."""
        self.process.terminate()
        self.process.communicate(timeout=30)
        return self._log.read_text()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


Start = Callable[..., Server]


@pytest.fixture(scope="module")
def spotify() -> Iterator[StandIn]:
    with StandIn(client_id=CLIENT_ID) as spotify:
        yield spotify


def settings(spotify: StandIn) -> dict[str, str]:
    urls = {"SPOTIFY_ACCOUNTS_URL": spotify.url, "SPOTIFY_API_URL": spotify.api_url}
    return {"SPOTIFY_CLIENT_ID": CLIENT_ID, **urls}


@pytest.fixture
def start(tmp_path: Path, spotify: StandIn) -> Iterator[Start]:
    """Give a function that starts the app; command and settings can be given."""
    with ExitStack() as stack:
        yield lambda command=APP, **more: stack.enter_context(
            Server(tmp_path, command, **{**settings(spotify), **more})
        )


# ---- Its words


def test_without_a_client_id_it_is_a_demo_that_says_so(
    start: Start, tmp_path: Path
) -> None:
    """Wherever it is started, even where another app is."""
    for name in ("app.py", "stand_in.py"):
        (tmp_path / name).write_text("raise SystemExit('another one')")
    command = f"env -C {tmp_path} {sys.executable} {HOME / 'app.py'}"
    server = start(command, SPOTIFY_CLIENT_ID="", WORKERS="many")  # which it ignores
    assert server.says() == f"No SPOTIFY_CLIENT_ID in {HOME}/.env: this is the demo\n"
    assert server.says() == f"Open http://127.0.0.1:{server.port}\n"
    client = server.website.test_client()
    assert "nothing leaves this machine" in client.get("/").text
    consent = client.get("/login").headers["Location"]
    assert consent.startswith(f"http://127.0.0.1:{server.port}/stand-in/")
    with urlopen(consent) as page:
        assert b"Stand-in for Spotify" in page.read()


def test_it_says_where_it_is_and_a_second_copy_why_it_is_not(
    start: Start, tmp_path: Path
) -> None:
    file = str(tmp_path / "logins.db")
    server = start(LOGINS_FILE=file)
    origin = f"http://127.0.0.1:{server.port}"
    assert server.says() == f"Open {origin}\n"
    assert server.says() == f"Redirect URI for {DASHBOARD}: {origin}/callback\n"
    said = refused(2, SPOTIFY_CLIENT_ID=CLIENT_ID, PORT=str(server.port))
    assert f"PORT {server.port} on 127.0.0.1 can't be used (address already" in said
    said = refused(2, SPOTIFY_CLIENT_ID=CLIENT_ID, LOGINS_FILE=file)
    assert re.search(r"\n  - LOGINS_FILE .*: name another", said)


def test_help_says_where_the_settings_are_and_mistakes_are_told_at_once() -> None:
    said = refused(0, f"{APP} --help")
    assert "docs/settings.md" in said
    assert ".env beside app.py" in " ".join(said.split())
    assert "unrecognized arguments: --port=1" in refused(2, f"{APP} --port=1")
    path = str(HOME / "README.md")  # which holds no certificates
    said = refused(2, SPOTIFY_CLIENT_ID=CLIENT_ID, SSL_CERT_FILE=path)
    assert f"SSL_CERT_FILE {path} can't be read" in said


def test_it_runs_where_it_can_print_nothing(start: Start) -> None:
    client = start(f"{APP} >/dev/full 2>&-").website.test_client()
    assert client.get("/login").status_code == 307


# ---- Its signals


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_lets_requests_finish_and_ends_with_status_0(
    start: Start, spotify: StandIn, name: str
) -> None:
    """SIGTERM for the process, the others as from a terminal."""
    server = start()
    browser = Browser(server.website, spotify)
    browser.log_in()
    kill = os.kill if name == "SIGTERM" else os.killpg
    with ThreadPoolExecutor() as threads, hold(spotify, "player") as held:
        now = threads.submit(browser.json)
        assert held.arrived()
        kill(server.process.pid, signal.Signals[name])
        held.release()
    assert now.result()["state"] == "playing"
    assert server.process.wait(30) == 0
    own_words = server.says() + server.says()
    assert own_words.startswith("Open ")
    assert not server.says()  # nothing of granian's
    assert "Traceback" not in server.stop()


def test_it_can_be_stopped_while_its_worker_starts(spotify: StandIn) -> None:
    """As soon as that has its own process group, which a terminal does not signal."""
    port = str(free_port())
    process = launch(f"exec {APP}", {**settings(spotify), "PORT": port})
    with process, ExitStack() as stack:
        stack.callback(process.kill)
        started = time.monotonic()
        while not any(os.getpgid(it) == it for it in children(process.pid)):
            assert time.monotonic() < started + 10
        process.terminate()
        assert process.wait(8) == 0


def test_nohup_keeps_it_running(start: Start) -> None:
    server = start(f"nohup {APP}")
    os.killpg(server.process.pid, signal.SIGHUP)
    for _ in range(9):
        assert server.runs()
        assert server.website.test_client().get("/healthz").status_code == 200


def test_main_process_that_is_killed_takes_its_workers_with_it(
    start: Start, redis: RedisServer
) -> None:
    server = start(REDIS_URL=redis.url, SECRET_KEY=SECRET, WORKERS="2")
    server.process.kill()
    server.process.wait()
    for _ in range(500):
        with suppress(OSError), socket.create_server(("127.0.0.1", server.port)):
            return
        time.sleep(0.02)
    pytest.fail("a worker still has the port")


def test_a_worker_that_is_killed_comes_back_and_logins_are_kept(
    start: Start, spotify: StandIn, redis: RedisServer
) -> None:
    server = start(REDIS_URL=redis.url, SECRET_KEY=SECRET, WORKERS="2")
    browser, pid = Browser(server.website, spotify), server.process.pid
    browser.log_in()
    first, second = children(pid)
    os.kill(first, signal.SIGKILL)
    while {*children(pid)} <= {first, second}:
        assert server.runs()
    answers = 0
    while answers < 20:
        with suppress(ConnectionError):  # one that the killed worker had in its queue
            assert browser.json()["state"] == "playing"
            answers += 1


# ---- Many at once


def test_a_crowd_waits_and_nobody_else(start: Start, spotify: StandIn) -> None:
    """While Spotify hangs, 4 may ask at once, and 12 wait for them."""
    server = start(THREADS="4")
    people = [Browser(server.website, spotify) for _ in range(16)]
    for n, browser in enumerate(people):
        browser.log_in(f"person{n}")
    stranger = Browser(server.website, spotify)
    with ThreadPoolExecutor(16) as threads, hold(spotify, "player") as held:
        answers = threads.map(Browser.json, people)
        assert held.arrived(4)
        for path in ("/healthz", "/", "/login"):
            assert stranger.get(path).status_code < 400
        held.release()
        assert {answer["state"] for answer in answers} == {"playing"}


def test_half_sent_and_idle_connections_hold_nobody_up(start: Start) -> None:
    """400 of each, where files and threads are few; nor do they when it has to end."""
    server = start(f"sh -c 'ulimit -Sn 256; exec {APP}'", THREADS="4")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    post = b"POST /logout HTTP/1.1\r\nContent-Length: 9\r\n\r\n1"
    with ExitStack() as stack:
        for begun in [b"", b"GET / HTTP/1.1\r\nX-Half: ", post] * 400:
            connection = socket.create_connection(("127.0.0.1", server.port))
            stack.enter_context(connection).sendall(begun)
        began = time.monotonic()
        for path in ("/healthz", "/", "/login"):
            assert server.website.test_client().get(path).status_code < 400
        assert time.monotonic() - began < 20  # granian closes them after 30
        server.process.terminate()
        assert server.process.wait(20) == 0


# ---- Bytes on the wire


def test_bytes_on_the_wire_get_a_plain_answer(start: Start) -> None:
    server = start()
    host = f"Host: 127.0.0.1:{server.port}\r\nConnection: close"
    for what, header, status in (
        ("GET /%ff%fe%00%c3", "X: \xff\xfe", 404),
        ("POST /logout", "Transfer-Encoding: chunked", 413),
        ("GET /logout", "sec_fetch_site: none\r\nSec-Fetch-Site: cross-site", 403),
        ("GET /", "\r\n".join(["X: " + "y" * 1000] * 22), 200),
        ("GET /", "\r\n".join(["X: " + "y" * 1000] * 25), 431),
    ):
        sent = f"{what} HTTP/1.1\r\n{host}\r\n{header}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
            connection.sendall(sent.encode("latin-1"))
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert int(answer.split(b" ")[1]) == status, (what, header)


# ---- Other servers

OTHERS = {
    "gunicorn": "gunicorn --threads 4 -b 127.0.0.1:$PORT 'app:create_app()'",
    "waitress": "waitress-serve --listen 127.0.0.1:$PORT --call app:create_app",
    "flask": "flask --app app run --port $PORT",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_servers_serve_it(start: Start, spotify: StandIn, name: str) -> None:
    """Login, page, log-out, and the app's own lines in the log."""
    needs(name, find_spec(name) is not None)
    server = start(OTHERS[name])
    browser = Browser(server.website, spotify)
    browser.log_in()
    assert browser.json()["state"] == "playing"
    assert browser.get("/logout").status_code == 307
    assert browser.user_id is None
    log = server.stop()
    assert "INFO in player: login of user" in log
    assert log.count("set LOGINS_FILE") == 1
