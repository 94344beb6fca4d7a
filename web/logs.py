"""The log: one line for what people do and for what fails, and never a secret."""

import logging
import select
import sys
import time
import traceback
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, g, request

LONGEST_LINE = 4_000  # bytes
ROUTINE = ("main", "now_playing", "static", "healthz", "readyz")

log = logging.getLogger("now_playing")


class App(Flask):
    """Flask, except that an unexpected error is logged without its text."""

    def log_exception(self, exc_info: Any) -> None:
        """Log the type and the places: the text may hold what no log should."""
        places = "".join(traceback.format_tb(exc_info[2]))
        log.error("%s at\n%s", exc_info[0].__name__, places)


class StderrHandler(logging.StreamHandler):  # type: ignore[type-arg]  # Python 3.10
    """Drops lines that nobody reads, instead of waiting until somebody does."""

    def format(self, record: logging.LogRecord) -> str:
        # A pipe that select calls writable takes no more without waiting (PIPE_BUF).
        line = super().format(record).encode("utf-8", "replace")
        return line[:LONGEST_LINE].decode("utf-8", "ignore")

    def emit(self, record: logging.LogRecord) -> None:
        writable = True
        with suppress(OSError, ValueError, TypeError):  # not a file, or on Windows
            writable = bool(select.select([], [self.stream], [], 0)[1])
        if writable:
            super().emit(record)


def install(app: Flask) -> None:
    """Log each request, and log to stderr unless somebody has set that up already."""
    if not log.hasHandlers():
        handler = StderrHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        log.propagate = False  # a server may set up the root later
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)

    @app.before_request
    def start() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def finish(response: Response) -> Response:
        # Pages and polls that go well would bury the rest.
        routine = response.status_code < 400 and request.endpoint in ROUTINE
        level = logging.DEBUG if routine else logging.INFO
        if log.isEnabledFor(level):
            # Without the query, which may hold a code.
            what = quote(f"{request.method} {request.path}", "/ ")
            ms = 1000 * (time.perf_counter() - g.started)
            log.log(level, "%s %d %.1f ms", what, response.status_code, ms)
        return response
