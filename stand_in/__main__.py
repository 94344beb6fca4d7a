"""Run the stand-in on its own: python -m stand_in --port 8888."""

import argparse
import sys
import time
from contextlib import suppress

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
    port = parser.parse_args().port
    try:
        stand_in = StandIn(port)
    except (OSError, OverflowError):
        print(f"Port {port} can't be used: try another --port.", file=sys.stderr)
        return 2
    with suppress(KeyboardInterrupt), stand_in:
        print(GREETING.format(url=stand_in.url), flush=True)
        while True:
            time.sleep(3600)
    return 0


if __name__ == "__main__":
    sys.exit(main())
