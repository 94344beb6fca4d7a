"""The known ways in which Spotify, or the road to it, fails."""

import json
import socket
import struct
from collections.abc import Callable
from http.client import responses
from pathlib import Path
from threading import Event

# A callable gets the connection, and what is set when Spotify works again.
Failure = bytes | Callable[[socket.socket, Event], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def answer(status: int, body: object = "", *headers: str) -> bytes:
    """Return what goes over the wire: a string as it is, anything else as JSON."""
    kind, text = "application/json", body
    if not isinstance(text, str):
        text = json.dumps(body)
    else:
        kind = "text/html" if text.startswith("<") else "text/plain"
    data = text.encode(errors="replace")
    lines = [f"HTTP/1.1 {status} {responses.get(status, '')}", *headers]
    if status != 204:
        lines.append(f"Content-Length: {len(data)}")
    if data:
        lines.append(f"Content-Type: {kind}; charset=utf-8")
    return "\r\n".join([*lines, "", ""]).encode() + data


def send(failure: Failure, connection: socket.socket, healed: Event) -> None:
    """Fail the request that has come over this connection."""
    if callable(failure):
        return failure(connection, healed)
    # With its end in the same packet no client tries this connection again.
    connection.sendall(failure, getattr(socket, "MSG_MORE", 0))
    connection.shutdown(socket.SHUT_WR)


def hang(connection: socket.socket, healed: Event) -> None:
    """Say nothing until healed."""
    healed.wait()


def reset(connection: socket.socket, healed: Event) -> None:
    """Close so that the other side sees a reset, not an end."""
    linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    socket.close(connection.detach())


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
    "reset": reset,
}
