"""Run the stand-in on its own: python -m stand_in --port 8888."""

import argparse
import signal
import sys
import threading

from . import StandIn

SETTINGS = """\
Point the app at it:
  export SPOTIFY_CLIENT_ID={id}
  export SPOTIFY_ACCOUNTS_URL={accounts}
  export SPOTIFY_API_URL={api}
What plays and what fails: {accounts}/switches (Ctrl+C ends)"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stand_in")
    parser.add_argument("--port", type=int, default=8888, help="0 takes any free one")
    parser.add_argument("--client-id", help="accept only this one")
    parser.add_argument("--client-secret", help="ask for it, except with PKCE")
    parser.add_argument("--redirect-uri", action="append", default=[], metavar="URI")
    parser.add_argument("--log", action="store_true", help="print every request")
    port, log = (args := vars(parser.parse_args())).pop("port"), args.pop("log")
    args["redirect_uris"] = args.pop("redirect_uri")
    try:
        stand_in = StandIn(port, **args)
    except (OSError, OverflowError):
        print(f"Port {port} is taken: choose another with --port.", file=sys.stderr)
        return 2
    stand_in.log, done = log, threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with stand_in:
        print(f"Stand-in for Spotify on {stand_in.url}", flush=True)
        known = stand_in.client_id or "stand-in"
        settings = {"accounts": stand_in.url, "api": stand_in.api_url, "id": known}
        print(SETTINGS.format(**settings), flush=True)
        while not done.wait(1):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
