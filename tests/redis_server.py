"""A real redis-server on a free port, for the tests that need one."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis


class RedisServer:
    """A server that can be frozen, killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client: Any = redis.Redis.from_url(self.url)
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                "redis-server",
                *f"--port {self.port} --bind 127.0.0.1 --save".split(),
                "",
            ],
            cwd=self._folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        while "Ready to accept" not in (line := self._process.stdout.readline()):
            assert line, "redis-server did not start"

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def let_pass(self, seconds: float) -> None:
        """Do to every key what the passing of time would do."""
        for key in self.client.keys("*"):
            left = self.client.pttl(key)
            if left >= 0:  # -1: for ever
                self.client.pexpire(key, max(0, int(left - 1000 * seconds)))


def is_installed() -> bool:
    return shutil.which("redis-server") is not None


@contextmanager
def running(folder: Path) -> Iterator[RedisServer]:
    server = RedisServer(folder)
    try:
        yield server
    finally:
        server.client.close()
        server.kill()
