"""The stand-in: a website of its own, and the switches that tests use."""

import socketserver
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .accounts import Accounts, Recent
from .failures import FAILURES, Failure
from .handler import ENDPOINTS, Call, Handler
from .programme import PEOPLE, at, programme

How = str | Failure


# Not HTTPServer: that one asks DNS for the machine's name when it starts.
class Server(socketserver.ThreadingTCPServer):
    """A thread for every connection; errors of the network pass in silence."""

    allow_reuse_address = sys.platform != "win32"
    daemon_threads = True
    request_queue_size = 128
    stand_in: "StandIn"

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(error := sys.exc_info()[1], OSError):
            print(f"Stand-in: {error!r}", file=sys.stderr)


class Hold:
    """Answers that wait until released."""

    def __init__(self) -> None:
        self._waiting, self._released = 0, False
        self._changed = threading.Condition()

    def wait(self) -> None:
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._released)

    def arrived(self, n: int = 1, timeout: float = 10) -> bool:
        """Wait until n answers are held; False when that takes longer (seconds)."""
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting >= n, timeout)

    def release(self) -> None:
        """Let them go, and all that follow."""
        with self._changed:
            self._released = True
            self._changed.notify_all()


@dataclass(eq=False)
class StandIn(Accounts):
    """A website on 127.0.0.1 that behaves as Spotify does, and fails when told to."""

    port: int = 0
    delay = 0.0
    log = False
    stopped = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._server = Server(("127.0.0.1", self.port), Handler)
        self._server.stand_in = self
        self._thread: threading.Thread | None = None
        self.port = self._server.server_address[1]
        self.url = self.accounts_url = f"http://127.0.0.1:{self.port}"
        self.api_url = f"{self.url}/v1"
        self.programme = programme(self.url)
        self.plays: dict[str | None, tuple[Any, float]] = {None: ("programme", 0.0)}
        self.failing: dict[str, tuple[How, float]] = {}
        self._healed = {name: threading.Event() for name in ENDPOINTS.values()}
        self._holds: dict[str, Hold] = {}
        self._calls: deque[Call] = deque(maxlen=10_000)
        self._since: Recent[float] = Recent()

    def start(self) -> None:
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.005,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port, and every connection at its next request."""
        if self._thread:
            self._server.shutdown()
        self._server.server_close()
        self.stopped = True
        self.heal()
        for hold in list(self._holds.values()):
            hold.release()

    def __enter__(self) -> "StandIn":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def calls(self) -> list[Call]:
        """What reached the four endpoints, oldest first."""
        with self.lock:
            return list(self._calls)

    def count(self, endpoint: str) -> int:
        return sum(call.endpoint == endpoint for call in self.calls)

    def forget(self) -> None:
        """Forget the calls."""
        with self.lock:
            self._calls.clear()

    def play(self, what: Any, person: str | None = None) -> None:
        """Let an item play, by name, or "programme", a payload, or None for a 204."""
        if isinstance(what, str) and what not in (*self.programme, "programme"):
            raise ValueError(f"No {what!r} among {', '.join(self.programme)}")
        with self.lock:
            if person is None:
                self.plays.clear()
            self.plays[person] = what, self.clock()

    def playing(self, person: str) -> Any:
        """Return what the player answers this person; None is a 204."""
        now, (*items, _) = self.clock(), self.programme.values()
        with self.lock:
            what, since = self.plays.get(person, self.plays[None])
            if what == "programme":
                # Everybody starts with music, and no two people with the same.
                first = [*PEOPLE, person].index(person) % len(PEOPLE)
                items = items[first:] + items[:first]
                self._since[person] = since = self._since.get(person, now)
            elif isinstance(what, str):
                items = [self.programme[what]]
            else:
                return what
        return at(items, since, now)

    def fail(self, endpoint: str, how: How, times: float | None = None) -> None:
        """Fail as named in FAILURES, with bytes for the wire, or by calling `how`."""
        known = not isinstance(how, str) or how in FAILURES
        if endpoint not in self._healed or not known:
            raise ValueError(f"No {how!r} of {endpoint!r} among {', '.join(FAILURES)}")
        with self.lock:
            self.failing[endpoint] = how, float("inf") if times is None else times

    def heal(self, endpoint: str | None = None) -> None:
        """Work again, and let go of whoever is still being failed."""
        with self.lock:
            for name in [endpoint] if endpoint else list(self._healed):
                self._healed[name].set()
                self._healed[name] = threading.Event()
                self.failing.pop(name, None)

    @contextmanager
    def hold(self, endpoint: str) -> Iterator[Hold]:
        """Hold back the answers of an endpoint until released."""
        self._holds[endpoint] = hold = Hold()
        try:
            yield hold
        finally:
            del self._holds[endpoint]
            hold.release()

    def arrive(self, call: Call) -> tuple[How | None, threading.Event]:
        """Note the call; return how it fails, if it does, and what ends that."""
        with self.lock:
            self._calls.append(call)
            how, times = self.failing.pop(call.endpoint, (None, 0.0))
            if how is not None and times > 1:
                self.failing[call.endpoint] = how, times - 1
            return how, self._healed[call.endpoint]

    def leave(self, endpoint: str) -> None:
        """Wait as long as an answer of this endpoint has to."""
        if self.delay and endpoint in ("token", "profile", "player"):
            time.sleep(self.delay)
        if hold := self._holds.get(endpoint):
            hold.wait()
