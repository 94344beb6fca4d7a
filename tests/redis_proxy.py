"""A proxy before a Redis that fails for the commands that a test names."""

from __future__ import annotations

import socket
from contextlib import suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Event, Thread


class RedisProxy(ThreadingTCPServer):
    """Passes commands on to the Redis at the port, unless told to fail.

    faults: by command in upper case, "refuse", "drop" (the connection), "lose" (the
    answer) or "hang" (until healed).
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.redis_port, self.faults = port, dict[str, str]()
        self.url = f"redis://127.0.0.1:{self.server_address[1]}/0"
        self.healed = Event()

    def __enter__(self) -> RedisProxy:
        Thread(target=self.serve_forever, args=(0.005,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.heal()
        self.shutdown()
        self.server_close()

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
                fault = self.server.faults.get(parts[2].decode().strip().upper())
                self.muted = fault == "lose"
                if fault == "drop":
                    return
                if fault == "hang":
                    self.server.healed.wait()
                if fault == "refuse":
                    self.wfile.write(b"-OOM command not allowed\r\n")
                else:
                    redis.sendall(b"".join(parts))

    def _answer(self, redis: socket.socket) -> None:
        with suppress(OSError):
            while (data := redis.recv(65536)) and not self.muted:
                self.connection.sendall(data)
            self.connection.shutdown(socket.SHUT_RDWR)
