"""What the stand-in's switches do not offer: answers that wait, or never end."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from socket import socket
from threading import Event, Semaphore

from stand_in import StandIn
from stand_in.failures import OK, How


def drip(start: bytes, connection: socket, healed: Event) -> None:
    """Send the start, then a byte each second until healed."""
    connection.sendall(start)
    while not healed.wait(1):
        connection.sendall(b".")


def flood(connection: socket, healed: Event) -> None:
    """Send 100 MB."""
    connection.sendall(OK + b"Content-Length: 100000000\r\n\r\n")
    for _ in range(100):
        connection.sendall(b" " * 1_000_000)


def gzip_bomb(connection: socket, healed: Event) -> None:
    """Send 100 kB that unpack to 100 MB."""
    connection.sendall(OK + b"Content-Encoding: gzip\r\n\r\n")
    connection.sendall(gzip.compress(b" " * 100_000_000, 1))


LARGE: dict[str, How] = {"flood": flood, "gzip_bomb": gzip_bomb}
SLOW: dict[str, How] = {
    "hang": "hang",
    "drip_headers": partial(drip, OK + b"X-Slow: "),
    "drip_body": partial(drip, OK + b"Content-Length: 9999\r\n\r\n"),
}


class Hold:
    """Answers that wait until released."""

    def __init__(self) -> None:
        self._arrivals, self._seen = Semaphore(0), 0
        self._released = Event()

    def wait(self) -> None:
        """Stay until released."""
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


@contextmanager
def hold(spotify: StandIn, endpoint: str) -> Iterator[Hold]:
    """Hold back the answers of an endpoint until released."""
    held = Hold()
    spotify.holds[endpoint] = held.wait
    try:
        yield held
    finally:
        del spotify.holds[endpoint]
        held.release()
