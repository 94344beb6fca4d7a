"""The servers that are measured, each a process of its own, and a visitor to them."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from stand_in import StandIn

HOME = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
APP = [sys.executable, "app.py"]
BASELINE = [sys.executable, "-m", "benchmarks.baseline", "SPOTIFY", "PORT"]
CROWD = [
    *(sys.executable, "-m", "granian", "--interface", "asginl", "--http", "1"),
    *("--no-ws", "--port", "PORT", "--factory", "benchmarks.crowd:create_asgi_app"),
]
REDIS = ["redis-server", "--bind", HOST, "--save", "", "--port"]


class Spotify(StandIn):
    """The stand-in, with what is asked of it from another process."""

    def begin(self) -> str:
        """Start, and return the address."""
        self.start()
        return self.url

    def slow_down(self, milliseconds: int) -> None:
        """Let every answer take that long."""
        self.delay = milliseconds / 1000

    def play_track(self) -> str:
        """Play one track that tekore's models accept too, and return its title."""
        answer: dict[str, Any] = deepcopy(self.programme["track"].answer or {})
        answer |= {"timestamp": int(1000 * time.time()), "progress_ms": 1000}
        answer["item"] |= {"popularity": 1, "external_ids": {}, "available_markets": []}
        answer["item"]["album"]["available_markets"] = []
        self.play(answer)
        return str(answer["item"]["name"])

    def player_calls(self, person: str) -> int:
        """Return how often it was asked what this person is playing."""
        calls = (call.headers for call in self.calls if call.endpoint == "player")
        return sum(self.whose(headers["authorization"]) == person for headers in calls)


class Manager(BaseManager):
    """Runs the stand-in in a process of its own; spotify() gives a proxy for it."""

    spotify: Callable[[], Spotify]


Manager.register("spotify", Spotify)


class Answer(NamedTuple):
    """A site's answer. cookie: as it is sent back, empty if none was set."""

    status: int
    location: str
    cookie: str
    body: str


@dataclass(eq=False)
class Site:
    """A running server. seconds: from the command to its first answer."""

    netloc: str
    pid: int
    seconds: float = 0.0

    def get(self, path: str, cookie: str = "") -> Answer:
        """Visit a page."""
        connection = http.client.HTTPConnection(self.netloc, timeout=30)
        try:
            headers = {"Cookie": cookie, "Accept": "text/html"}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            location = answer.getheader("Location", "")
            cookie = answer.getheader("Set-Cookie", "").partition(";")[0]
            return Answer(answer.status, location, cookie, answer.read().decode())
        finally:
            connection.close()

    def log_in(self, spotify: Spotify, person: str = "robin") -> str:
        """Log a person in as a browser does, and return the session cookie."""
        begun = self.get("/login")
        query = dict(parse_qsl(urlsplit(begun.location).query))
        code = spotify.grant(person=person, **query)
        answer = urlencode({"code": code, "state": query["state"]})
        return self.get(f"/callback?{answer}", begun.cookie).cookie

    def answers(self) -> bool:
        try:
            return self.get("/").status == 200
        except (OSError, http.client.HTTPException):
            return False


def resident(pid: int) -> int:
    """Return the memory of a process and its children, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return pages * os.sysconf("SC_PAGESIZE") + sum(map(resident, map(int, children)))


def environ(spotify_url: str, port: int, **more: str) -> dict[str, str]:
    """Return the environment of a server; without a Spotify the app runs its demo."""
    settings = {"SPOTIFY_CLIENT_ID": "benchmark" if spotify_url else ""}
    if spotify_url:
        settings["SPOTIFY_ACCOUNTS_URL"] = spotify_url
        settings["SPOTIFY_API_URL"] = f"{spotify_url}/v1"
    # An empty one is as good as none, and no .env has a say.
    rest = "CLIENT_SECRET REDIRECT_URI ACCOUNTS_URL API_URL"
    blank = dict.fromkeys([f"SPOTIFY_{name}" for name in rest.split()], "")
    blank |= dict.fromkeys(("SECRET_KEY", "REDIS_URL", "WORKERS", "THREADS"), "")
    settings |= {"HOST": HOST, "PORT": str(port), "NO_PROXY": HOST, **more}
    return {**os.environ, **blank, **settings}


@contextmanager
def running(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the process after the block."""
    with process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def serve(command: Sequence[str], spotify_url: str, **more: str) -> Iterator[Site]:
    """Run a server until the end of the block, which begins after its first answer."""
    port = free_port()
    places = {"PORT": str(port), "SPOTIFY": spotify_url}
    command = [places.get(part, part) for part in command]
    settings, started = environ(spotify_url, port, **more), time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=HOME, env=settings, stdout=log, stderr=log
        )
        site = Site(f"{HOST}:{port}", process.pid)
        with running(process):
            while not site.answers():
                if process.poll() is not None or time.perf_counter() - started > 60:
                    log.seek(0)
                    sys.exit(f"{command} does not answer:\n{log.read().decode()}")
                time.sleep(0.005)
            site.seconds = time.perf_counter() - started
            yield site


@contextmanager
def run_redis() -> Iterator[str]:
    """Run a Redis that saves nothing, and give its URL."""
    port = free_port()
    command = [*REDIS, str(port)]
    with running(subprocess.Popen(command, stdout=subprocess.DEVNULL)):
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)) == 0:
                    break
            time.sleep(0.01)
        yield f"redis://{HOST}:{port}/0"


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])
