"""The app with a crowd in its store, and its page from a bare Flask view."""

import json
import os
import sys
import time
from secrets import token_urlsafe

from flask import Flask, get_template_attribute, render_template, session

from app import create_app
from config import Config, read_environ
from player import User
from spotify import Token
from spotify.client import Account
from spotify.playback import read
from store.memory import MemoryStore
from web.server import SWITCH_SECONDS

from .double import PLAYING

sys.setswitchinterval(SWITCH_SECONDS)  # as the app has it


def crowded_app() -> Flask:
    """Return the app with CROWD people logged in, each with strings of their own."""
    config = Config.from_env(read_environ(os.environ))
    store: MemoryStore[User] = MemoryStore(time.monotonic)
    for name in map(str, range(int(os.environ["CROWD"]))):
        access, refresh, now = token_urlsafe(155), token_urlsafe(98), time.time()
        token = Token(access, refresh, now + 3600, now, True)
        store.users.put(token_urlsafe(24), User(token, Account(name, name)))
    return create_app(config, store)


def bare_app() -> Flask:
    """Return Flask with a session and the app's template, always of one person."""
    app, now = Flask(__name__), read(json.loads(PLAYING.replace("PERSON", "p00000")))
    app.secret_key, app.jinja_env = "aliens", create_app().jinja_env
    account = Account("p00000", "p00000")

    @app.get("/callback")
    @app.get("/")
    def main() -> str:
        user_id = session.setdefault("user", token_urlsafe(24))
        player = get_template_attribute("player.html", "player")(now, None, 5000, "")
        facts = {"account": account, "player": player, "poll_after_ms": 5000}
        return render_template("index.html", user_id=user_id, **facts)

    return app
