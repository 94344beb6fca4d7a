"""A proxy before a Redis that fails for the commands that a test names."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Event, Thread


class RedisProxy(ThreadingTCPServer):
    """Passes commands on to a Redis, unless told to fail.

    faults: by command in upper case, "refuse", "drop" (the connection), "lose" (the
    answer), "hang" (until healed), or seconds to wait.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, redis_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.redis_port = redis_port
        self.url = f"redis://127.0.0.1:{self.server_address[1]}/0"
        self.faults: dict[str, str | float] = {}
        self.commands: list[str] = []
        self.healed = Event()

    def heal(self) -> None:
        self.faults.clear()
        self.healed.set()
        self.healed = Event()


class _Connection(StreamRequestHandler):
    server: RedisProxy
    muted = False

    def handle(self) -> None:
        address = "127.0.0.1", self.server.redis_port
        with suppress(OSError), socket.create_connection(address) as redis:
            Thread(target=self._answer, args=(redis,), daemon=True).start()
            while line := self.rfile.readline():
                parts = [line]
                for _ in range(int(line[1:])):
                    parts.append(self.rfile.readline())
                    parts.append(self.rfile.read(int(parts[-1][1:]) + 2))
                if self._passes(parts[2].decode().strip().upper()):
                    redis.sendall(b"".join(parts))

    def _passes(self, command: str) -> bool:
        self.server.commands.append(command)
        fault = self.server.faults.get(command, 0)
        self.muted = fault == "lose"
        if fault == "drop":
            raise ConnectionAbortedError
        if fault == "refuse":
            self.wfile.write(b"-OOM command not allowed\r\n")
            return False
        if fault == "hang" or isinstance(fault, float):
            self.server.healed.wait(None if fault == "hang" else fault)
        return True

    def _answer(self, redis: socket.socket) -> None:
        with suppress(OSError):
            while (data := redis.recv(65536)) and not self.muted:
                self.connection.sendall(data)
            self.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_to(redis_port: int) -> Iterator[RedisProxy]:
    with RedisProxy(redis_port) as proxy:
        Thread(target=proxy.serve_forever, args=(0.005,), daemon=True).start()
        yield proxy
        proxy.heal()
        proxy.shutdown()
