"""The app: log in with Spotify, see what is playing, log out."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, redirect, render_template, request, session
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import URLSafeTimedSerializer
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

import guard
from config import Config, read_environ
from lanes import Lanes
from listeners import Listeners, Look, tag
from problems import KINDS, Problem
from sender import Sender
from spotify import Spotify
from store import open_store

COOKIE_DAYS = 180  # Spotify ends every login after six months
STEP_MS = 250  # between two pages that differ in nothing but the time
PAGES_KEPT = 256
LONGEST_CODE = 2048  # characters

log = logging.getLogger("now_playing")


def create_app(
    config: Config | None = None, *, clock: Callable[[], float] = time.time
) -> Flask:
    """Return the app. config: read from the environment and .env if not given.

    Raises ConfigError when a setting is missing or wrong.
    """
    config = config or Config.from_env(read_environ(os.environ))
    app = App(__name__)
    app.url_map.merge_slashes = False  # or a redirect would repeat the query
    app.config.update(
        _cookie_settings(config),
        SECRET_KEY=config.secret_key,
        SEND_FILE_MAX_AGE_DEFAULT=31_536_000,  # static URLs change with their content
    )
    app.session_interface = CookieSession(app)
    lanes = Lanes(app, config.threads)
    store = open_store(config, lanes, clock)
    sender = Sender(config, store, lanes.calling)
    spotify = Spotify(config, sender, clock)
    listeners = Listeners(spotify, store, config.deadline, clock)
    # For whoever serves the app, or embeds it.
    app.extensions.update(lanes=lanes, store=store, sender=sender)
    guard.install(app, config, spotify.art_origin)
    _add_errors(app)
    _add_template_globals(app, config)
    render = lru_cache(PAGES_KEPT)(render_template)

    @app.get("/")
    def main() -> str:
        seen = request.method == "GET"
        notice = session.pop("notice", None) if seen else None
        if user_id := session.get("user"):
            try:
                look = listeners.look(user_id, with_account=True)
                account = look.user.account
                show = render if look.playing else render_template
                return show(
                    "index.html", user_id=user_id, account=account, **_player(look)
                )
            except Problem as problem:
                if problem.status != 401:
                    raise
                notice = problem.name
                listeners.log_out(session.pop("user"))
        if notice in KINDS:
            return render_template("index.html", user_id=None, notice=Problem(notice))
        return render("index.html", user_id=None)

    @app.get("/login")
    def login() -> BaseResponse:
        if listeners.knows(session.get("user")):
            return redirect("/", 307)
        pending = spotify.begin_login()
        browser = session.setdefault("browser", secrets.token_urlsafe(24))
        store.auths.put(_auth_key(pending.state, browser), pending.verifier or "")
        return redirect(pending.url, 307)

    @app.get(config.callback_path)
    def callback() -> BaseResponse:
        lanes.need_thread()  # before the pending login is used up
        if seconds := store.paused():
            raise Problem("login_later", seconds)  # before anything is used up
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
        user_id = _log_in(listeners, code, verifier or None)
        if old := session.get("user"):
            listeners.log_out(old)
        session.clear()
        # The browser's value stays, for a login that another tab has begun.
        session.update(browser=browser, user=user_id)
        session.permanent = True
        log.info("login of user %s", tag(user_id))
        return redirect("/", 307)

    @app.route("/logout", methods=["GET", "POST"])
    def logout() -> BaseResponse:
        user_id = session.get("user")
        if user_id and listeners.log_out(user_id):
            log.info("logout of user %s", tag(user_id))
            render.cache_clear()  # it may hold a page of this person
        session.clear()
        return redirect("/", 303 if request.method == "POST" else 307)

    @app.get("/now-playing")
    def now_playing() -> Response:
        try:
            if not (user_id := session.get("user")):
                raise Problem("logged_out")
            look = listeners.look(user_id)
        except Problem as problem:
            return _trouble(problem)
        if look.problem:
            return _trouble(look.problem)
        if _wants_html():
            return Response(render("player.html", **_player(look)))
        assert look.playing
        return jsonify(**look.playing.as_json(), poll_after_ms=look.poll_after_ms)

    @app.get("/healthz")
    def healthz() -> str:
        return "alive"

    @app.get("/readyz")
    def readyz() -> tuple[str, int]:
        return ("ready", 200) if store.ready() else ("not ready", 503)

    return app


class App(Flask):
    """Flask, except that an unexpected error is logged without its text."""

    def log_exception(self, exc_info: Any) -> None:
        """Log the type and the places: the text may hold what no log should."""
        places = "".join(traceback.format_tb(exc_info[2]))
        log.error("%s at\n%s", exc_info[0].__name__, places)


class CookieSession(SecureCookieSessionInterface):
    """Flask's signed cookie; its signer is made once instead of at each request."""

    def __init__(self, app: Flask) -> None:
        self._signer = super().get_signing_serializer(app)

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        return self._signer


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


def _log_in(listeners: Listeners, code: str, verifier: str | None) -> str:
    """Log in, and put what goes wrong into words that fit a page of its own."""
    try:
        return listeners.log_in(code, verifier)
    except Problem as problem:
        log.warning("login failed: %s", problem.name)
        if problem.name == "rate_limited":
            raise Problem("login_later", problem.retry_after) from None
        if problem.name == "unreachable":
            raise Problem("login_failed") from None
        raise


def _player(look: Look) -> dict[str, Any]:
    """Return what player.html shows, in steps that let a page be rendered once for many
    requests; nobody sees the difference.
    """
    return {
        "now": look.playing and look.playing.in_steps_of(STEP_MS),
        "problem": look.problem,
        "poll_after_ms": -(-look.poll_after_ms // STEP_MS) * STEP_MS,
    }


def _wants_html() -> bool:
    """Tell whether the request prefers text/html; JSON is the default."""
    kinds = ["application/json", "text/html"]
    return request.accept_mimetypes.best_match(kinds) == "text/html"


def _trouble(problem: Problem) -> Response:
    """Answer /now-playing with a problem, in the form that was asked for."""
    if _wants_html():
        look = {"now": None, "problem": problem, "poll_after_ms": problem.poll_after_ms}
        response = Response(render_template("player.html", **look))
    else:
        response = jsonify(
            error=problem.error,
            message=f"{problem.message} {problem.advice}",
            poll_after_ms=problem.poll_after_ms,
        )
    return _with_status(response, problem)


def _with_status(response: Response, problem: Problem) -> Response:
    response.status_code = problem.status
    if problem.retry_after:
        response.headers["Retry-After"] = str(problem.retry_after)
    return response


def _add_errors(app: Flask) -> None:
    """Answer every error with a page like the others, never with a traceback."""

    @app.errorhandler(Problem)
    def show(problem: Problem) -> Response:
        page = Response(render_template("problem.html", problem=problem))
        return _with_status(page, problem)

    @app.errorhandler(HTTPException)
    def translate(error: HTTPException) -> Response:
        names = {
            404: "not_found",
            405: "method_not_allowed",
            413: "too_large",
            500: "server_error",
        }
        response = show(Problem(names.get(error.code or 0, "bad_request")))
        response.headers.extend(
            (name, value) for name, value in error.get_headers() if name == "Allow"
        )
        return response


def _add_template_globals(app: Flask, config: Config) -> None:
    def version(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]

    files = Path(app.static_folder or "").iterdir()
    urls = {path.name: f"/static/{path.name}?v={version(path)}" for path in files}
    app.jinja_env.globals.update(
        demo=config.demo, redirect_uri=config.redirect_uri, static_url=urls.__getitem__
    )
    # Evaluated once; an import in the templates would do so at each rendering.
    macros = vars(app.jinja_env.get_template("macros.html").module)
    app.jinja_env.globals.update(
        (name, value) for name, value in macros.items() if name[0] != "_"
    )


def _cookie_settings(config: Config) -> dict[str, Any]:
    """Return the session cookie's settings (OWASP session management cheat sheet)."""
    return {
        # Cookies ignore ports, so the name has to be the app's own.
        "SESSION_COOKIE_NAME": "__Host-now_playing" if config.secure else "now_playing",
        "SESSION_COOKIE_SECURE": config.secure,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",  # Strict would lose it at the callback
        "SESSION_COOKIE_PATH": "/",
        "SESSION_REFRESH_EACH_REQUEST": False,
        "PERMANENT_SESSION_LIFETIME": timedelta(days=COOKIE_DAYS),
    }


if __name__ == "__main__":
    import server

    sys.exit(server.main())
