"""Failures too odd for the stand-in's switches: bytes that never end, or too many."""

from __future__ import annotations

import gzip
from functools import partial
from socket import socket
from threading import Event

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
