"""Visitors with browsers, many at once: they log in, and ask for pages."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

SET_COOKIE = re.compile(r"\nset-cookie: ([^;\s]+)", re.I)


class Browser:
    """One visitor after another, on one connection while the server keeps it."""

    def __init__(self, url: str) -> None:
        self.url, self.tls = urlsplit(url), True if url.startswith("https") else None
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, header: str = "Cookie: ") -> str:
        """Return the answer, head and body: empty if it breaks off or takes 30 s."""
        request = f"GET {path} HTTP/1.1\r\nHost: {self.url.netloc}\r\n{header}\r\n\r\n"
        try:
            if not self.streams:
                where = self.url.hostname, self.url.port
                self.streams = await asyncio.open_connection(*where, ssl=self.tls)
            reader, writer = self.streams
            alarm = asyncio.get_running_loop().call_later(30, writer.close)
            writer.write(request.encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            size = re.findall(r"\ncontent-length: (\d+)", head.lower())[0]
            body = (await reader.readexactly(int(size))).decode()
            alarm.cancel()
        except (OSError, EOFError):
            head, body, self.streams = "", "", None
        if "\nconnection: close" in head.lower():
            writer.close()
            self.streams = None
        return head + body

    async def log_in(self, name: str) -> tuple[str, str]:
        """Return a header that says who asks, and a text that only their page has."""
        begun = await self.get("/login")
        cookie = "Cookie: " + "; ".join(SET_COOKIE.findall(begun))
        state = "".join(re.findall(r"[?&]state=([^&\s]+)", begun)[:1])
        ended = await self.get(f"/callback?code={name}&state={state}", cookie)
        cookie = "Cookie: " + "; ".join(SET_COOKIE.findall(ended))
        return f"Accept: text/html\r\n{cookie}", f"Song of {name}"

    async def ask(self, visit: tuple[str, str, str]) -> tuple[float, bool]:
        """Return how long a page took (ms), and whether it was the right one."""
        (path, header, text), started = visit, time.perf_counter()
        answer = await self.get(path, header)
        ms = 1000 * (time.perf_counter() - started)
        return ms, answer[9:12] == "200" and text in answer


Task = Callable[[Browser, Any], Awaitable[Any]]


async def share(url: str, clients: int, do: Task, work: Iterable[Any]) -> list[Any]:
    """Let so many browsers share the work, and return what comes of it."""
    left, results = iter(work), list[Any]()

    async def client() -> None:
        browser = Browser(url)
        for item in left:
            results.append(await do(browser, item))

    await asyncio.gather(*(client() for _ in range(clients)))
    return results
