"""`python app.py`: check settings and port, start the demo if need be, serve."""

import argparse
import os
import signal
import socket
import ssl
import sys
import time
from importlib import import_module
from multiprocessing import parent_process
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from addresses import port_of
from config import (
    CLIENT_ID,
    DASHBOARD,
    Config,
    ConfigError,
    demo_settings,
    hints,
    read_environ,
)
from player import MOST_WAITING, User
from store.file import FileStore

HELP = """Log in with Spotify and see what you're playing. The settings are environment
variables, or stand in .env beside app.py; docs/settings.md lists them. Without
SPOTIFY_CLIENT_ID it is a demo: no Spotify app needed, all on this machine."""
MOST_CONNECTIONS = 16_384  # open at once, in each worker
# Threads that wait for Python's lock wake up this often to ask for it. With the usual
# 5 ms, that alone takes a tenth of the CPU when many wait, and nobody is served sooner.
SWITCH_SECONDS = 0.02


def main() -> None:
    """Serve until a signal comes. Exits with status 2 if something needs a fix."""
    parser = argparse.ArgumentParser("python app.py", description=HELP)
    parser.parse_args()
    try:
        for hint in hints(os.environ):
            _say(hint)
        environ = read_environ(os.environ)
        if CLIENT_ID not in environ:
            environ = demo_settings(environ)
        config = Config.from_env(environ)
        _check_port(config)
        _check_certificates()
        if config.logins_file:  # else the worker would find out
            FileStore(config.logins_file, User, time).close()
        _say(greeting(config))
        _serve(config)
    except ConfigError as error:
        parser.exit(2, f"{error}\n")


def greeting(config: Config) -> str:
    """Say where the app is, and what the dashboard has to know."""
    lines, uri = [f"Open {config.origin}"], urlsplit(config.redirect_uri)
    is_elsewhere = config.host not in (uri.hostname, "0.0.0.0", "::")
    if is_elsewhere or config.port != port_of(uri):
        host = f"[{config.host}]" if ":" in config.host else config.host
        listens = f"The server listens on {host}:{config.port}: "
        lines.append(f"{listens}a proxy or a forwarded port has to lead there")
    if not config.demo:
        lines.append(f"Redirect URI for {DASHBOARD}: {config.redirect_uri}")
    return "\n".join(lines)


def load_app(module: str) -> Any:
    """Set up a worker process, and return the app that it serves."""
    sys.setswitchinterval(SWITCH_SECONDS)
    # The handler that it inherits from the main process would not stop it meanwhile.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if main_process := parent_process():
        if hasattr(os, "setpgrp"):
            # So that a terminal signals the main process alone, which tells its
            # workers. Of workers that were told by both, one in eight did not stop.
            os.setpgrp()

        def end_with_main_process() -> None:  # also if that was killed
            main_process.join()
            os._exit(1)

        Thread(target=end_with_main_process, daemon=True).start()
    return import_module(module).create_app()


def _check_port(config: Config) -> None:
    """Raise ConfigError if it is taken, which granian would share (SO_REUSEPORT)."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        socket.create_server((config.host, config.port), family=family).close()
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        problem = f"PORT {config.port} on {config.host} can't be used ({why}): "
        fix = "stop what uses it (on macOS: AirPlay Receiver), or set another PORT"
        raise ConfigError([problem + fix]) from None


def _check_certificates() -> None:
    """Raise ConfigError if SSL_CERT_FILE holds none, or every call would fail."""
    try:
        if path := os.environ.get("SSL_CERT_FILE"):
            ssl.create_default_context(cafile=path)
    except OSError:
        problem = f"SSL_CERT_FILE {path} can't be read: name a file of certificates"
        raise ConfigError([problem]) from None


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
        workers_kill_timeout=10,  # seconds for requests in flight
        # Enough for all who may wait: four for each call to the API, a quarter of that
        # for logins and for refreshes each, who waits for another visit, and 40 more.
        blocking_threads=6 * config.threads + MOST_WAITING + 40,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(max_buffer_size=24_576),  # bytes of headers
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


def _say(text: str) -> None:
    """Print, and go on if nobody can read it."""
    try:
        print(text, flush=True)
    except OSError:  # else what is left of it would fail again, and end the server
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
