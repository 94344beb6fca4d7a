"""The known ways in which Spotify, or the road to it, fails."""

import json
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from threading import Event

from werkzeug.wrappers import Response

# What is sent, or who is called: with the connection, and what is set when healed.
Failure = bytes | Callable[[socket.socket, Event], object]
How = str | Failure  # a string is a name in FAILURES
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def respond(status: int, body: object = "", *headers: str) -> Response:
    """Return this answer: a string as it is, anything else as JSON."""
    text, kind = json.dumps(body), "application/json"
    if isinstance(body, str):
        text, kind = body, "text/html" if body.startswith("<") else "text/plain"
    response = Response(text.encode(errors="replace"), status, mimetype=kind)
    for header in headers:
        response.headers.add(*header.split(": ", 1))
    return response


def answer(status: int, body: object = "", *headers: str) -> bytes:
    """Return the same as it goes over the wire."""
    return to_wire(respond(status, body, *headers))


def to_wire(response: Response) -> bytes:
    head = f"HTTP/1.1 {response.status}\r\n{response.headers}"
    return head.encode("latin-1") + response.get_data()


def reset(connection: socket.socket, healed: Event) -> None:
    """Close so that the other side sees a reset, not an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close(connection.detach())


# Those that any server can give, as the arguments of `answer`, and all of them.
ANSWERS = json.loads(Path(__file__).with_suffix(".json").read_bytes())
FAILURES: dict[str, Failure] = {
    "cut_short": OK + b'Content-Length: 9999\r\n\r\n{"item":',
    "not_http": b"\x00\xff" * 99,
    "hang": lambda _, healed: healed.wait(),
    "reset": reset,
}
FAILURES |= {name: answer(*it, "Connection: close") for name, it in ANSWERS.items()}
