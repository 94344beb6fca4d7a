"""`python app.py`: check settings and port, start the demo if need be, serve."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from config import DASHBOARD, DEMO_CLIENT_ID, Config, ConfigError, read_environ

HOME = Path(__file__).parent
GRACE_SECONDS = 20  # for requests in flight when the server is told to stop

LOGGING: dict[str, Any] = {
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "handlers": {"err": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "now_playing": {"level": "INFO", "handlers": ["err"]},
        "_granian": {"handlers": ["err"]},
    },
}


def main() -> int:
    """Serve until a signal comes. Returns the exit status: 2 for what needs a fix."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        settings = read_environ(os.environ)
        with _demo(settings) if "SPOTIFY_CLIENT_ID" not in settings else nullcontext():
            config = Config.from_env(settings)
            if problem := _port_problem(config):
                print(problem, file=sys.stderr)
                return 2
            os.environ.update(settings)
            print(_greeting(config), flush=True)
            _serve(config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


@contextmanager
def _demo(settings: MutableMapping[str, str]) -> Iterator[None]:
    """Run the stand-in for Spotify beside the app, and point the settings at it."""
    if "SPOTIFY_CLIENT_SECRET" in settings:
        print("SPOTIFY_CLIENT_SECRET is set without SPOTIFY_CLIENT_ID: so only a demo")
    command = [sys.executable, "-m", "stand_in", "--port", "0"]
    with subprocess.Popen(
        command, cwd=HOME, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            line = child.stdout.readline() if child.stdout else ""
            if not line:
                raise ConfigError(["The demo could not start its stand-in: see above"])
            url = line.split()[-1]
            settings.update(
                SPOTIFY_CLIENT_ID=DEMO_CLIENT_ID,
                SPOTIFY_CLIENT_SECRET="",
                SPOTIFY_ACCOUNTS_URL=url,
                SPOTIFY_API_URL=f"{url}/v1",
            )
            yield
        finally:
            child.terminate()


def _serve(config: Config) -> None:
    # Granian binds with SO_REUSEPORT: hence the check of the port before.
    from granian.constants import HTTPModes, Interfaces
    from granian.log import LogLevels
    from granian.server import Server

    Server(
        "app:create_asgi_app",
        factory=True,
        address=config.host,
        port=config.port,
        interface=Interfaces.ASGINL,
        workers=config.workers,
        workers_kill_timeout=GRACE_SECONDS,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig=LOGGING,
        working_dir=HOME,
    ).serve()


def _greeting(config: Config) -> str:
    """Say where the app is, and what the dashboard has to know."""
    where = f"Open {config.origin}"
    if config.demo:
        return f"{where} for the demo: no Spotify app needed, all on this machine"
    return f"{where}\nRedirect URI for {DASHBOARD}: {config.redirect_uri}"


def _port_problem(config: Config) -> str | None:
    """Tell in a sentence why the address can't be served at, or None."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        socket.create_server((config.host, config.port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return (
                f"Port {config.port} is taken: stop what uses it, or set another PORT. "
                "(On macOS, AirPlay Receiver holds 5000; System Settings turns it off.)"
            )
        why = os.strerror(error.errno or 0)
        return f"Can't listen on {config.host} ({why}): set another HOST or PORT."
    return None
