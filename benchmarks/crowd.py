"""The app with a crowd in its store."""

import os
import sys
import time
from secrets import token_urlsafe

from flask import Flask

from app import create_app
from player import User
from spotify.client import Account
from spotify.tokens import Token
from store.memory import MemoryStore
from web.server import SWITCH_SECONDS

sys.setswitchinterval(SWITCH_SECONDS)  # as in the app


def create_crowded_app() -> Flask:
    """Return the app with CROWD people logged in, each with strings of their own."""
    store: MemoryStore[User] = MemoryStore(time.monotonic)
    for name in map(str, range(int(os.environ["CROWD"]))):
        access, refresh, now = token_urlsafe(155), token_urlsafe(98), time.time()
        token = Token(access, refresh, now + 3600, now, True)
        store.users.put(token_urlsafe(24), User(token, Account(name, name)))
    return create_app(store=store)
