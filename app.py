"""The app: log in with Spotify, see what is playing, log out."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import sys
import time
from collections.abc import Callable

from flask import Flask, Response, redirect, request, session
from werkzeug.wrappers import Response as BaseResponse

import guard
from config import Config, read_environ
from lanes import Lanes
from listeners import Listeners
from pages import Pages
from problems import Problem
from sender import Sender
from spotify import Spotify
from store import MemoryStore, Store

LONGEST_CODE = 2048  # characters

log = logging.getLogger("now_playing")


def create_app(
    config: Config | None = None, *, clock: Callable[[], float] = time.time
) -> Flask:
    """Return the app. config: read from the environment and .env if not given.

    Raises ConfigError when a setting is missing or wrong.
    """
    config = config or Config.from_env(read_environ(os.environ))
    app = guard.App(__name__)
    lanes = Lanes(app, config.threads)
    store: Store = MemoryStore(lanes.queueing, clock)
    if url := config.redis_url:
        from redis_store import RedisStore  # with packages that only it needs

        store = RedisStore(url, config.secret_key, lanes.queueing, lanes.need_thread)
    sender = Sender(config, store, lanes.calling)
    spotify = Spotify(config, sender, clock)
    listeners = Listeners(spotify, store, config.deadline, clock)
    guard.install(app, config, spotify.art_origin)
    pages = Pages(app, config)
    # For whoever serves the app, or embeds it.
    app.extensions.update(lanes=lanes, store=store, sender=sender)

    @app.get("/")
    def main() -> str:
        notice = session.pop("notice", None) if request.method == "GET" else None
        if user_id := session.get("user"):
            try:
                return pages.main(user_id, listeners.look(user_id, with_account=True))
            except Problem as problem:
                if problem.status != 401:
                    raise
                notice = problem.name
                listeners.log_out(session.pop("user"))
        return pages.welcome(notice)

    @app.get("/login")
    def login() -> BaseResponse:
        if listeners.knows(session.get("user")):
            return redirect("/", 307)
        pending = spotify.begin_login()
        browser = session.setdefault("browser", secrets.token_urlsafe(24))
        store.auths.put(_auth_key(pending.state, browser), pending.verifier)
        return redirect(pending.url, 307)

    @app.get(config.callback_path)
    def callback() -> BaseResponse:
        # Both before the pending login is used up.
        lanes.need_thread()
        if seconds := store.paused():
            raise Problem("login_later", seconds)
        browser = session.get("browser", "")
        verifier = store.auths.pop(_auth_key(_argument("state"), browser))
        if verifier is None:
            log.warning("login refused: invalid state")
            raise Problem("invalid_state")
        if "error" in request.args:
            denied = _argument("error") == "access_denied"
            session["notice"] = "cancelled" if denied else "login_failed"
            return redirect("/", 307)
        code = _argument("code")
        if not 0 < len(code) <= LONGEST_CODE:
            raise Problem("code_refused")
        user_id = listeners.log_in(code, verifier)
        if old := session.get("user"):
            listeners.log_out(old)
        session.clear()
        # The browser's value stays, for a login that another tab has begun.
        session.update(browser=browser, user=user_id)
        session.permanent = True
        return redirect("/", 307)

    @app.route("/logout", methods=["GET", "POST"])
    def logout() -> BaseResponse:
        if user_id := session.get("user"):
            listeners.log_out(user_id)
            pages.forget()
        session.clear()
        return redirect("/", 303 if request.method == "POST" else 307)

    @app.get("/now-playing")
    def now_playing() -> Response:
        try:
            return pages.player(listeners.look(session.get("user")))
        except Problem as problem:
            return pages.trouble(problem)

    @app.get("/healthz")
    def healthz() -> str:
        return "alive"

    @app.get("/readyz")
    def readyz() -> tuple[str, int]:
        return ("ready", 200) if store.ready() else ("not ready", 503)

    return app


def create_asgi_app() -> Lanes:
    """Return the app in the form that `python app.py` serves. Raises ConfigError."""
    lanes: Lanes = create_app().extensions["lanes"]
    return lanes


def _argument(name: str) -> str:
    """Return a query argument, empty unless it is there exactly once."""
    values = request.args.getlist(name)
    return values[0] if len(values) == 1 else ""


def _auth_key(state: str, browser: str) -> str:
    """Bind a login to the browser that began it (RFC 9700 §4.7, login CSRF)."""
    return hashlib.sha256(f"{state}:{browser}".encode("utf-8", "replace")).hexdigest()


if __name__ == "__main__":
    import server

    sys.exit(server.main())
