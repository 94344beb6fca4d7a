"""The log: one line for what people do and for what fails, and never a secret."""

from __future__ import annotations

import logging
import select
import sys
import time
import traceback
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, g, request

from config import Config

ROUTINE = ("main", "now_playing", "static", "healthz", "readyz")

log = logging.getLogger("now_playing")


class App(Flask):
    """Flask, except that an unexpected error is logged without its text."""

    def log_exception(self, exc_info: Any) -> None:
        """Log the type and the places: the text may hold what no log should."""
        places = "".join(traceback.format_tb(exc_info[2]))
        log.error("%s at\n%s", exc_info[0].__name__, places)


class _Handler(logging.StreamHandler[Any]):
    """Writes to stderr, but drops lines that nobody reads instead of waiting."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            writable = select.select([], [self.stream], [], 0)[1]
        except (OSError, ValueError, TypeError):  # not a file, or on Windows
            writable = [self.stream]
        if writable:
            super().emit(record)


def install(app: Flask, config: Config) -> None:
    """Log each request of this app, and log to stderr unless somebody set that up."""
    if not log.hasHandlers():
        handler = _Handler(sys.stderr)
        form = "%(asctime)s %(levelname)s %(message)s"
        handler.setFormatter(logging.Formatter(form))
        log.addHandler(handler)
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)
    if not config.redis_url:
        log.info("logins live in this process: to have more than one, set REDIS_URL")

    @app.before_request
    def start() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def finish(response: Response) -> Response:
        # Pages and polls that go well would bury the rest, and cost a sixth more time.
        routine = response.status_code < 400 and request.endpoint in ROUTINE
        level = logging.DEBUG if routine else logging.INFO
        if log.isEnabledFor(level):
            log.log(
                level,
                "%s %s %d %.1f ms",
                quote(request.method),
                quote(request.path),  # without the query, which may hold a code
                response.status_code,
                1000 * (time.perf_counter() - g.started),
            )
        return response
