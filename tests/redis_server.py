"""A real redis-server on a free port, for the tests that need one."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import redis

from tests.conftest import free_port


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
