"""What people get to see: the page and its player, the same as JSON, and problems."""

import hashlib
import re
from bisect import bisect_left
from pathlib import Path
from unicodedata import east_asian_width
from urllib.parse import quote, urlsplit

from flask import (
    Flask,
    current_app,
    get_template_attribute,
    render_template,
    request,
    session,
)
from flask.typing import ResponseReturnValue, ResponseValue
from markupsafe import Markup
from werkzeug.exceptions import HTTPException

from addresses import is_local, port_of
from config import DASHBOARD, Config
from player import Current
from problems import Problem, log
from spotify.playback import NowPlaying

STATIC = Path(__file__).parent.parent / "static"
STATIC_SECONDS = 31_536_000  # the address of static files changes with their content
HTTP_PROBLEMS = {404: "not_found", 405: "method_not_allowed", 500: "server_error"}
LENGTHS = (16, 32, 64, 120)  # of titles, in columns: sizes without JavaScript

# Its format() escapes what it fills in.
GLYPH = Markup('<svg viewBox="0 0 48 48" aria-hidden="true"><use href="{}#{}"/></svg>')


def init_app(app: Flask, config: Config) -> None:
    """Give templates their filters and globals, and make every error a page."""
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = STATIC_SECONDS
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(HTTPException, _http_error)
    names = re.findall(r' id="(\w+)"', (STATIC / "glyphs.svg").read_text("utf-8"))
    glyphs = {it: GLYPH.format(f"{app.static_url_path}/glyphs.svg", it) for it in names}
    # Jinja evaluates a filter of a constant once, when it compiles the template.
    app.jinja_env.filters.update(
        clock=_clock,
        full_name=_full_name,
        length_step=_length_step,
        glyph=lambda name, other="trouble": glyphs.get(name) or glyphs[other],
        static=lambda name: f"{app.static_url_path}/{name}",
    )
    origin = urlsplit(config.origin)
    app.jinja_env.globals.update(
        dashboard=DASHBOARD,
        demo=config.demo,
        is_local=is_local(origin),
        login_words=f"Log in {'to the demo' if config.demo else 'with Spotify'}",
        origin=config.origin,
        player=_player,
        port=port_of(origin),
        redirect_uri=config.redirect_uri,
    )


def static_url_path() -> str:
    """Return the address of static files, which changes with any of them."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return f"/static/{digest.hexdigest()[:12]}"


def welcome(problem: Problem) -> str:
    """Return the main page of somebody who is not, or no longer, logged in."""
    if not session and current_app.config["SESSION_COOKIE_NAME"] in request.cookies:
        problem = Problem("session_unknown")
        session.clear()  # drops the cookie, which can't be read, as after a restart
    return render_template("index.html", problem=problem)


def player(current: Current) -> ResponseValue:
    """Return what plays, as JSON, or as HTML if that is preferred. Raises Problem."""
    if not current.playing:
        raise current.problem or Problem("unreachable")
    return _answer(current, current.playing)


def _answer(current: Current, said: NowPlaying | Problem) -> ResponseValue:
    types = ["application/json", "text/html"]
    if request.accept_mimetypes.best_match(types) == "text/html":
        return _player(current)
    return said.as_json() | {"poll_after_ms": current.poll_after_ms}


def _player(current: Current) -> Markup:
    html: Markup = get_template_attribute("player.html", "player")(current)
    return html


def _problem(problem: Problem) -> tuple[ResponseValue, int, dict[str, str]]:
    # Without the query, which may hold a code.
    log.info("%s: %s", quote(f"{request.method} {request.path}", "/ "), problem.name)
    if request.path == "/now-playing":
        current = Current(None, None, problem, problem.poll_after_ms)
        body = _answer(current, problem)
    else:
        body = render_template("problem.html", problem=problem)
    after = problem.retry_after
    return body, problem.status, {"Retry-After": str(after)} if after else {}


def _http_error(error: HTTPException) -> ResponseReturnValue:
    code = error.code or 500
    body, *_ = _problem(Problem(HTTP_PROBLEMS.get(code, "bad_request")))
    return body, code, [it for it in error.get_headers() if it[0] == "Allow"]


def _full_name(playing: NowPlaying | None) -> str:
    """Return title and artists of what plays, or the page's name if it has no title."""
    if not playing or not playing.title:
        return "Now Playing"
    artists = ", ".join(it.name for it in playing.by)
    return f"{playing.title} – {artists}" if artists else playing.title


def _length_step(title: str) -> int:
    """Return how long a title is, from 0 to 4."""
    # Chinese, Japanese and Korean letters are as wide as two others.
    wide = 0 if title.isascii() else sum(east_asian_width(it) in "WF" for it in title)
    return bisect_left(LENGTHS, len(title) + wide)


def _clock(ms: int) -> str:
    minutes, seconds = divmod(ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
