"""`python app.py`: check settings and port, start the demo if need be, serve."""

import argparse
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from importlib import import_module
from ipaddress import ip_address
from multiprocessing import parent_process
from threading import Thread
from typing import Any, TextIO
from urllib.parse import urlsplit

from addresses import port_of
from config import DASHBOARD, DEMO_CLIENT_ID, DOTENV, Config, ConfigError, read_environ
from player import MOST_WAITING, User
from store.file import FileStore

from .hints import hints

HELP = f"""Log in with Spotify and see what you're playing. The settings are environment
variables, or stand in {DOTENV}; docs/settings.md lists them. Without
SPOTIFY_CLIENT_ID it is a demo: no Spotify app needed, all on this machine."""
GRACE_SECONDS = 10  # for requests in flight when the server is told to stop
MOST_CONNECTIONS = 16_384  # open at once, in each worker
HEADER_BYTES = 24_576  # of all headers together; more is answered with 431
SPARE_THREADS = 32  # for pages that need no call, and for probes
# Threads that wait for Python's lock wake up this often to ask for it. With the usual
# 5 ms, that alone takes a tenth of the CPU when many wait, and nobody is served sooner.
SWITCH_SECONDS = 0.02


def main() -> int:
    """Serve until a signal comes. Returns the exit status: 2 for what needs a fix."""
    argparse.ArgumentParser("python app.py", description=HELP).parse_args()
    try:
        for hint in hints(os.environ):
            _say(hint)
        if "SPOTIFY_CLIENT_ID" not in read_environ(os.environ):
            os.environ["SPOTIFY_CLIENT_ID"] = DEMO_CLIENT_ID
        config = Config.from_env(read_environ(os.environ))
        _check_port(config)
        if config.logins_file and not config.demo:  # else the worker would find out
            FileStore(config.logins_file, User, time).close()
        _say(greeting(config))
        _serve(config)
    except ConfigError as error:
        _say(str(error), sys.stderr)
        return 2
    return 0


def load_app(module: str) -> Any:
    """Set up a worker process, and return the app that it serves."""
    sys.setswitchinterval(SWITCH_SECONDS)
    # Its main process's handler, which it was born with, would not stop it meanwhile.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if main_process := parent_process():
        if hasattr(os, "setpgrp"):
            # A terminal signals the main process alone, which tells its workers: of
            # workers that both told to stop, one in eight did not.
            os.setpgrp()

        def end_with_main_process() -> None:  # also if that was killed
            main_process.join()
            os._exit(1)

        Thread(target=end_with_main_process, daemon=True).start()
    return import_module(module).create_app()


def _check_port(config: Config) -> None:
    """Raise ConfigError if the address can't be served at.

    Granian would not notice: it shares the port with whoever has it (SO_REUSEPORT).
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        socket.create_server((config.host, config.port), family=family).close()
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise ConfigError(
            [
                f"PORT {config.port} on {config.host} can't be used ({why}): stop what "
                "uses it, or set another PORT or HOST. (On macOS, AirPlay Receiver "
                "holds port 5000; System Settings turns it off.)"
            ]
        ) from None


def _serve(config: Config) -> None:
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels
    from granian.server import Server

    server = Server(
        "stand_in.demo" if config.demo else "app",
        address=config.host,
        port=config.port,
        interface=Interfaces.WSGI,
        workers=1 if config.demo else config.workers,
        respawn_failed_workers=True,
        workers_kill_timeout=GRACE_SECONDS,
        # Enough for all who may wait: four for each call to the API, a quarter of that
        # for logins and for refreshes each, and who waits for another visit.
        blocking_threads=6 * config.threads + 8 + MOST_WAITING + SPARE_THREADS,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(max_buffer_size=HEADER_BYTES),
        backpressure=MOST_CONNECTIONS,
        log_level=LogLevels.error,
    )
    if hasattr(signal, "SIGHUP"):
        ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # by nohup

        @server.on_startup
        def stop_on_hangup() -> None:  # where granian would start its workers anew
            stop = signal.getsignal(signal.SIGTERM)
            signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else stop)

    # A loader of our own, because granian's looks into the current folder first.
    server.serve(target_loader=load_app)


def greeting(config: Config) -> str:
    """Say where the app is, and what the dashboard has to know."""
    lines = [f"Open {config.origin}"]
    uri = urlsplit(config.redirect_uri)
    host = uri.hostname if ip_address(config.host).is_unspecified else config.host
    if uri.scheme == "https" or (host, config.port) != (uri.hostname, port_of(uri)):
        host = f"[{config.host}]" if ":" in config.host else config.host
        lines.append(
            f"The server listens on {host}:{config.port}: a proxy or a forwarded port "
            "has to lead there"
        )
    if not config.demo:
        lines.append(f"Redirect URI for {DASHBOARD}: {config.redirect_uri}")
    return "\n".join(lines)


def _say(text: str, stream: TextIO | None = None) -> None:
    """Print, even where nobody reads."""
    with suppress(OSError):
        print(text, file=stream, flush=True)
