"""What the stand-in does not offer: odd bytes, answers that wait, other servers."""

from __future__ import annotations

import gzip
import json
from contextlib import suppress
from random import randrange
from socket import create_server
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Semaphore, Thread

from stand_in import StandIn
from stand_in.failures import OK, Failure

CLOSE = "Connection: close"
TRACK = {"item": {"type": "track", "name": "Real"}, "is_playing": True}
PLAYS = json.dumps(TRACK).encode()


def sized(body: bytes, *headers: bytes) -> bytes:
    """Return a 200 with exactly these headers, and the length."""
    lines = [b"Content-Length: %d" % len(body), *headers]
    return OK + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def zipped(body: bytes) -> bytes:
    return sized(body, b"Content-Encoding: gzip")


ODD: dict[str, Failure] = {  # and none of it is an answer
    "gzip cut in its header": zipped(gzip.compress(PLAYS)[:9]),
    "gzip bomb": zipped(gzip.compress(PLAYS + b" " * 20_000_000, 1)),
    "deep list": sized(b"[" * 200_000),
    "bad UTF-8": sized(b'{"item": {"name": "\xff\xfe\xed\xa0\x80"}}'),
    "blanks": sized(b" \n "),
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
