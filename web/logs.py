"""The log: one line for what people do and for what fails, and never a secret."""

import logging
import sys
import traceback
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, request

from config import Config

ROUTINE = ("main", "now_playing", "static", "healthz", "readyz")

log = logging.getLogger("now_playing")


class App(Flask):
    """Flask, but it logs no text of an unexpected error, which may hold a secret."""

    def log_exception(self, exc_info: Any) -> None:
        places = "".join(traceback.format_tb(exc_info[2]))
        log.error("%s at\n%s", exc_info[0].__name__, places)


def init_app(app: Flask, config: Config) -> None:
    """Log each request, and log to stderr unless somebody has set that up already."""
    if not log.hasHandlers():
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        log.propagate = False  # a server may set up the root later
    log.setLevel(log.level or logging.INFO)

    @app.after_request
    def log_request(response: Response) -> Response:
        # Pages and polls that go well would bury the rest.
        routine = response.status_code < 400 and request.endpoint in ROUTINE
        level = logging.DEBUG if routine else logging.INFO
        if log.isEnabledFor(level):
            # Without the query, which may hold a code.
            what = quote(f"{request.method} {request.path}", "/ ")
            log.log(level, "%s %d", what, response.status_code)
        return response
