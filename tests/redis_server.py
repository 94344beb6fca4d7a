"""A real redis-server on a free port, and a proxy that fails before it."""

from __future__ import annotations

import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from socketserver import BaseRequestHandler
from threading import Event, Thread
from typing import Any

import redis

from tests.conftest import free_port
from tests.wire import LocalServer


class RedisServer:
    """A server that can be frozen, killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        command = f"redis-server --bind 127.0.0.1 --save --port {self.port}"
        self._process = subprocess.Popen(
            command.split(), cwd=self._folder, stdout=subprocess.PIPE, text=True
        )
        self.client: Any = redis.Redis.from_url(self.url)
        assert self._process.stdout
        while "Ready to accept" not in (line := self._process.stdout.readline()):
            assert line, "redis-server did not start"
        return self

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self, *_: object) -> None:
        self.client.close()
        self._process.kill()
        self._process.communicate()

    __enter__, __exit__ = start, kill

    def let_pass(self, seconds: float) -> None:
        """Do to every key what the passing of time would do."""
        for key in self.client.keys("*"):
            left = self.client.pttl(key)
            if left >= 0:  # -1: for ever
                self.client.pexpire(key, max(0, int(left - 1000 * seconds)))


class RedisProxy(LocalServer):
    """Passes commands on to the Redis at the port, unless told to fail.

    faults: by command in upper case, "refuse", "drop" (the connection), "lose" (the
    answer) or "hang" (until healed).
    """

    def __init__(self, redis_port: int) -> None:
        super().__init__(_Connection)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.redis_port, self.faults = redis_port, dict[str, str]()
        self.healed = Event()

    def heal(self) -> None:
        self.faults.clear()
        self.healed.set()
        self.healed = Event()


class _Connection(BaseRequestHandler):
    server: RedisProxy
    muted = False

    def handle(self) -> None:
        address = "127.0.0.1", self.server.redis_port
        with suppress(OSError), socket.create_connection(address) as redis:
            Thread(target=self._answer, args=(redis,), daemon=True).start()
            # Each command arrives in one piece, because they are small.
            while command := self.request.recv(65536):
                fault = self.server.faults.get(
                    command.split(b"\r\n")[2].decode().upper()
                )
                self.muted = fault == "lose"
                if fault == "drop":
                    return
                if fault == "hang":
                    self.server.healed.wait()
                if fault == "refuse":
                    self.request.sendall(b"-OOM command not allowed\r\n")
                else:
                    redis.sendall(command)

    def _answer(self, redis: socket.socket) -> None:
        with suppress(OSError):
            while (data := redis.recv(65536)) and not self.muted:
                self.request.sendall(data)
            self.request.shutdown(socket.SHUT_RDWR)
