"""A real redis-server on a free port, and a proxy that fails before it."""

from __future__ import annotations

import socket
import subprocess
from contextlib import suppress
from socketserver import BaseRequestHandler
from threading import Event, Semaphore
from typing import Any

import redis

from tests.wire import LocalServer, free_port


class RedisServer:
    """A server that keeps nothing."""

    def __enter__(self) -> RedisServer:
        port = free_port()
        self.port, self.url = port, f"redis://127.0.0.1:{port}/0"
        command = f"redis-server --bind 127.0.0.1 --save --port {port}"
        self._process = subprocess.Popen(command.split(), stdout=subprocess.PIPE)
        self.client: Any = redis.Redis.from_url(self.url)
        assert self._process.stdout
        while b"Ready to accept" not in (line := self._process.stdout.readline()):
            assert line, "redis-server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._process.kill()
        self._process.communicate()

    def let_pass(self, seconds: float) -> None:
        """Do to every key what the passing of time would do."""
        for key in self.client.keys("*"):
            left = self.client.pttl(key)
            if left >= 0:  # -1: for ever
                self.client.pexpire(key, max(0, int(left - 1000 * seconds)))


class RedisProxy(LocalServer):
    """Passes commands on to the Redis at the port.

    fault: what happens, until healed, to commands with `where` in them: "lose" (the
    answer, with the connection), "refuse", or "freeze". Others pass.
    """

    request_queue_size = 128  # as in Redis

    def __init__(self, redis_port: int) -> None:
        super().__init__(_Connection)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.redis_port, self.fault = redis_port, ""
        self.where = b"\r\nXX\r\n"  # when a refreshed token is saved
        self.saves, self.healed = Semaphore(0), Event()

    def heal(self) -> None:
        self.fault = ""
        self.healed.set()


class _Connection(BaseRequestHandler):
    server: RedisProxy

    def handle(self) -> None:
        address = "127.0.0.1", self.server.redis_port
        with suppress(OSError), socket.create_connection(address) as redis:
            # Commands and answers arrive in one piece each, because they are small.
            while command := self.request.recv(65536):
                fault = self.server.fault if self.server.where in command else ""
                if fault:
                    self.server.saves.release()
                if fault == "freeze":
                    self.server.healed.wait()
                if fault == "refuse":
                    self.request.sendall(b"-OOM command not allowed\r\n")
                    continue
                redis.sendall(command)
                answer = redis.recv(65536)
                if fault == "lose" or not answer:
                    return
                self.request.sendall(answer)
