"""The stand-in: a website of its own, and the switches that tests use."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from threading import Event, Thread
from typing import Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Response

from .accounts import PEOPLE, Accounts, api_error
from .failures import FAILURES, How, send_failure
from .programme import at, programme
from .website import ENDPOINTS, HOST, Call, create_website


class Connection(WSGIRequestHandler):
    """A connection that stays open, and says nothing in any log."""

    disable_nagle_algorithm = True
    timeout = 60

    def run_wsgi(self) -> None:
        """Answer as Werkzeug does, but without closing the connection after it."""
        if self.server.fileno() < 0:  # the port has been closed
            raise ConnectionAbortedError
        length = self.headers.get("Content-Length", "0")
        fine = re.fullmatch("[0-9]{1,5}", length) and re.match("/(?!/)", self.path)
        if not fine or "Transfer-Encoding" in self.headers:
            return self.send_error(400)
        environ = self.make_environ()
        environ["wsgi.input"] = BytesIO(self.rfile.read(int(length)))
        with Response.from_app(self.server.app, environ) as response:
            head = f"HTTP/1.1 {response.status}\r\n{response.headers}".encode("latin-1")
            self.wfile.write(head + response.data)

    def log_request(self, *args: Any, **kwargs: Any) -> None:
        """Log nothing: a query string may hold a code."""

    log_error = log_request


@dataclass(eq=False)
class StandIn(Accounts):
    """A website on 127.0.0.1 that behaves as Spotify does, and fails when told to."""

    port: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.website = create_website(self)
        # Bound here, because Werkzeug ends the program when the port is taken.
        with socket.create_server((HOST, self.port), backlog=128) as listener:
            fd = listener.fileno()
            self._server = ThreadedWSGIServer(HOST, 0, self.website, Connection, fd=fd)
        self.port = self._server.port
        self.url = self.accounts_url = f"http://{HOST}:{self.port}"
        self.api_url = f"{self.url}/v1"
        self.programme = programme(self.url)
        self.plays: dict[str | None, tuple[Any, float]] = {None: ("programme", 0.0)}
        self.calls: list[Call] = []
        self.failing: dict[str, tuple[How, float]] = {}
        self._healed = {endpoint: Event() for endpoint in ENDPOINTS}
        # What a call of an endpoint waits for; only tests have something here.
        self.holds: dict[str, Callable[[], object]] = {}

    def start(self) -> StandIn:
        Thread(target=self._server.serve_forever, args=(0.005,), daemon=True).start()
        return self

    def stop(self, *_: object) -> None:
        """Close the port, and every connection at its next request."""
        with suppress(OSError):  # so that the thread ends at once; macOS refuses this
            self._server.socket.shutdown(socket.SHUT_RDWR)
        self._server.shutdown()
        self._server.server_close()
        self.heal()

    __enter__, __exit__ = start, stop

    def count(self, endpoint: str) -> int:
        return sum(call.endpoint == endpoint for call in self.calls)

    def forget(self) -> None:
        self.calls.clear()

    def play(self, what: Any, person: str | None = None) -> None:
        """Let an item play, by name, or "programme", a payload, or None for a 204."""
        if isinstance(what, str) and what not in (*self.programme, "programme"):
            raise api_error(400, f"No {what!r} among {', '.join(self.programme)}")
        self.plays = {**(self.plays if person else {}), person: (what, self.clock())}

    def playing(self, person: str) -> Any:
        """Return what the player answers this person; None is a 204."""
        now, (*items, _) = self.clock(), self.programme.values()
        what, since = self.plays.get(person) or self.plays[None]
        if what == "programme":
            # Everybody starts with music, and no two people with the same.
            first = [*PEOPLE, person].index(person) % len(PEOPLE)
            _, since = self.plays.setdefault(person, (what, now))
            return at(items[first:] + items[:first], since, now)
        return at([self.programme[what]], since, now) if isinstance(what, str) else what

    def fail(self, endpoint: str, how: How, times: float = float("inf")) -> None:
        """Fail as named in FAILURES, with bytes for the wire, or by calling `how`."""
        if endpoint not in ENDPOINTS or (isinstance(how, str) and how not in FAILURES):
            raise api_error(400, f"No {how!r} of {endpoint!r} in {', '.join(FAILURES)}")
        self.failing[endpoint] = how, times

    def heal(self, endpoint: str | None = None) -> None:
        """Work again, and let go of whoever is still being failed."""
        for name in [endpoint] if endpoint else ENDPOINTS:
            self.failing.pop(name, None)
            self._healed[name].set()
            self._healed[name] = Event()

    def arrive(self, call: Call, connection: Any) -> None:
        """Note the call; let it wait and fail when told to."""
        with self.lock:
            self.calls.append(call)
            del self.calls[:-10_000]
            how, times = self.failing.pop(call.endpoint, ("", 0.0))
            if times > 1:
                self.failing[call.endpoint] = how, times - 1
            healed = self._healed[call.endpoint]
        self.holds.get(call.endpoint, lambda: None)()
        if times:
            send_failure(how, connection, healed)
