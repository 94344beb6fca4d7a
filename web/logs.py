"""The log: one line for what people do and for what fails, and never a secret."""

import logging
import traceback
from typing import Any

from flask import Flask
from flask.logging import default_handler

from config import Config
from problems import log


class App(Flask):
    """Flask, but it logs no text of an unexpected error, which may hold a secret."""

    def log_exception(self, exc_info: Any) -> None:
        places = "".join(traceback.format_tb(exc_info[2]))
        log.error("%s at\n%s", exc_info[0].__name__, places)


def init_app(app: Flask, config: Config) -> None:
    """Log to stderr, as Flask does, unless somebody has set that up already."""
    if not log.hasHandlers():
        log.addHandler(default_handler)
        log.propagate = False  # a server may set up the root later
    log.setLevel(log.level or logging.INFO)
