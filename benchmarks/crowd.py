"""Many people in the app's store: to weigh them, and to serve a page among them.

`python -m benchmarks.crowd users 100000` prints the memory without and with them.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from secrets import token_hex, token_urlsafe

from app import create_app
from lanes import Lanes
from playback import read
from stand_in.programme import programme
from store import MemoryStore
from user import Account, Answer, Token, User

from .servers import resident


def add_users(store: MemoryStore, count: int) -> None:
    """Let people log in and look at their page, each with strings of their own."""
    payload = json.dumps(programme("https://i.scdn.co")["track"].answer)
    for n in range(count):
        now = time.time()
        # Access and refresh token about as long as Spotify's.
        token = Token(token_urlsafe(160), token_urlsafe(98), now + 3600)
        account = Account(f"Somebody {n}", token_hex(14))
        answer = Answer(now, read(json.loads(payload)))
        store.users.put(token_urlsafe(24), User(token, account, answer))


def add_logins(store: MemoryStore, count: int) -> None:
    """Let people begin a login and never come back."""
    for _ in range(count):
        store.auths.put(token_hex(32), token_urlsafe(96))


def create_asgi_app() -> Lanes:
    """Return the app with as many people as CROWD says."""
    extensions = create_app().extensions
    add_users(extensions["store"], int(os.environ["CROWD"]))
    lanes: Lanes = extensions["lanes"]
    return lanes


def main() -> None:
    add = {"users": add_users, "logins": add_logins}[sys.argv[1]]
    store = create_app().extensions["store"]
    gc.collect()
    before = resident(os.getpid())
    add(store, int(sys.argv[2]))
    gc.collect()
    print(json.dumps([before, resident(os.getpid())]))


if __name__ == "__main__":
    main()
