"""`python app.py` as a person runs it: a process, its words, its signals, its log."""

from __future__ import annotations

import base64
import http.client
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from urllib.parse import parse_qsl, urlsplit

import pytest

from stand_in import StandIn
from tests.conftest import CLIENT_ID, free_port, needs
from tests.redis_server import RedisServer
from tests.wire import hold

pytestmark = pytest.mark.slow
HOME = Path(__file__).parent.parent
APP = "python app.py"
SETTINGS = re.findall(r"^([A-Z_]+)=", (HOME / ".env.example").read_text(), re.M)


def launch(command: str, settings: dict[str, str]) -> Popen[str]:
    """Start a command as people type it, with these settings whatever .env says."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return Popen(
        ["sh", "-c", command],
        cwd=HOME,
        env={**os.environ, **dict.fromkeys(SETTINGS, ""), "PATH": path, **settings},
        stdout=PIPE,
        text=True,
        start_new_session=True,  # so that it can be signalled as by a terminal
    )


def refused(status: int, command: str = APP, **settings: str) -> str:
    """Run the app with settings that end it with this status; return what it says."""
    settings = {"PORT": str(free_port()), **settings}
    process = launch(f"exec 2>&1; exec {command}", settings)
    try:
        said, _ = process.communicate(timeout=30)
    finally:
        process.terminate()
    assert process.returncode == status
    assert command != APP or "Traceback" not in said
    return said


class Server:
    """The app in a process of its own."""

    def __init__(self, log: Path, command: str = APP, **settings: str) -> None:
        self.port, self._log = free_port(), log / "log"
        self._log.touch()
        command = f"exec 2>>{self._log}; exec {command}"
        self.process = launch(command, {**settings, "PORT": str(self.port)})
        while True:
            try:
                self.get("/healthz")
                return
            except ConnectionError:
                assert self.runs(), self.log

    def runs(self) -> bool:
        """Tell whether it has not ended, nor does within a moment."""
        with suppress(TimeoutExpired):
            self.process.wait(0.02)
        return self.process.returncode is None

    def says(self) -> str:
        """Return the next line that it prints."""
        assert self.process.stdout
        return self.process.stdout.readline()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        """Return the status, the headers and the body."""
        with closing(self.connect()) as connection:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, named, answer.read().decode()

    def begin_login(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the query of Spotify's authorise page, and the headers to go on."""
        _, headers, _ = self.get("/login")
        query = parse_qsl(urlsplit(headers["location"]).query)
        return dict(query), {"Cookie": headers["set-cookie"].split(";")[0]}

    def log_in(self, spotify: StandIn, person: str = "robin") -> dict[str, str]:
        """Log in, and return the headers of somebody who is."""
        query, cookie = self.begin_login()
        code = spotify.grant(person=person, **query)
        path = f"/callback?code={code}&state={query['state']}"
        status, headers, _ = self.get(path, **cookie)
        assert status == 307
        return {"Cookie": headers["set-cookie"].split(";")[0]}

    def state(self, person: dict[str, str]) -> str:
        """Return the state of the player on somebody's page."""
        page = self.get("/", **person)[2]
        return "".join(re.findall('data-state="([a-z_]+)"', page)[:1])

    def stop(self) -> str:
        """End it, and return its log."""
        self.process.terminate()
        self.process.communicate(timeout=30)
        return self.log

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


@pytest.fixture(scope="module")
def server(
    spotify: StandIn, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A small server that tests share, so they leave it as it is."""
    folder = tmp_path_factory.mktemp("server")
    with Server(folder, **settings(spotify), THREADS="4") as server:
        yield server


@pytest.fixture
def start(tmp_path: Path, spotify: StandIn) -> Iterator[Start]:
    """Give a function that starts the app; command and settings can be given."""
    with ExitStack() as stack:
        yield lambda command=APP, **more: stack.enter_context(
            Server(tmp_path, command, **{**settings(spotify), **more})
        )
        spotify.heal()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Give the settings for a Redis."""
    needs("redis-server", shutil.which("redis-server") is not None)
    with RedisServer(tmp_path) as redis:
        yield {"REDIS_URL": redis.url, "SECRET_KEY": "the secret key of the tests"}


# ---- Its words


def test_without_a_client_id_it_is_a_demo_that_says_so(start: Start) -> None:
    server = start(SPOTIFY_CLIENT_ID="")
    assert "demo" in server.says()
    page = server.get("/")[2]
    assert "Demo." in page
    assert "nothing leaves this machine" in page
    spotify = urlsplit(server.get("/login")[1]["location"])
    assert spotify.hostname == "127.0.0.1"
    with closing(http.client.HTTPConnection(spotify.netloc)) as consent:
        consent.request("GET", f"{spotify.path}?{spotify.query}")
        assert "stand-in" in consent.getresponse().read().decode().lower()
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection(spotify.netloc).request("GET", "/")


def test_it_says_where_it_is_and_a_second_copy_that_it_can_not_be(
    server: Server,
) -> None:
    origin = f"http://127.0.0.1:{server.port}"
    assert server.says() == f"Open {origin}\n"
    assert f" {origin}/callback\n" in server.says()
    said = refused(2, SPOTIFY_CLIENT_ID=CLIENT_ID, PORT=str(server.port))
    assert f"PORT {server.port} on 127.0.0.1 can't be used" in said
    assert "AirPlay" in said
    assert server.get("/healthz")[0] == 200


def test_wrong_settings_are_told_all_at_once_without_secrets() -> None:
    """C70."""
    said = refused(
        2,
        PORT="eighty",
        WORKERS="2",
        SPOTIFY_CLIENT_ID="nonsense!",
        SPOTIFY_REDIRECT_URI="http://localhost:5000/callback",
        REDIS_URL="redis://:canary/x@127.0.0.1:port/0",
        SECRET_KEY=os.fsdecode(b"canary\xff" * 9),
    )
    for words in ("PORT", "WORKERS", "CLIENT_ID", "127.0.0.1:5000/callback", "%2F"):
        assert words in said
    assert "SECRET_KEY has characters that can't be read" in said
    assert "canary" not in said


def test_no_secret_and_no_query_is_in_the_log(start: Start, spotify: StandIn) -> None:
    """C43, C44: one line a request, with the path alone."""
    server = start()
    cookie = server.log_in(spotify)
    server.get("/?secret=canary", **cookie)
    server.get("/callback?code=canary&state=canary&error=canary")
    server.get("/%0a2026-01-01%20forged%20line", **cookie)
    log = server.stop()
    assert len(re.findall(r"INFO GET /callback 307 [\d.]+ ms\n", log)) == 1
    assert "/%0A2026-01-01%20forged%20line 404" in log
    session = cookie["Cookie"].partition("=")[2]
    user_id = base64.urlsafe_b64decode(session.split(".")[0] + "==").decode()[9:40]
    secrets = {"canary", "?", session, user_id}
    for call in spotify.calls:
        secrets |= {*call.form.values(), call.headers.get("authorization", "")[7:]}
    for secret in secrets - {"authorization_code", CLIENT_ID, ""}:
        assert secret.startswith("http") or secret not in log


@pytest.mark.parametrize("redirection", [">/dev/full 2>&-", ">&-", "2>&1"])
def test_words_that_nobody_reads_stop_nothing(start: Start, redirection: str) -> None:
    """C70, C74: the last one is a pipe, for which these are far too many lines."""
    with closing(start(f"{APP} {redirection}").connect()) as connection:
        for path in (["/login"] * 99 + ["/" + "x" * 9000] * 30) * 2:
            connection.request("GET", path)
            assert connection.getresponse().read()


# ---- Its signals


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_lets_requests_finish_and_ends_with_status_0(
    start: Start, spotify: StandIn, name: str
) -> None:
    """C60: SIGTERM for the process, the others as from a terminal."""
    server = start()
    cookie = server.log_in(spotify)
    kill = os.kill if name == "SIGTERM" else os.killpg
    with ThreadPoolExecutor() as threads, hold(spotify, "player") as held:
        state = threads.submit(server.state, cookie)
        assert held.arrived()
        kill(server.process.pid, signal.Signals[name])
        held.release()
    assert state.result() == "playing"
    assert server.process.wait(30) == 0
    assert "Traceback" not in server.log


def test_a_worker_that_is_killed_comes_back_and_logins_are_kept(
    start: Start, spotify: StandIn, redis: dict[str, str]
) -> None:
    """C66."""
    server = start(**redis, WORKERS="2")
    cookie, pid = server.log_in(spotify), server.process.pid
    workers = Path(f"/proc/{pid}/task/{pid}/children")
    first, second = workers.read_text().split()
    os.kill(int(first), signal.SIGKILL)
    while {*workers.read_text().split()} <= {first, second}:
        assert server.runs()
    answers = 0
    while answers < 20:
        with suppress(ConnectionError):  # one that the killed worker had in its queue
            assert server.state(cookie) == "playing"
            answers += 1


# ---- Many at once


def test_a_crowd_waits_its_turn_and_nobody_else_waits(
    server: Server, spotify: StandIn
) -> None:
    """C53, C62: while Spotify hangs, 4 may ask at once, and 16 wait for them."""
    people = [server.log_in(spotify, f"person{n}") for n in range(20)]
    with ThreadPoolExecutor(20) as threads, hold(spotify, "player") as held:
        states = threads.map(server.state, people)
        assert held.arrived(4)
        assert server.get("/healthz")[0] == 200
        assert "User ID: None" in server.get("/")[2]
        assert server.get("/login")[0] == 307
        held.release()
        assert set(states) == {"playing"}


@pytest.mark.parametrize("how", ["hang", "rate_limited"])
def test_strangers_with_junk_codes_do_not_stop_who_is_logged_in(
    start: Start, spotify: StandIn, how: str, redis: dict[str, str]
) -> None:
    """C64."""
    server = start(**redis, THREADS="4")
    cookie = server.log_in(spotify)
    begun = [server.begin_login() for _ in range(10)]
    spotify.fail("token", how)
    with ThreadPoolExecutor(10) as threads, hold(spotify, "token") as held:
        for query, headers in begun:
            path = f"/callback?code=x&state={query['state']}"
            threads.submit(server.get, path, **headers)
        assert held.arrived()
        held.release()
        for _ in range(2):
            assert server.state(cookie) == "playing"
        spotify.heal()


def test_half_sent_and_idle_connections_hold_nobody_up(server: Server) -> None:
    """C63: 100 of each, where 56 threads serve."""
    post = b"POST /logout HTTP/1.1\r\n"
    starts = [b"", b"GET / HT", b"GET / HTTP/1.1\r\nX-Half: "]
    starts += [post + b"Content-Length: 9\r\n\r\n1"]
    starts += [post + b"Transfer-Encoding: chunked\r\n\r\n9\r\n1"]
    with ExitStack() as stack:
        for begun in starts * 100:
            connection = socket.create_connection(("127.0.0.1", server.port))
            stack.enter_context(connection).sendall(begun)
        for path in ("/healthz", "/", "/login"):
            assert server.get(path)[0] in (200, 307)


# ---- Bytes on the wire

HOST = b"Host: 127.0.0.1:%d\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [
        (b"HEAD / HTTP/1.1", HOST, 200),
        (b"BREW / HTTP/1.1", HOST, 405),
        (b"GET /%ff%fe%00%c3 HTTP/1.1", HOST, 404),
        (b"GET //evil.example HTTP/1.1", HOST, 404),
        (b"GET / HTTP/1.1", HOST + b"X-Junk: \xff\xfe\r\n", 200),
        (b"GET / HTTP/1.1", HOST + b"Cookie: now_playing=\xff\xfe\r\n", 200),
        (b"GET / HTTP/1.1", HOST + b"Host: evil.example\r\n", 400),
        (b"GET / HTTP/1.0", b"", 400),
        (b"POST /logout HTTP/1.1", HOST + b"Content-Length: 99999\r\n", 413),
        (b"POST /logout HTTP/1.1", HOST + b"Transfer-Encoding: chunked\r\n", 413),
        (b"GET /logout HTTP/1.1", HOST + b"sec_fetch_site: same-origin\r\n"
         b"Sec-Fetch-Site: cross-site\r\n", 403),
        (b"GET / HTTP/1.1", HOST + b"X-Long: " + 9000 * b"x" + b"\r\n", 200),
        (b"GET / HTTP/1.1", HOST + b"X-Long: " + 320_000 * b"x" + b"\r\n", 431),
        (b"GET / HTTP/1.1", HOST + 70 * (b"X: " + 1000 * b"x" + b"\r\n"), 431),
    ],
    ids=range(14),
)  # fmt: skip
def test_bytes_on_the_wire_get_a_plain_answer(
    server: Server, request_line: bytes, headers: bytes, status: int
) -> None:
    headers = headers.replace(b"%d", str(server.port).encode())
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(request_line + b"\r\n" + headers + b"\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert int(answer.split(b" ")[1]) == status
    assert b"evil.example" not in answer
    if request_line.startswith(b"HEAD"):
        assert answer.endswith(b"\r\n\r\n")


# ---- Other servers

OTHERS = {
    "gunicorn": "gunicorn --threads 4 -b 127.0.0.1:$PORT 'app:create_app()'",
    "waitress": "waitress-serve --listen 127.0.0.1:$PORT --call app:create_app",
    "flask": "flask --app app run --port $PORT",
    "granian": "granian --interface wsgi --port $PORT --factory app:create_app",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_servers_serve_it_as_well(
    start: Start, spotify: StandIn, name: str
) -> None:
    """C74: login, page, log-out, and the app's own lines in the log."""
    needs(name, find_spec(name) is not None)
    server = start(OTHERS[name])
    cookie = server.log_in(spotify)
    assert server.state(cookie) == "playing"
    assert server.get("/logout", **cookie)[0] == 307
    assert "User ID: None" in server.get("/", **cookie)[2]
    log = server.stop()
    assert "INFO login of user" in log
    assert log.count("to have more than one, set REDIS_URL") == 1


@pytest.mark.parametrize(("name", "status"), [("gunicorn", 3), ("granian", 1)])
def test_other_servers_refuse_to_start_without_a_client_id(
    name: str, status: int
) -> None:
    """Also those whose workers find it out."""
    needs(name, find_spec(name) is not None)
    assert "SPOTIFY_CLIENT_ID is not set" in refused(status, OTHERS[name])
