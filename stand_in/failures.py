"""The known ways in which Spotify, or the road to it, fails."""

from __future__ import annotations

import functools
import gzip
import json
import socket
import struct
from collections.abc import Callable
from http.client import responses
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .handler import Handler

Failure = bytes | Callable[["Handler"], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def answer(status: int, body: object = "", *headers: str, kind: str = "") -> bytes:
    """Return what goes over the wire: a string as it is, anything else as JSON."""
    if isinstance(body, str):
        kind = kind or ("text/html" if body.startswith("<") else "text/plain")
    else:
        kind, body = "application/json", json.dumps(body)
    data = body.encode(errors="replace")
    lines = [f"HTTP/1.1 {status} {responses.get(status, '')}", *headers]
    if status != 204:
        lines.append(f"Content-Length: {len(data)}")
    if data:
        lines.append(f"Content-Type: {kind}; charset=utf-8")
    return "\r\n".join([*lines, "", ""]).encode() + data


def hang(handler: Handler) -> None:
    """Say nothing until healed."""
    handler.healed.wait()


def drip(start: bytes, handler: Handler) -> None:
    """Send the start, then a byte each second until healed."""
    handler.wfile.write(start)
    while not handler.healed.wait(1):
        handler.wfile.write(b".")
        handler.wfile.flush()


def reset(handler: Handler) -> None:
    """Close so that the other side sees a reset, not an end."""
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    socket.close(handler.connection.detach())


def flood(handler: Handler) -> None:
    """Send 100 MB."""
    handler.wfile.write(OK + b"Content-Length: 100000000\r\n\r\n")
    for _ in range(100):
        handler.wfile.write(b" " * 1_000_000)


def gzip_bomb(handler: Handler) -> None:
    """Send 100 kB that unpack to 100 MB."""
    handler.wfile.write(OK + b"Content-Encoding: gzip\r\n\r\n")
    handler.wfile.write(gzip.compress(b" " * 100_000_000, 1))


FAILURES: dict[str, Failure] = {
    name: answer(status, body, "Connection: close", *headers)
    for name, (status, body, *headers) in json.loads(
        Path(__file__).with_suffix(".json").read_bytes()
    ).items()
}
FAILURES |= {
    "cut_short": OK + b'Content-Length: 9999\r\n\r\n{"item":',
    "not_http": b"\x00\xff" * 99,
    "hang": hang,
    "drip_headers": functools.partial(drip, OK + b"X-Slow: "),
    "drip_body": functools.partial(drip, OK + b"Content-Length: 9999\r\n\r\n"),
    "reset": reset,
    "flood": flood,
    "gzip_bomb": gzip_bomb,
}
