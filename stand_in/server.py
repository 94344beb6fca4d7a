"""The stand-in: what plays, what fails, who has called, and a port if need be."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

from flask import request
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Response

from .accounts import PEOPLE, Accounts, api_error
from .failures import ANSWERS, FAILURES, How, respond, to_wire
from .website import ENDPOINTS, Call, create_website

HOST = "127.0.0.1"
PROGRAMME = Path(__file__).with_name("programme.json")


class Item(NamedTuple):
    """One thing that plays: for how long, and what Spotify answers meanwhile."""

    seconds: int
    answer: dict[str, Any] | None


def at(items: list[Item], since: float, now: float) -> dict[str, Any] | None:
    """Return what plays now if these items loop since then; None is a 204."""
    left = (now - since) % sum(item.seconds for item in items)
    while left >= items[0].seconds:
        left, items = left - items[0].seconds, items[1:]
    started = {"timestamp": int((now - left) * 1000), "progress_ms": int(left * 1000)}
    return None if items[0].answer is None else started | items[0].answer


class Connection(WSGIRequestHandler):
    """Serves one request, with the answer in one packet."""

    def run_wsgi(self) -> None:
        self.close_connection = True
        with Response.from_app(self.server.app, self.make_environ()) as response:
            response.headers["Connection"] = "close"
            self.wfile.write(to_wire(response))

    def log(self, *args: Any, **kwargs: Any) -> None:
        """Log nothing: a query string may hold a code."""


@dataclass(kw_only=True, eq=False)
class StandIn(Accounts):
    """A website that behaves as Spotify does, mounted at `url` or at its own port."""

    port: int = 0
    url: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.failures = [*(ANSWERS if self.url else FAILURES)]  # the wire is its own
        self.website = create_website(self)
        if not self.url:
            self._server = ThreadedWSGIServer(HOST, self.port, self.website, Connection)
            self.port = self._server.port
            self.url = f"http://{HOST}:{self.port}"
        self.accounts_url, self.api_url = self.url, f"{self.url}/v1"
        items = json.loads(PROGRAMME.read_text("utf-8").replace("BASE", self.url))
        self.programme = {name: Item(**item) for name, item in items.items()}
        self.plays: dict[str | None, tuple[Any, float]] = {None: ("programme", 0.0)}
        self.calls: list[Call] = []
        self.failing: dict[str, tuple[Any, float]] = {}
        self._healed = {endpoint: Event() for endpoint in ENDPOINTS}
        # What a call of an endpoint waits for; only tests have something here.
        self.holds: dict[str, Callable[[], object]] = {}

    def __enter__(self) -> "StandIn":
        Thread(target=self._server.serve_forever, args=(0.005,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.heal()

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
        """Fail as named in `failures`, with bytes for the wire, or by calling `how`."""
        known = not isinstance(how, str) or how in self.failures
        if endpoint not in ENDPOINTS or not known:
            raise api_error(400, f"No {how!r} of {endpoint!r}")
        self.failing[endpoint] = how, times

    def heal(self, endpoint: str | None = None) -> None:
        """Work again, and let go of whoever is still being failed."""
        for name in [endpoint] if endpoint else ENDPOINTS:
            self.failing.pop(name, None)
            self._healed[name].set()
            self._healed[name] = Event()

    def arrive(self) -> Response | None:
        """Note the call; let it wait, and fail when told to."""
        headers = {name.lower(): value for name, value in request.headers}
        sent = request.args.to_dict(), request.form.to_dict(), headers
        call = Call(str(request.endpoint), *sent)
        with self.lock:
            self.calls.append(call)
            del self.calls[:-10_000]
            how, times = self.failing.pop(call.endpoint, ("", 0.0))
            if times > 1:
                self.failing[call.endpoint] = how, times - 1
            healed = self._healed[call.endpoint]
        self.holds.get(call.endpoint, lambda: None)()
        if times and how not in ANSWERS:
            connection = request.environ["werkzeug.socket"]
            send = FAILURES.get(how, how)
            send(connection, healed) if callable(send) else connection.sendall(send)
            raise ConnectionAbortedError
        return respond(*ANSWERS[how]) if times else None
