"""`python app.py`: check settings and port, start the demo if need be, serve."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TextIO

from config import DASHBOARD, DEMO_CLIENT_ID, Config, ConfigError, read_environ

HOME = Path(__file__).parent.parent
GRACE_SECONDS = 10  # for requests in flight when the server is told to stop

# Set here, so that many connections which say little stop nobody.
BACKLOG = 4_096  # connections that the system accepts ahead of the server
MOST_CONNECTIONS = 16_384  # open at once, in each worker
HEADER_MS = 10_000  # milliseconds for a request's headers to arrive
HEADER_BYTES = 24_576  # of all headers together; more is answered with 431
SPARE_THREADS = 32  # for pages that need no call, and for probes
# Threads that wait for Python's lock wake up this often to ask for it. With the usual
# 5 ms, that alone takes a tenth of the CPU when many wait, and nobody is served sooner.
SWITCH_SECONDS = 0.02

# Names that people write by mistake, or know from another library.
MISNOMER = re.compile(r"(?:SPOTI[FP]Y_?)?(CLIENT|REDIRECT)_?(ID|SECRET|UR[IL])")


def main() -> int:
    """Serve until a signal comes. Returns the exit status: 2 for what needs a fix."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        settings = read_environ(os.environ)
        for hint in _misspelt(settings):
            _say(hint)
        with nullcontext() if "SPOTIFY_CLIENT_ID" in settings else _demo():
            config = Config.from_env(read_environ(os.environ))
            _check_port(config)
            _say(_greeting(config))
            _serve(config)
    except ConfigError as error:
        _say(str(error), sys.stderr)
        return 2
    return 0


@contextmanager
def _demo() -> Iterator[None]:
    """Run the stand-in for Spotify beside the app, and point the settings at it."""
    command = [sys.executable, "-m", "stand_in", "--port", "0"]
    with subprocess.Popen(
        command, cwd=HOME, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            line = child.stdout.readline() if child.stdout else ""
            if not line:
                raise ConfigError(["The demo could not start its stand-in: see above"])
            url = line.split()[-1]
            os.environ.update(
                SPOTIFY_CLIENT_ID=DEMO_CLIENT_ID,
                SPOTIFY_CLIENT_SECRET="",
                SPOTIFY_ACCOUNTS_URL=url,
                SPOTIFY_API_URL=f"{url}/v1",
            )
            yield
        finally:
            child.terminate()


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

    files = _allow_open_files(2 * MOST_CONNECTIONS)
    sys.setswitchinterval(SWITCH_SECONDS)
    server = Server(
        f"{HOME / 'app.py'}:create_app",  # whichever folder this was started in
        factory=True,
        address=config.host,
        port=config.port,
        interface=Interfaces.WSGI,
        workers=config.workers,
        respawn_failed_workers=True,
        workers_kill_timeout=GRACE_SECONDS,
        # Enough for all who may wait: four for each call to the API, a quarter of that
        # for logins and for refreshes each, and two for others of the same person.
        blocking_threads=8 * config.threads + SPARE_THREADS,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=HEADER_MS, max_buffer_size=HEADER_BYTES
        ),
        backlog=BACKLOG,
        backpressure=min(MOST_CONNECTIONS, files // 2),  # or Spotify gets none
        websockets=False,
        log_level=LogLevels.error,
    )
    if hasattr(os, "fork"):
        # A terminal signals this process alone, which tells its workers: one that is
        # told twice within a moment may never end.
        os.register_at_fork(after_in_child=os.setpgrp)
        ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # by nohup

        @server.on_startup
        def stop_on_hangup() -> None:  # where granian would start its workers anew
            stop = signal.getsignal(signal.SIGTERM)
            signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else stop)

    server.serve()


def _allow_open_files(count: int) -> int:
    """Raise this process's limit of open files, one for each connection; return it."""
    with suppress(ImportError, OSError, ValueError):  # Windows has no such limit
        import resource

        soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if most != resource.RLIM_INFINITY:
            count = min(count, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), most))
    return count


def _greeting(config: Config) -> str:
    """Say where the app is, and what the dashboard has to know."""
    where = f"Open {config.origin}"
    if config.demo:
        return f"{where} for the demo: no Spotify app needed, all on this machine"
    return f"{where}\nRedirect URI for {DASHBOARD}: {config.redirect_uri}"


def _misspelt(names: Iterable[str]) -> Iterator[str]:
    """Give a hint for each name that looks like a setting of this app, but isn't."""
    for name in sorted(names):
        if match := MISNOMER.fullmatch(name.upper()):
            kind = match[2].replace("URL", "URI")
            right = f"SPOTIFY_{match[1]}_{kind}".upper()
            if name != right:
                yield f"{name} is not a setting of this app: use {right}"


def _say(text: str, stream: TextIO | None = None) -> None:
    """Print, even where nobody reads."""
    with suppress(OSError):
        print(text, file=stream, flush=True)
