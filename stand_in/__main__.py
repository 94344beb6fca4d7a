"""Run the stand-in on its own: python -m stand_in --port 8888."""

import argparse
import signal
import sys
import threading

from . import StandIn

GREETING = """\
Stand-in for Spotify on {url}
Point the app at it:
  export SPOTIFY_CLIENT_ID=stand-in
  export SPOTIFY_ACCOUNTS_URL={url}
  export SPOTIFY_API_URL={url}/v1
What plays and what fails: {url}/switches (Ctrl+C ends)"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stand_in")
    parser.add_argument("--port", type=int, default=8888, help="0 takes any free one")
    port, done = parser.parse_args().port, threading.Event()
    try:
        stand_in = StandIn(port)
    except (OSError, OverflowError):
        print(f"Port {port} is taken: choose another with --port.", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with stand_in:
        print(GREETING.format(url=stand_in.url), flush=True)
        while not done.wait(1):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
