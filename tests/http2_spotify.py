"""A Spotify over TLS, in HTTP/2 or HTTP/1.1, that notes which connection is used."""

from __future__ import annotations

import json
import re
import ssl
from contextlib import suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any, NamedTuple

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded, StreamReset


class Asked(NamedTuple):
    """A request. connection: its number, from 1."""

    connection: int
    method: str
    path: str


class TlsSpotify(ThreadingTCPServer):
    """Everybody's name is their code, and everybody plays the song of that name.

    protocol: h2 or http/1.1. trick: what to do at the next request: "429", "vanish"
    (end the connection without an answer), "go away" (end it after the answer), or
    bytes to send ahead of the answer.
    """

    daemon_threads = True

    def __init__(self, certificate: Path, protocol: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.set_alpn_protocols([protocol])
        self.context, self.protocol = context, protocol
        self.accounts_url = f"https://127.0.0.1:{self.server_address[1]}"
        self.api_url = f"{self.accounts_url}/v1"
        self.connections = 0
        self.asked: list[Asked] = []
        self.trick: str | bytes = ""

    def grant(self, person: str, **_: str) -> str:
        return person

    def __enter__(self) -> TlsSpotify:
        Thread(target=self.serve_forever, args=(0.005,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def answer(self, path: str, who: str) -> tuple[int, bytes]:
        name = "".join(re.findall(r"(?:Bearer |code=|refresh_token=)(\w+)", who)[:1])
        answers: dict[str, Any] = {
            "/api/token": {"access_token": name, "refresh_token": name}
            | {"token_type": "Bearer", "expires_in": 3600, "scope": ""},
            "/v1/me": {"id": name, "display_name": name},
        }
        song = {"item": {"name": f"Song of {name}"}, "is_playing": True}
        body = answers.get(path.partition("?")[0].rstrip("/"), song)
        return 200, json.dumps(body).encode()


class _Connection(BaseRequestHandler):
    server: TlsSpotify

    def handle(self) -> None:
        wrap = self.server.context.wrap_socket
        with suppress(OSError, EOFError), wrap(self.request, True) as self.tls:
            self.server.connections += 1
            self.number = self.server.connections
            if self.server.protocol == "h2":
                self._speak_http2()
            while True:
                self._answer_http1()

    def _note(self, method: str, path: str) -> str | bytes:
        self.server.asked.append(Asked(self.number, method, path.partition("?")[0]))
        trick, self.server.trick = self.server.trick, ""
        if trick == "vanish":
            raise EOFError
        return trick

    def _answer_http1(self) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._receive()
        head, _, body = received.partition(b"\r\n\r\n")
        length = re.findall(rb"(?i)content-length: (\d+)", head)
        while length and len(body) < int(length[0]):
            body += self._receive()
        method, path, _ = head.decode().split(" ", 2)
        self._note(method, path)
        answer = self.server.answer(path, (head + body).decode())[1]
        self.tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer))
        self.tls.sendall(answer)

    def _speak_http2(self) -> None:
        http2 = H2Connection(
            H2Configuration(client_side=False, header_encoding="utf-8")
        )
        http2.initiate_connection()
        asked: dict[int, dict[str, str]] = {}
        while True:
            self.tls.sendall(http2.data_to_send())
            data = self._receive()
            for event in http2.receive_data(data):
                if isinstance(event, RequestReceived):
                    asked[event.stream_id] = dict(event.headers)
                elif isinstance(event, StreamReset):
                    asked.pop(event.stream_id, None)
                elif isinstance(event, StreamEnded):
                    self._answer_http2(http2, event.stream_id, asked, data)

    def _answer_http2(
        self, http2: H2Connection, stream: int, asked: dict[int, Any], data: bytes
    ) -> None:
        headers = asked.pop(stream)
        trick = self._note(headers[":method"], headers[":path"])
        who = headers.get("authorization", "") + " " + data.decode("latin-1")
        status, body = self.server.answer(headers[":path"], who)
        answer = [(":status", str(status))]
        if trick == "429":
            answer, body = [(":status", "429"), ("retry-after", "7")], b"{}"
        if isinstance(trick, bytes):
            self.tls.sendall(http2.data_to_send() + trick)
        http2.send_headers(stream, answer)
        http2.send_data(stream, body, end_stream=True)
        if trick == "go away":
            http2.close_connection()
            self.tls.sendall(http2.data_to_send())
            raise EOFError

    def _receive(self) -> bytes:
        if data := self.tls.recv(65536):
            return data
        raise EOFError
