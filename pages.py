"""What people get to see: the page and its player, the same as JSON, and problems."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from config import DASHBOARD, Config
from listeners import Look
from problems import KINDS, Problem

STEP_MS = 250  # between two pages that differ in nothing but the time
PAGES_KEPT = 256
HTTP_PROBLEMS = {404: "not_found", 405: "method_not_allowed", 500: "server_error"}


class Pages:
    """Every answer that has words in it. Errors become pages too, never tracebacks."""

    def __init__(self, app: Flask, config: Config) -> None:
        _add_template_globals(app, config)
        app.register_error_handler(Problem, _problem)
        app.register_error_handler(HTTPException, _http_error)
        # Rendered once for all requests of the same person for the same moment.
        self._render = lru_cache(PAGES_KEPT)(render_template)

    def welcome(self, notice: str | None) -> str:
        """Return the main page of somebody who is not logged in.

        notice: the name of the problem that led here, if any.
        """
        if notice in KINDS:
            problem = Problem(notice)
            return render_template("index.html", user_id=None, notice=problem)
        return self._render("index.html", user_id=None)

    def main(self, user_id: str, look: Look) -> str:
        """Return the main page of somebody who is logged in."""
        return self._player("index.html", look, user_id=user_id, account=look.account)

    def player(self, look: Look) -> Response:
        """Return a look as JSON, or as the HTML fragment where that is preferred."""
        if look.problem:
            return self.trouble(look.problem)
        if _wants_html():
            return Response(self._player("player.html", look))
        assert look.playing
        return jsonify(**look.playing.as_json(), poll_after_ms=look.poll_after_ms)

    def trouble(self, problem: Problem) -> Response:
        """Return a problem in the same two forms."""
        if _wants_html():
            wait = problem.poll_after_ms
            page = render_template("player.html", problem=problem, poll_after_ms=wait)
            return _answer(Response(page), problem)
        answer = jsonify(
            error=problem.error,
            message=f"{problem.message} {problem.advice}",
            poll_after_ms=problem.poll_after_ms,
        )
        return _answer(answer, problem)

    def forget(self) -> None:
        """Drop the pages that are kept, for one may be of somebody who logs out."""
        self._render.cache_clear()

    def _player(self, template: str, look: Look, **values: Any) -> str:
        # In steps that let a page serve twice; nobody sees the difference.
        wait = -(-look.poll_after_ms // STEP_MS) * STEP_MS
        if look.playing:
            now = look.playing.in_steps_of(STEP_MS)
            return self._render(template, now=now, poll_after_ms=wait, **values)
        problem = look.problem
        return render_template(template, problem=problem, poll_after_ms=wait, **values)


def _wants_html() -> bool:
    """Tell whether the request prefers text/html; JSON is the default."""
    kinds = ["application/json", "text/html"]
    return request.accept_mimetypes.best_match(kinds) == "text/html"


def _problem(problem: Problem) -> Response:
    page = render_template("problem.html", problem=problem)
    return _answer(Response(page), problem)


def _http_error(error: HTTPException) -> Response:
    answer = _problem(Problem(HTTP_PROBLEMS.get(error.code or 0, "bad_request")))
    answer.headers.extend(
        (name, value) for name, value in error.get_headers() if name == "Allow"
    )
    return answer


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
