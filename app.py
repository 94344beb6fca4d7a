"""Log in with Spotify, see what is playing, log out."""

import os
import time
from secrets import token_urlsafe

import tekore as tk
from flask import Flask, redirect, render_template, request, session
from flask.typing import ResponseReturnValue

from config import Config, read_environ
from player import Player, User, log_user
from problems import Problem
from spotify import Sender, Spotify, authorize_url, login_error, request_token
from store import Clock, Store, open_store
from web import logs, pages, security, server
from web.security import query_argument, refuse_other_sites

SCOPE = tk.scope.user_read_currently_playing


def create_app(
    config: Config | None = None, store: Store[User] | None = None, clock: Clock = time
) -> Flask:
    """Return the app. Raises ConfigError when a setting is missing or wrong."""
    config = config or Config.from_env(read_environ(os.environ))
    app = logs.App(__name__, static_url_path=pages.static_url_path())
    for part in (logs, security, pages):
        part.init_app(app, config)

    sender = Sender(config, clock.monotonic)
    conf = config.client_id, config.client_secret, config.redirect_uri
    cred = tk.Credentials(*conf, sender)
    spotify = Spotify(config, sender)
    store = store or open_store(config, User, clock)
    auths = store.auths  # Pending logins: state and browser -> PKCE code verifier
    users = store.users  # Logged-in people: user ID -> User, which has the token
    player = Player(cred, spotify, store, clock)
    app.secret_key = config.secret_key or store.secret_key

    @app.get("/")
    def main() -> str:
        user_id = session.get("user", "")
        try:
            current = player.now_playing(user_id, look=True)
            return render_template("index.html", user_id=user_id, current=current)
        except Problem as problem:
            if problem.status != 401:
                raise
            if problem.name == "session_unknown":  # else this took a while, and by now
                del session["user"]  # another tab may have logged in again
            return pages.welcome(problem)

    @app.get("/login")
    def login() -> ResponseReturnValue:
        if users.get(session.get("user", "")):
            return redirect("/", 307)
        auth = tk.UserAuth(cred, SCOPE, pkce=config.client_secret is None)
        # The login is this browser's alone (RFC 9700 §4.7, login CSRF).
        browser = session.setdefault("browser", token_urlsafe(24))
        auths.put(f"{auth.state}:{browser}", auth.verifier or "")
        return redirect(authorize_url(config, auth), 307)

    @app.get("/callback")
    def callback() -> ResponseReturnValue:
        code, state = query_argument("code"), query_argument("state")
        key = f"{state}:{session.get('browser')}"
        if (verifier := auths.pop(key)) is None:
            raise Problem("invalid_state")
        if error := request.args.get("error"):
            raise login_error(error)
        try:
            token = request_token(cred, code, verifier, clock.time())
        except Problem as problem:
            if problem.name in ("login_later", "busy"):  # a reload may try again
                auths.put(key, verifier)
            raise
        user_id = token_urlsafe(24)
        users.put(user_id, User(token, spotify.account(token)))
        log_user("login", user_id)
        users.pop(session.get("user", ""))
        session["user"], session.permanent = user_id, True
        return redirect("/", 307)

    @app.route("/logout", methods=["GET", "POST"])
    def logout() -> ResponseReturnValue:
        refuse_other_sites()
        if (user_id := session.get("user", "")) and users.pop(user_id):
            log_user("log-out", user_id)
        session.clear()
        return redirect("/", 303 if request.method == "POST" else 307)

    @app.get("/now-playing")
    def now_playing() -> ResponseReturnValue:
        user_id, look = session.get("user", ""), bool(request.cache_control.no_cache)
        return pages.player(player.now_playing(user_id, look))

    @app.get("/healthz")
    def healthz() -> str:
        return "alive"

    @app.get("/readyz")
    def readyz() -> ResponseReturnValue:
        return ("ready", 200) if store.ready() else ("not ready", 503)

    return app


if __name__ == "__main__":
    server.main()
