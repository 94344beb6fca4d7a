"""A Spotify over TLS that speaks HTTP/2, or HTTP/1.1 to who asks for that."""

import json
import re
import ssl
from contextlib import suppress
from http.client import parse_headers
from pathlib import Path
from socketserver import BaseRequestHandler
from threading import Event
from typing import Any, NamedTuple

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import RequestReceived

from tests.wire import LocalServer


class Asked(NamedTuple):
    """A request. port: where it came from, which tells the connection."""

    port: int
    method: str
    path: str
    headers: dict[str, str]
    body: str


class TlsSpotify(LocalServer):
    """Everybody's name is their code, and everybody plays the song of that name.

    tricks: what to do at the next requests: "vanish" (end the connection without an
    answer), "go away" (end it after the answer), "never mind" (end it and say that the
    request was not looked at), "refuse" (the stream), "silent" (say no more after the
    headers), "hang up" (when told to, without more ado), "break down" (when told to).
    """

    def __init__(self, certificate: Path) -> None:
        super().__init__(_Connection)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        self.accounts_url = f"https://127.0.0.1:{self.port}"
        self.api_url = f"{self.accounts_url}/v1"
        self.asked: list[Asked] = []
        self.tricks: list[str] = []
        self.hang_up, self.hung_up = Event(), Event()

    def grant(self, person: str, **_: str) -> str:
        return person


def answer(asked: Asked) -> bytes:
    """Return what Spotify answers whoever has sent this request."""
    sent = f"{asked.headers.get('authorization')} {asked.body}"
    name = re.findall(r"(?:Bearer |code=|refresh_token=)(\w+)", sent)[0]
    if asked.path == "/api/token":
        token = {"access_token": name, "refresh_token": name, "token_type": "Bearer"}
        return json.dumps(token | {"expires_in": 3600, "scope": ""}).encode()
    song = {"item": {"name": f"Song of {name}"}, "is_playing": True}
    return json.dumps({**song, "id": name, "body": asked.body}).encode()


class _Connection(BaseRequestHandler):
    server: TlsSpotify

    def handle(self) -> None:
        wrap = self.server.context.wrap_socket
        with suppress(OSError), wrap(self.request, True) as self.tls:
            http2 = self.tls.selected_alpn_protocol() == "h2"
            self._speak_http2() if http2 else self._speak_http1()
            self.tls.recv(65536)  # what libcurl sends after its request

    def _hear(self, *request: Any) -> tuple[bytes, str]:
        """Note a request; return the answer, and what to do instead."""
        asked, server = Asked(self.client_address[1], *request), self.server
        server.asked.append(asked)
        trick = server.tricks.pop(0) if server.tricks else ""
        return answer(asked), trick

    def _speak_http1(self) -> None:
        with self.tls.makefile("rb") as lines:
            while line := lines.readline().decode().split():
                sent = {k.lower(): v for k, v in parse_headers(lines).items()}
                form = lines.read(int(sent.get("content-length", 0))).decode()
                body, trick = self._hear(*line[:2], sent, form)
                if trick in ("vanish", "never mind"):
                    raise ConnectionAbortedError
                size = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                self.tls.sendall(size + body)

    def _speak_http2(self) -> None:
        http2, silent = H2Connection(H2Configuration(False, "utf-8")), False
        trick = ""
        http2.initiate_connection()
        self.tls.sendall(http2.data_to_send())
        while data := self.tls.recv(65536):
            for event in http2.receive_data(data):
                if silent or not isinstance(event, RequestReceived):
                    continue  # nothing comes after the headers of a GET
                sent: Any = dict(event.headers)
                stream = event.stream_id
                body, trick = self._hear(sent[":method"], sent[":path"], sent, "")
                if trick == "vanish":
                    return
                if trick == "refuse":
                    http2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
                    continue
                if trick != "never mind":
                    http2.send_headers(stream, [(":status", "200")])
                    silent = trick == "silent"
                if trick not in ("never mind", "silent"):
                    http2.send_data(stream, body, end_stream=True)
                if trick in ("go away", "never mind"):
                    looked_at = stream if trick == "go away" else 0
                    http2.close_connection(last_stream_id=looked_at)
                    return self.tls.sendall(http2.data_to_send())
            self.tls.sendall(http2.data_to_send())
            if trick in ("hang up", "break down"):
                self.server.hang_up.wait()
                if trick == "break down":
                    http2.close_connection(ErrorCodes.INTERNAL_ERROR)
                    self.tls.sendall(http2.data_to_send())
                else:
                    self.tls.setblocking(False)
                    with suppress(OSError):
                        self.tls.unwrap()
                return self.server.hung_up.set()
