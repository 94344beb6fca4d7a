"""Log in with Spotify, see what is playing, log out."""

import os
import sys
import time
from secrets import token_urlsafe

from flask import Flask, Response, redirect, request, session
from werkzeug.wrappers import Response as BaseResponse

from config import Config, read_environ
from problems import Problem
from spotify import Spotify
from store import Clock, Store, open_store
from users import User, Users
from web import logs, pages, security
from web.security import argument


def create_app(
    config: Config | None = None, store: Store[User] | None = None, clock: Clock = time
) -> Flask:
    """Return the app. config: from the environment and .env, if not given.

    Raises ConfigError when a setting is missing or wrong.
    """
    config = config or Config.from_env(read_environ(os.environ))
    app = logs.App(__name__, static_url_path=pages.static_url_path())
    logs.install(app)
    security.install(app, config)
    pages.init_app(app, config)

    store = store or open_store(config, User, clock)
    auths, people = store.auths, store.users
    spotify = Spotify(config, store.paused, store.pause, clock.time)
    users = Users(spotify, people, config.deadline)

    @app.get("/")
    def main() -> str | Response:
        user_id = session.get("user")
        if user_id is None:
            return pages.welcome()
        try:
            return pages.main(user_id, users.now_playing(user_id, with_account=True))
        except Problem as problem:
            if problem.status != 401:
                raise
            users.log_out(session.pop("user"))
            return pages.welcome(problem)

    @app.get("/login")
    def login() -> BaseResponse:
        if users.is_logged_in(session.get("user")):
            return redirect("/", 307)
        auth = spotify.begin_login()
        # The login is this browser's alone (RFC 9700 §4.7, login CSRF).
        browser = session.setdefault("browser", token_urlsafe(24))
        auths.put(f"{auth.state}:{browser}", auth.verifier)
        return redirect(auth.url, 307)

    @app.get(config.callback_path)
    def callback() -> BaseResponse:
        key = f"{argument('state')}:{session.get('browser')}"
        verifier = auths.pop(key)
        if verifier is None:
            raise Problem("invalid_state")
        if error := request.args.get("error"):
            raise Problem("cancelled" if error == "access_denied" else "login_failed")
        try:
            user_id = users.log_in(argument("code"), verifier)
        except Problem as problem:
            if problem.name in ("login_later", "busy"):  # a reload may try again
                auths.put(key, verifier)
            raise
        users.log_out(session.get("user"))
        session["user"] = user_id
        session.permanent = True
        return redirect("/", 307)

    @app.route("/logout", methods=["GET", "POST"])
    def logout() -> BaseResponse:
        users.log_out(session.get("user"))
        session.clear()
        return redirect("/", 303 if request.method == "POST" else 307)

    @app.get("/now-playing")
    def now_playing() -> Response:
        user_id = session.get("user")
        look = request.headers.get("Cache-Control") == "no-cache"
        return pages.player(user_id or "", users.now_playing(user_id, look=look))

    @app.get("/healthz")
    def healthz() -> str:
        return "alive"

    @app.get("/readyz")
    def readyz() -> tuple[str, int]:
        return ("ready", 200) if store.ready() else ("not ready", 503)

    return app


if __name__ == "__main__":
    from web import server

    sys.exit(server.main())
