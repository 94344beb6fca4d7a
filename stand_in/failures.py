"""The known ways in which Spotify, or the road to it, fails."""

import json
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from http.client import responses
from pathlib import Path
from threading import Event

# What is sent, or who is called: with the connection, and what is set when healed.
Failure = bytes | Callable[[socket.socket, Event], object]
How = str | Failure
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def answer(status: int, body: object = "", *headers: str) -> bytes:
    """Return what goes over the wire: a string as it is, anything else as JSON."""
    text, kind = json.dumps(body), "application/json"
    if isinstance(body, str):
        text, kind = body, "text/html" if body.startswith("<") else "text/plain"
    data = text.encode(errors="replace")
    lines = [f"HTTP/1.1 {status} {responses.get(status, '')}", *headers]
    if data or status != 204:
        lines += f"Content-Length: {len(data)}", f"Content-Type: {kind}; charset=utf-8"
    return "\r\n".join([*lines, "", ""]).encode() + data


def reset(connection: socket.socket, healed: Event) -> None:
    """Close so that the other side sees a reset, not an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close(connection.detach())


FAILURES: dict[str, Failure] = {
    "cut_short": OK + b'Content-Length: 9999\r\n\r\n{"item":',
    "not_http": b"\x00\xff" * 99,
    "hang": lambda _, healed: healed.wait(),
    "reset": reset,
}
ANSWERS = json.loads(Path(__file__).with_suffix(".json").read_bytes())
for name, (status, body, *headers) in ANSWERS.items():
    FAILURES[name] = answer(status, body, "Connection: close", *headers)


def send_failure(how: How, connection: socket.socket, healed: Event) -> None:
    """Answer as told, by name or else, and end the connection."""
    failure = FAILURES[how] if isinstance(how, str) else how
    if callable(failure):
        failure(connection, healed)
    else:
        # With its end in the same packet no client tries this connection again.
        connection.sendall(failure, getattr(socket, "MSG_MORE", 0))
        with suppress(OSError):  # the other side may be gone
            connection.shutdown(socket.SHUT_WR)
    raise ConnectionAbortedError
