"""The stand-in: a website of its own, and the switches that tests use."""

from __future__ import annotations

import math
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from threading import Event, Semaphore, Thread
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

from .accounts import Accounts
from .failures import FAILURES, Failure
from .programme import PEOPLE, at, programme
from .website import ENDPOINTS, Call, create_website

HOST = "127.0.0.1"
LONGEST_BODY = 65_536
How = str | Failure


class Connection(WSGIRequestHandler):
    """A connection that stays open, and says nothing in any log."""

    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60

    def run_wsgi(self) -> None:
        """Answer as Werkzeug does, but without closing the connection after it."""
        length = self.headers.get("Content-Length", "0")
        short = length.isdecimal() and len(length) < 6 and int(length) <= LONGEST_BODY
        if not short or "Transfer-Encoding" in self.headers:
            return self.send_error(400)
        environ = self.make_environ()
        environ["wsgi.input"] = BytesIO(self.rfile.read(int(length)))
        response = Response.from_app(self.server.app, environ)
        self.send_response_only(response.status_code)
        for name, value in response.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.data)

    def log(self, type: str, message: str, *args: Any) -> None:
        """Log nothing: a query string may hold a code."""


class Hold:
    """Answers that wait until released."""

    def __init__(self) -> None:
        self._arrivals, self._seen = Semaphore(0), 0
        self._released = Event()

    def wait(self) -> None:
        self._arrivals.release()
        self._released.wait()

    def arrived(self, n: int = 1, timeout: float = 10) -> bool:
        """Wait until n answers are held; False when one takes longer (seconds)."""
        while self._seen < n and self._arrivals.acquire(timeout=timeout):
            self._seen += 1
        return self._seen >= n

    def release(self) -> None:
        """Let them go, and all that follow."""
        self._released.set()


@dataclass(eq=False)
class StandIn(Accounts):
    """A website on 127.0.0.1 that behaves as Spotify does, and fails when told to."""

    port: int = 0
    delay = 0.0
    stopped = False

    def __post_init__(self) -> None:
        super().__post_init__()
        website = create_website(self)
        # Not bound by Werkzeug, which ends the program when the port is taken.
        with socket.create_server((HOST, self.port), backlog=128) as listener:
            fd = listener.fileno()
            self._server = make_server(HOST, 0, website, True, 1, Connection, fd=fd)
        self.port = self._server.port
        self.url = self.accounts_url = f"http://{HOST}:{self.port}"
        self.api_url = f"{self.url}/v1"
        self.programme = programme(self.url)
        self.plays: dict[str | None, tuple[Any, float]] = {None: ("programme", 0.0)}
        self.failing: dict[str, tuple[How, float]] = {}
        self._healed = {endpoint: Event() for endpoint in ENDPOINTS}
        self._holds: dict[str | None, Hold] = {}
        self._calls: deque[Call] = deque(maxlen=10_000)
        self._since: dict[str, float] = {}

    def start(self) -> None:
        serve = self._server.serve_forever
        Thread(target=serve, args=(0.005,), daemon=True).start()

    def stop(self) -> None:
        """Close the port, and every connection at its next request."""
        self.stopped = True
        self._server.shutdown()
        self._server.server_close()
        self.heal()

    def __enter__(self) -> StandIn:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def calls(self) -> list[Call]:
        """What reached the four endpoints, oldest first."""
        return list(self._calls)

    def count(self, endpoint: str) -> int:
        return sum(call.endpoint == endpoint for call in self.calls)

    def forget(self) -> None:
        """Forget the calls."""
        self._calls.clear()

    def play(self, what: Any, person: str | None = None) -> None:
        """Let an item play, by name, or "programme", a payload, or None for a 204."""
        if isinstance(what, str) and what not in (*self.programme, "programme"):
            raise ValueError(f"No {what!r} among {', '.join(self.programme)}")
        if person is None:
            self.plays.clear()
        self.plays[person] = what, self.clock()

    def playing(self, person: str) -> Any:
        """Return what the player answers this person; None is a 204."""
        now = self.clock()
        what, since = self.plays.get(person) or self.plays[None]
        if what == "programme":
            # Everybody starts with music, and no two people with the same.
            first = [*PEOPLE, person].index(person) % len(PEOPLE)
            *items, _ = self.programme.values()
            return at(
                items[first:] + items[:first], self._since.setdefault(person, now), now
            )
        if isinstance(what, str):
            return at([self.programme[what]], since, now)
        return what

    def fail(self, endpoint: str, how: How, times: float = math.inf) -> None:
        """Fail as named in FAILURES, with bytes for the wire, or by calling `how`."""
        known = not isinstance(how, str) or how in FAILURES
        if endpoint not in ENDPOINTS or not known:
            raise ValueError(f"No {how!r} of {endpoint!r} among {', '.join(FAILURES)}")
        self.failing[endpoint] = how, times

    def heal(self, endpoint: str | None = None) -> None:
        """Work again, and let go of whoever is still being failed."""
        for name in [endpoint] if endpoint else ENDPOINTS:
            self.failing.pop(name, None)
            self._healed[name].set()
            self._healed[name] = Event()

    @contextmanager
    def hold(self, endpoint: str) -> Iterator[Hold]:
        """Hold back the answers of an endpoint until released."""
        self._holds[endpoint] = hold = Hold()
        try:
            yield hold
        finally:
            del self._holds[endpoint]
            hold.release()

    def arrive(self, call: Call) -> tuple[Failure | None, Event]:
        """Note the call; return how it fails, if it does, and what ends that."""
        with self.lock:
            self._calls.append(call)
            how, times = self.failing.pop(call.endpoint, (None, 0.0))
            if how is not None and times > 1:
                self.failing[call.endpoint] = how, times - 1
            healed = self._healed[call.endpoint]
        return FAILURES[how] if isinstance(how, str) else how, healed

    def wait(self, endpoint: str | None) -> None:
        """Wait as long as an answer of this endpoint has to."""
        if endpoint in ENDPOINTS:
            time.sleep(self.delay)
        if hold := self._holds.get(endpoint):
            hold.wait()
