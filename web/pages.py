"""What people get to see: the page and its player, the same as JSON, and problems."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from flask import Flask, Response, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from config import DASHBOARD, Config
from problems import KINDS, Problem
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
        _add_template_globals(app, config)
        app.register_error_handler(Problem, _problem)
        app.register_error_handler(HTTPException, _http_error)
        self._notice_cookie = cookie_name(config, "now_playing_notice")
        self._secure = config.secure

    def welcome(self, problem_name: str | None = None) -> Response:
        """Return the main page of somebody who is not logged in.

        problem_name: what led here; else what notify() left, if anything.
        """
        left = request.cookies.get(self._notice_cookie)
        name = problem_name or left
        notice = Problem(name) if name in KINDS else None
        page = render_template("index.html", user_id=None, notice=notice)
        response = make_response(page)
        if left and request.method == "GET":
            self._set_notice(response, "", 0)
        return response

    def notify(self, response: BaseResponse, error: str) -> BaseResponse:
        """Let the next main page say what error Spotify's login page came back with.

        In a cookie of its own: the session may have changed in another tab meanwhile.
        """
        name = "cancelled" if error == "access_denied" else "login_failed"
        self._set_notice(response, name, NOTICE_SECONDS)
        return response

    def _set_notice(self, response: BaseResponse, value: str, seconds: int) -> None:
        response.set_cookie(
            self._notice_cookie,
            value,
            max_age=seconds,
            secure=self._secure,
            httponly=True,
            samesite="Lax",
        )

    def main(self, user_id: str, current: Current) -> str:
        """Return the main page of somebody who is logged in."""
        return render_template(
            "index.html",
            user_id=user_id,
            account=current.account,
            now=current.playing,
            problem=current.problem,
            poll_after_ms=current.poll_after_ms,
        )

    def player(self, current: Current) -> Response:
        """Return what plays as JSON, or as the player's HTML if that is preferred."""
        if not current.playing:
            raise current.problem or Problem("unreachable")
        if _wants_html():
            return make_response(
                render_template(
                    "player.html",
                    now=current.playing,
                    poll_after_ms=current.poll_after_ms,
                )
            )
        facts = current.playing.as_json()
        return jsonify(**facts, poll_after_ms=current.poll_after_ms)

    def player_problem(self, problem: Problem) -> Response:
        """Return a problem in the same two forms."""
        wait = problem.poll_after_ms
        if _wants_html():
            page = render_template("player.html", problem=problem, poll_after_ms=wait)
            return _answer(make_response(page), problem)
        message = f"{problem.message} {problem.advice}"
        answer = jsonify(error=problem.error, message=message, poll_after_ms=wait)
        return _answer(answer, problem)


def _wants_html() -> bool:
    """Tell whether the request prefers text/html; JSON is the default."""
    kinds = ["application/json", "text/html"]
    return request.accept_mimetypes.best_match(kinds) == "text/html"


def _problem(problem: Problem) -> Response:
    if problem.name == "invalid_state":
        log.warning("login refused: invalid state")
    page = render_template("problem.html", problem=problem)
    return _answer(make_response(page), problem)


def _http_error(error: HTTPException) -> Response:
    response = _problem(Problem(HTTP_PROBLEMS.get(error.code or 0, "bad_request")))
    response.status_code = error.code or 500
    allow = [value for name, value in error.get_headers() if name == "Allow"]
    response.headers.extend(("Allow", value) for value in allow)
    return response


def _answer(response: Response, problem: Problem) -> Response:
    response.status_code = problem.status
    if problem.retry_after:
        response.headers["Retry-After"] = str(problem.retry_after)
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
        static_url=urls.__getitem__,
    )
    # Evaluated once; an import in the templates would do so at each rendering.
    macros = vars(app.jinja_env.get_template("macros.html").module)
    app.jinja_env.globals.update(
        (name, value) for name, value in macros.items() if name[0] != "_"
    )
