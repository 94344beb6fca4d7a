"""What the stand-in does not offer: odd bytes, answers that wait, other servers."""

from __future__ import annotations

import gzip
import json
from contextlib import suppress
from random import randrange
from socket import create_server, socket
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Semaphore, Thread

from stand_in import StandIn
from stand_in.failures import OK, Failure

CLOSE = "Connection: close"
TRACK = {"item": {"type": "track", "name": "Real"}, "is_playing": True}
PLAYS = json.dumps(TRACK).encode()


def raw(*headers: bytes, body: bytes = PLAYS) -> bytes:
    """Return a 200 with exactly these headers."""
    return OK + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


def sized(body: bytes, *headers: bytes) -> bytes:
    return raw(b"Content-Length: %d" % len(body), *headers, body=body)


def zipped(body: bytes) -> bytes:
    return sized(body, b"Content-Encoding: gzip")


def dripping(start: bytes, drop: bytes, end: bytes = b"") -> Failure:
    """Make an answer that is never idle, and fine in the end: far too late."""

    def drip(connection: socket, healed: Event) -> None:
        connection.sendall(start)
        for _ in range(500):
            connection.sendall(drop)
            if healed.wait(0.02):
                return
        connection.sendall(end)

    return drip


def endless(start: bytes, more: bytes) -> Failure:
    def pour(connection: socket, healed: Event) -> None:
        connection.sendall(start)
        while not healed.is_set():
            connection.sendall(more)

    return pour


GZIP = gzip.compress(PLAYS)
ODD: dict[str, Failure] = {  # and none of it is an answer
    "truncated": raw(b"Content-Length: 500"),
    "chunks cut": raw(b"Transfer-Encoding: chunked", body=b"5\r\n{}"),
    "gzip that is none": zipped(PLAYS),
    "gzip cut": zipped(GZIP[:-20]),
    "gzip cut in its header": zipped(GZIP[:9]),
    "gzip bomb": zipped(gzip.compress(PLAYS + b" " * 20_000_000, 1)),
    "gzip, then more than a lot": zipped(GZIP + b" " * 1_000_000),
    "gzip of nothing, for ever": endless(
        raw(b"Content-Encoding: gzip", body=GZIP[:10]), b"\0\0\0\xff\xff" * 800
    ),
    "brotli": sized(PLAYS, b"Content-Encoding: br"),
    "too large": sized(PLAYS + b" " * 1_000_000),
    "too large without a length": raw(body=PLAYS + b" " * 1_000_000),
    "status 99": b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
    "header with a NUL": raw(b"X: a\0b", b"Content-Length: 0"),
    "headers endless": endless(OK, b"X-More: " + b"a" * 999 + b"\r\n"),
    "no answer": b"",
    "deep list": sized(b"[" * 200_000),
    "bad UTF-8": sized(b'{"item": {"name": "\xff\xfe\xed\xa0\x80"}}'),
    "blanks": sized(b" \n "),
    "NaN": sized(b"NaN"),
}
SLOW: dict[str, Failure | str] = {  # only a deadline ends these
    "hang": "hang",
    "body drips": dripping(raw(b"Content-Length: 900", body=PLAYS), b" "),
    "headers drip": dripping(OK, b"X-More: a\r\n", b"\r\n" + PLAYS),
}


def free_port() -> int:
    """Return a port that nobody uses, of those that systems do not give out unasked."""
    port = randrange(10_000, 32_000)
    with suppress(OSError), create_server(("127.0.0.1", port)):
        return port
    return free_port()


class LocalServer(ThreadingTCPServer):
    """Serves at a free port of this machine, until it is closed."""

    daemon_threads = True

    def __init__(self, handler: type[BaseRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.port: int = self.socket.getsockname()[1]
        Thread(target=self.serve_forever, args=(0.005,), daemon=True).start()

    def server_close(self) -> None:
        self.shutdown()
        super().server_close()


class hold:
    """Holds back the answers of an endpoint until released."""

    def __init__(self, spotify: StandIn, endpoint: str) -> None:
        self._holds, self._endpoint = spotify.holds, endpoint
        self._arrivals, self._released = Semaphore(0), Event()

    def __enter__(self) -> hold:
        self._holds[self._endpoint] = self.wait
        return self

    def __exit__(self, *_: object) -> None:
        del self._holds[self._endpoint]
        self.release()

    def wait(self) -> None:
        """Stay until released."""
        self._arrivals.release()
        self._released.wait()

    def arrived(self, n: int = 1) -> bool:
        """Wait until n more answers are held; False when one takes ten seconds."""
        return all(self._arrivals.acquire(timeout=10) for _ in range(n))

    def release(self) -> None:
        """Let them go, and all that follow."""
        self._released.set()
