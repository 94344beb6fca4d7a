"""A Spotify over TLS and HTTP/2 that notes which connection is used."""

from __future__ import annotations

import json
import re
import ssl
from contextlib import suppress
from pathlib import Path
from socketserver import BaseRequestHandler
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded

from tests.wire import LocalServer


class TlsSpotify(LocalServer):
    """Everybody's name is their code, and everybody plays the song of that name.

    asked: of each request the port that it came from, the method and the path. trick:
    what to do at the next one: "vanish" (end the connection without an answer), "go
    away" (end it after the answer), or bytes to send ahead of the answer.
    """

    def __init__(self, certificate: Path) -> None:
        super().__init__(_Connection)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.context.set_alpn_protocols(["h2"])
        self.accounts_url = f"https://127.0.0.1:{self.port}"
        self.api_url = f"{self.accounts_url}/v1"
        self.asked: list[tuple[int, str, str]] = []
        self.trick: str | bytes = ""

    def grant(self, person: str, **_: str) -> str:
        return person


def answer(path: str, request: str) -> bytes:
    """Return what Spotify answers whoever has sent this request."""
    name = re.findall(r"(?:Bearer |code=|refresh_token=)(\w+)", request)[0]
    token = {"access_token": name, "refresh_token": name, "token_type": "Bearer"}
    song = {"item": {"name": f"Song of {name}"}, "is_playing": True}
    if path == "/api/token":
        return json.dumps(token | {"expires_in": 3600, "scope": ""}).encode()
    return json.dumps(song if "player" in path else {"id": name}).encode()


class _Connection(BaseRequestHandler):
    server: TlsSpotify

    def handle(self) -> None:
        wrap = self.server.context.wrap_socket
        with suppress(OSError), wrap(self.request, True) as self.tls:
            self._speak_http2()
            self.tls.recv(65536)  # what libcurl sends after its request

    def _speak_http2(self) -> None:
        http2 = H2Connection(H2Configuration(False, "utf-8"))
        http2.initiate_connection()
        self.tls.sendall(http2.data_to_send())
        asked: dict[int, dict[Any, Any]] = {}
        while data := self.tls.recv(65536):
            for event in http2.receive_data(data):
                if isinstance(event, RequestReceived):
                    asked[event.stream_id] = dict(event.headers or ())
                if not isinstance(event, StreamEnded):
                    continue
                headers = asked.pop(event.stream_id)
                path = headers[":path"].partition("?")[0]
                asked_by = self.client_address[1]
                self.server.asked.append((asked_by, headers[":method"], path))
                trick, self.server.trick = self.server.trick, ""
                bearer = headers.get("authorization", "")
                body = answer(path, f"{bearer} {data.decode('latin-1')}")
                if trick == "vanish":
                    return
                if isinstance(trick, bytes):
                    self.tls.sendall(http2.data_to_send() + trick)
                http2.send_headers(event.stream_id, [(":status", "200")])
                http2.send_data(event.stream_id, body, end_stream=True)
                if trick == "go away":
                    http2.close_connection()
                    return self.tls.sendall(http2.data_to_send())
            self.tls.sendall(http2.data_to_send())
