"""What people get to see: the page and its player, the same as JSON, and problems."""

import hashlib
import logging
import re
from pathlib import Path
from typing import Any

from flask import (
    Flask,
    Response,
    get_template_attribute,
    jsonify,
    make_response,
    render_template,
    request,
)
from markupsafe import Markup
from werkzeug.exceptions import HTTPException

from config import DASHBOARD, Config
from player import Current
from problems import Problem

from . import security

STATIC_SECONDS = 31_536_000  # static URLs change with the content
STATIC = Path(__file__).parent.parent / "static"
HTTP_PROBLEMS = {404: "not_found", 405: "method_not_allowed", 500: "server_error"}

log = logging.getLogger("now_playing")


def static_url_path() -> str:
    """Return where static files are: an address that changes with any of them."""
    files = sorted(STATIC.iterdir())
    content = b"".join(file.name.encode() + file.read_bytes() for file in files)
    return f"/static/{hashlib.sha256(content).hexdigest()[:12]}"


def init_app(app: Flask, config: Config) -> None:
    """Prepare the templates, and turn errors into pages, never tracebacks."""
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = STATIC_SECONDS
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(HTTPException, _http_error)
    _prepare_templates(app, config)


def welcome(problem: Problem) -> str:
    """Return the main page of somebody who is not, or no longer, logged in."""
    if problem.name == "logged_out" and security.forget_unreadable_session():
        problem = Problem("session_unknown")
    notice = None if problem.name == "logged_out" else problem
    return render_template("index.html", notice=notice)


def main(user_id: str, current: Current) -> str:
    """Return the main page of somebody who is logged in."""
    return render_template(
        "index.html", user_id=user_id, account=current.account, **_player(current)
    )


def player(user_id: str, current: Current) -> Response:
    """Return what plays as JSON, or as the player's HTML if that is preferred."""
    if current.problem or not current.playing:
        raise current.problem or Problem("unreachable")
    if _wants_html():
        return make_response(_player(current)["player"])
    facts = current.playing.as_json()
    return jsonify(**facts, poll_after_ms=current.poll_after_ms)


def _player(current: Current) -> dict[str, Any]:
    """Return the player's HTML, and what the page around it has to know."""
    wait, title = current.poll_after_ms, _tab_title(current)
    player = get_template_attribute("player.html", "player")
    html = player(current.playing, current.problem, wait, title)
    return {"player": html, "poll_after_ms": wait, "tab_title": title}


def _tab_title(current: Current) -> str | None:
    now = current.playing
    if now is None or now.state not in ("playing", "paused"):
        return None
    title = f"⏸ {now.title}" if now.state == "paused" else now.title
    return " – ".join(filter(None, [title, ", ".join(link.name for link in now.by)]))


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
        current = Current(None, None, problem, problem.poll_after_ms)
        response = make_response(_player(current)["player"])
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


def _prepare_templates(app: Flask, config: Config) -> None:
    folder = Path(app.static_folder or "")
    drawn = re.findall(r'id="(\w+)"', (folder / "glyphs.svg").read_text("utf-8"))

    def static(name: str) -> str:
        return f"{app.static_url_path}/{name}"

    def glyph(name: str | None, otherwise: str = "trouble") -> Markup:
        return glyphs.get(name or "") or glyphs[otherwise]

    svg = Markup('<svg aria-hidden="true"><use href="{}#{}"/></svg>')
    glyphs = {name: svg.format(static("glyphs.svg"), name) for name in drawn}
    # Jinja evaluates a filter of a constant once, when it compiles the template.
    app.jinja_env.filters.update(static=static, glyph=glyph, clock=_clock)
    app.jinja_env.globals.update(
        dashboard=DASHBOARD,
        demo=config.demo,
        origin=config.origin,
        redirect_uri=config.redirect_uri,
    )


def _clock(ms: int) -> str:
    minutes, seconds = divmod(ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
