"""What people get to see: the page and its player, the same as JSON, and problems."""

import hashlib
import logging
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from config import DASHBOARD, Config
from problems import KINDS, Problem, spread_out
from users import Current

from .security import cookie_name

STATIC_SECONDS = 31_536_000  # static URLs change with the content
NOTICE_SECONDS = 60
HTTP_PROBLEMS = {404: "not_found", 405: "method_not_allowed", 500: "server_error"}

log = logging.getLogger("now_playing")


class Pages:
    """Every answer that has words in it. Errors become pages too, never tracebacks."""

    def __init__(self, app: Flask, config: Config) -> None:
        app.config["SEND_FILE_MAX_AGE_DEFAULT"] = STATIC_SECONDS
        app.register_error_handler(Problem, _problem)
        app.register_error_handler(HTTPException, _http_error)
        _add_template_globals(app, config)
        # A cookie of its own: another tab may change the session in the meantime.
        self._notice: dict[str, Any] = {
            "key": cookie_name(config, "now_playing_notice"),
            "secure": config.secure,
            "httponly": True,
            "samesite": "Lax",
        }

    def welcome(self, problem_name: str | None = None) -> Response:
        """Return the main page of somebody who is not logged in.

        problem_name: what led here; else what notify() left, if anything.
        """
        left = request.cookies.get(self._notice["key"])
        name = problem_name or left
        notice = Problem(name) if name in KINDS else None
        response = make_response(render_template("index.html", notice=notice))
        if left and request.method == "GET":
            response.delete_cookie(**self._notice)
        return response

    def notify(self, response: BaseResponse, error: str) -> BaseResponse:
        """Let the next main page say what Spotify's login page came back with."""
        name = "cancelled" if error == "access_denied" else "login_failed"
        response.set_cookie(value=name, max_age=NOTICE_SECONDS, **self._notice)
        return response

    def main(self, user_id: str, current: Current) -> str:
        """Return the main page of somebody who is logged in."""
        account, shown = current.account, _shown(current)
        return render_template("index.html", user_id=user_id, account=account, **shown)

    def player(self, current: Current) -> Response:
        """Return what plays as JSON, or as the player's HTML if that is preferred."""
        if not current.playing:
            raise current.problem or Problem("unreachable")
        shown = _shown(current)
        if _wants_html():
            return make_response(render_template("player.html", **shown))
        facts = current.playing.as_json()
        return jsonify(**facts, poll_after_ms=shown["poll_after_ms"])


def _shown(current: Current) -> dict[str, Any]:
    """Return what the player's template shows."""
    wait = current.problem.poll_after_ms if current.problem else 0
    if current.playing:
        wait = spread_out(current.playing.poll_after_ms)
    return {"now": current.playing, "problem": current.problem, "poll_after_ms": wait}


def _wants_html() -> bool:
    """Tell whether the request prefers text/html; JSON is the default."""
    kinds = ["application/json", "text/html"]
    return request.accept_mimetypes.best_match(kinds) == "text/html"


def _problem(problem: Problem) -> Response:
    if problem.name == "invalid_state":
        log.warning("login refused: invalid state")
    if request.endpoint != "now_playing":
        response = make_response(render_template("problem.html", problem=problem))
    elif _wants_html():
        shown = _shown(Current(None, None, problem))
        response = make_response(render_template("player.html", **shown))
    else:
        response = jsonify(
            error=problem.error,
            message=f"{problem.message} {problem.advice}",
            poll_after_ms=problem.poll_after_ms,
        )
    response.status_code = problem.status
    if problem.retry_after:
        response.headers["Retry-After"] = str(problem.retry_after)
    return response


def _http_error(error: HTTPException) -> Response:
    response = _problem(Problem(HTTP_PROBLEMS.get(error.code or 0, "bad_request")))
    response.status_code = error.code or 500
    allow = [value for name, value in error.get_headers() if name == "Allow"]
    response.headers.extend(("Allow", value) for value in allow)
    return response


def _add_template_globals(app: Flask, config: Config) -> None:
    def version(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]

    files = Path(app.static_folder or "").iterdir()
    urls = {path.name: f"/static/{path.name}?v={version(path)}" for path in files}
    app.jinja_env.globals.update(
        dashboard=DASHBOARD,
        demo=config.demo,
        origin=config.origin,
        redirect_uri=config.redirect_uri,
        static=urls,
    )
    # Evaluated once; an import in the templates would do so at each rendering.
    macros = vars(app.jinja_env.get_template("macros.html").module)
    app.jinja_env.globals.update(
        (name, value) for name, value in macros.items() if name[0] != "_"
    )
