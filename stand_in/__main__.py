"""Run the stand-in on its own: python -m stand_in --port 8888."""

import argparse
from contextlib import suppress
from threading import Event

from . import StandIn

GREETING = """\
Stand-in for Spotify on {0}
Write these lines into the app's .env to point it there:

SPOTIFY_CLIENT_ID=stand-in
SPOTIFY_ACCOUNTS_URL={0}
SPOTIFY_API_URL={0}/v1

What plays and what fails: {0}/switches (Ctrl+C ends)"""

parser = argparse.ArgumentParser(prog="python -m stand_in")
parser.add_argument("--port", type=int, default=8888, help="0 takes any free one")
with suppress(KeyboardInterrupt), StandIn(port=parser.parse_args().port) as stand_in:
    print(GREETING.format(stand_in.url), flush=True)
    Event().wait()
