"""The servers that are measured: each a process of its own, on a free port."""

import asyncio
import atexit
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from .load import Browser, share

APP = f"{sys.executable} app.py"
DOCS = f"{sys.executable} -m flask --app benchmarks.baseline run --port PORT"
GRANIAN = f"{sys.executable} -m granian --no-ws --log-level error --port PORT"
DOUBLE = f"{GRANIAN} --interface rsgi benchmarks.double:app"
CROWD = f"{GRANIAN} --interface asginl --factory benchmarks.variants:crowded_app"
BARE = f"{GRANIAN} --interface wsgi --factory benchmarks.variants:bare_app"
BARE += " --blocking-threads 64"  # as many as the app has
REDIS = "redis-server --bind 127.0.0.1 --save --port PORT"


class Server(subprocess.Popen[bytes]):
    """A server that answers, and runs until the benchmark ends.

    seconds: until its first answer. memory: MB at that time. visitors: who is logged
    in, by a header and a text that only their page has. asked: when they did so last.
    """

    def __init__(self, command: str, scheme: str = "http", **settings: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = str(listener.getsockname()[1])
        self.url, log = f"{scheme}://127.0.0.1:{port}", os.memfd_create("log")
        words, started = command.replace("PORT", port).split(), time.perf_counter()
        environ = {**os.environ, **settings, "PORT": port}
        super().__init__(words, env=environ, stdout=log, stderr=log)
        atexit.register(self.terminate)
        while scheme != "redis" and not self.get("/"):
            if self.poll() is not None:
                sys.exit(f"{command} ended: {os.pread(log, 9999, 0).decode()}")
            time.sleep(0.002)
        self.seconds, self.memory = time.perf_counter() - started, self.usage()[1]
        self.visitors, self.asked = list[tuple[str, str]](), 0.0

    def get(self, path: str) -> str:
        """Return the body of an answer, empty while there is none."""
        return asyncio.run(Browser(self.url).get(path)).partition("\r\n\r\n")[2]

    def log_in(self, names: list[str]) -> None:
        """Log everybody in. One looks at the page already, which loads templates."""
        self.visitors = asyncio.run(share(self.url, 32, Browser.log_in, names))
        asyncio.run(share(self.url, 1, Browser.ask, [("/", *self.visitors[0])]))
        self.asked = time.monotonic()

    def load(self, path: str, clients: int) -> list[float]:
        """Ask once for everybody's page, when no answer of the last time is kept."""
        time.sleep(max(0, self.asked + 3 - time.monotonic()))
        visits = [(path, *visitor) for visitor in self.visitors]
        cpu, started = self.usage()[0], time.perf_counter()
        results = asyncio.run(share(self.url, clients, Browser.ask, visits))
        seconds, cpu = time.perf_counter() - started, self.usage()[0] - cpu
        self.asked, n = time.monotonic(), len(visits)
        waits, right = sorted(ms for ms, _ in results), sum(ok for _, ok in results)
        waits = [waits[n // 2], waits[n * 99 // 100]]
        return [right / seconds, *waits, cpu / (right or 1), right / n]

    def usage(self) -> tuple[float, float]:
        """Return CPU (ms so far) and memory (MB) of it and all its descendants."""
        pids, ticks, pages = [self.pid], 0, 0
        for pid in pids:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks, pages = ticks + sum(map(int, stat[11:15])), pages + int(stat[21])
            pids.extend(map(int, children.split()))
        return ticks * 1000 / os.sysconf("SC_CLK_TCK"), pages * 4096 / 1e6
