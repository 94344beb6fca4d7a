"""The servers that are measured, each a process of its own, and their visitors."""

import asyncio
import atexit
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

APP = f"{sys.executable} app.py"
DOCS = f"{sys.executable} -m flask --app benchmarks.baseline run --port PORT"
GRANIAN = f"{sys.executable} -m granian --no-ws --port PORT --interface"
DOUBLE = f"{GRANIAN} rsgi benchmarks.double:app"
REDIS = "redis-server --bind 127.0.0.1 --save --port PORT"
COOKIE = re.compile(r"\nset-cookie: ([^;\s]+)", re.I)


class Browser:
    """One visitor after another, on one connection while the server keeps it."""

    def __init__(self, url: str) -> None:
        self.tls, self.host = url.startswith("https") or None, url.partition("//")[2]
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, header: str = "Cookie: ") -> str:
        """Return the answer, head and body: empty if it breaks off or takes 30 s."""
        streams, self.streams, to = self.streams, None, self.host.split(":")
        request = f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\n{header}\r\n\r\n"
        try:
            reader, writer = streams or await asyncio.open_connection(*to, ssl=self.tls)
            alarm = asyncio.get_running_loop().call_later(30, writer.close)
            writer.write(request.encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            size = re.findall(r"\ncontent-length: (\d+)", head.lower())[0]
            body = (await reader.readexactly(int(size))).decode()
            alarm.cancel()
        except (OSError, EOFError, LookupError):
            return ""
        if "\nconnection: close" in head.lower():
            writer.close()
        else:
            self.streams = reader, writer
        return head + body

    async def log_in(self, name: str) -> tuple[str, str]:
        """Return a header that says who asks, and a text that only their page has."""
        begun = await self.get("/login")
        state = "".join(re.findall(r"[?&]state=([^&\s]+)", begun)[:1])
        cookie = "Cookie: " + "; ".join(COOKIE.findall(begun))
        ended = await self.get(f"/callback?code={name}&state={state}", cookie)
        cookie = "Cookie: " + "; ".join(COOKIE.findall(ended))
        # Without no-cache, the app may answer by what it knows.
        headers = f"Accept: text/html\r\nCache-Control: no-cache\r\n{cookie}"
        return headers, f"Song of {name}"

    async def ask(self, visit: tuple[str, str, str]) -> tuple[float, bool]:
        """Return how long a page took (ms), and whether it was the right one."""
        (path, header, text), started = visit, time.perf_counter()
        answer = await self.get(path, header)
        ms = 1000 * (time.perf_counter() - started)
        return ms, answer[9:12] == "200" and text in answer


class Server(subprocess.Popen[bytes]):
    """A server on a free port; seconds until its first answer, and MB at that time."""

    def __init__(self, command: str, names: list[str], **settings: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = str(listener.getsockname()[1])
        tls, log = "GRANIAN_SSL_KEYFILE" in settings, os.memfd_create("log")
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        environ, started = os.environ | settings, time.perf_counter()
        environ["PORT"], words = self.port, command.replace("PORT", self.port).split()
        super().__init__(words, env=environ, stdout=log, stderr=log)
        atexit.register(self.terminate)
        while command != REDIS and not self.get("/"):
            if self.poll() is not None:
                sys.exit(f"{command} ended: {os.pread(log, 9999, 0).decode()}")
            time.sleep(0.002)
        self.seconds, self.memory = time.perf_counter() - started, self.usage()[1]
        self.visitors = asyncio.run(self.share(32, Browser.log_in, names))
        # One looks at the page already, so that templates are loaded.
        asyncio.run(self.share(1, Browser.ask, [("/", *v) for v in self.visitors[:1]]))
        self.asked = time.monotonic()

    def get(self, path: str) -> str:
        return asyncio.run(Browser(self.url).get(path)).partition("\r\n\r\n")[2]

    async def share(self, clients: int, do: Callable[..., Any], work: list[Any]) -> Any:
        """Let so many browsers share the work, and return what comes of it."""
        left, results = iter(work), list[Any]()

        async def client() -> None:
            browser = Browser(self.url)
            for item in left:
                results.append(await do(browser, item))

        await asyncio.gather(*(client() for _ in range(clients)))
        return results

    def load(self, path: str, clients: int) -> list[float]:
        """Return right pages/s, p50 and p99 (ms), CPU (ms) of each, share of right."""
        time.sleep(max(0, self.asked + 3 - time.monotonic()))  # no answer is kept then
        visits = [(path, *visitor) for visitor in self.visitors]
        cpu, started = self.usage()[0], time.perf_counter()
        results = asyncio.run(self.share(clients, Browser.ask, visits))
        seconds, cpu = time.perf_counter() - started, self.usage()[0] - cpu
        waits, right = sorted(ms for ms, _ in results), sum(ok for _, ok in results)
        self.asked, n = time.monotonic(), len(visits)
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
        return 10 * ticks, pages * os.sysconf("SC_PAGESIZE") / 1e6  # 100 ticks a second
