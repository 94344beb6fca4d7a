"""The app with a crowd in its store, and its page from a bare Flask view."""

import json
import os
import time
from secrets import token_urlsafe

from flask import Flask, render_template, session

from app import create_app
from playback import read
from user import Account, Answer, Token, User

from .double import PLAYING


def crowded_app() -> object:
    """Return the app with CROWD people logged in, each with strings of their own."""
    app = create_app()
    for name in map(str, range(int(os.environ["CROWD"]))):
        now, playing = time.time(), read(json.loads(PLAYING.replace("PERSON", name)))
        token = Token(token_urlsafe(155), token_urlsafe(98), now + 3600)
        user = User(token, Account(name, name), Answer(now, playing))
        app.extensions["store"].users.put(token_urlsafe(24), user)
    return app.extensions["lanes"]


def bare_app() -> Flask:
    """Return Flask with a session and the app's template, always of one person."""
    app, now = Flask(__name__), read(json.loads(PLAYING.replace("PERSON", "p00000")))
    app.secret_key, app.jinja_env = "aliens", create_app().jinja_env
    facts = {"account": Account("p00000", "p00000"), "now": now, "poll_after_ms": 5000}

    @app.get("/callback")
    @app.get("/")
    def main() -> str:
        user_id = session.setdefault("user", token_urlsafe(24))
        return render_template("index.html", user_id=user_id, **facts)

    return app
