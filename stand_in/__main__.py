"""Run the stand-in on its own: python -m stand_in --port 8888."""

import argparse
import sys
from contextlib import suppress
from threading import Event

from . import StandIn

GREETING = """\
Stand-in for Spotify on {url}
Point the app at it:
  export SPOTIFY_CLIENT_ID=stand-in
  export SPOTIFY_ACCOUNTS_URL={url}
  export SPOTIFY_API_URL={url}/v1
What plays and what fails: {url}/switches (Ctrl+C ends)"""

parser = argparse.ArgumentParser(prog="python -m stand_in")
parser.add_argument("--port", type=int, default=8888, help="0 takes any free one")
port = parser.parse_args().port
try:
    stand_in = StandIn(port)
except (OSError, OverflowError):
    sys.exit(f"Port {port} can't be used: try another --port.")
with suppress(KeyboardInterrupt), stand_in:
    print(GREETING.format(url=stand_in.url), flush=True)
    Event().wait()
