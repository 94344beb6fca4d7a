"""The pages and the two APIs, over HTTP."""

import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from jinja2 import Environment, FileSystemLoader

from .accounts import SCOPE, Refused, oauth_error
from .failures import FAILURES, answer
from .programme import PEOPLE, cover, profile

if TYPE_CHECKING:
    from .server import Server

ENDPOINTS = {
    "/authorize": "authorize",
    "/api/token": "token",
    "/v1/me": "profile",
    "/v1/me/player/currently-playing": "player",
}
PATHS = ENDPOINTS | {"/": "home", "/switches": "switches", "/style.css": "style"}
TEMPLATES = Path(__file__).parent / "templates"
PAGES = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
NO_STORE = "Cache-Control: no-store"
PAGE_HEADERS = (
    # No form-action: the consent form leads on to the app, wherever that is.
    "Content-Security-Policy: default-src 'none'; style-src 'self'; img-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options: nosniff",
    "Referrer-Policy: same-origin",
    NO_STORE,
)


class Call(NamedTuple):
    """A request that reached one of the four endpoints; header names in lower case."""

    endpoint: str
    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: dict[str, str]


class Handler(BaseHTTPRequestHandler):
    """One connection; a failure may write to `wfile`, and waits for `healed`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize, timeout = -1, 60
    server: "Server"
    healed: threading.Event
    endpoint = ""

    def do_GET(self) -> None:
        self.stand_in = self.server.stand_in
        if self.stand_in.stopped:
            raise ConnectionAbortedError
        path, _, query = self.path.partition("?")
        path = path.rstrip("/") or "/"  # Spotify takes /v1/me/, which tekore asks for.
        self.endpoint = ENDPOINTS.get(path, "")
        self.query = dict(parse_qsl(query, keep_blank_values=True))
        try:
            self.form = self.read_form()
            if not self.endpoint or not self.fails(path):
                self.route(path)
        except Refused as refused:
            self.send(*refused.args)

    do_HEAD = do_POST = do_GET

    def read_form(self) -> dict[str, str]:
        length = self.headers.get("Content-Length", "0")
        sane = length.isdecimal() and len(length) < 9
        if not sane or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            raise Refused(400, "The length of the body is unknown.\n")
        body = self.rfile.read(int(length)).decode(errors="replace")
        if len(body) > 65_536:
            raise Refused(400, "The body is too long.\n")
        return dict(parse_qsl(body, keep_blank_values=True))

    def fails(self, path: str) -> bool:
        """Note a call, and fail it when told to."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(self.endpoint, self.command, path, self.query, self.form, headers)
        how, self.healed = self.stand_in.arrive(call)
        failure = FAILURES[how] if isinstance(how, str) else how
        if failure is None:
            return False
        self.close_connection = True
        self.stand_in.leave(self.endpoint)
        self.log_message("", how)
        if isinstance(failure, bytes):
            # With its end in the same packet no client tries this connection again.
            self.connection.sendall(failure, getattr(socket, "MSG_MORE", 0))
            self.connection.shutdown(socket.SHUT_WR)
        else:
            failure(self)
        return True

    def route(self, path: str) -> None:
        name = "art" if path.startswith("/art/") else PATHS.get(path)
        verb = "post" if self.command == "POST" else "get"
        act = getattr(self, f"{verb}_{name}", None)
        own = self.stand_in.url, self.stand_in.url.replace("127.0.0.1", "localhost")
        if act is None:
            raise Refused(405 if name else 404, "There is nothing here.\n")
        if verb == "post" and self.headers.get("Origin", own[0]) not in own:
            raise Refused(403, "Another site sent this form.\n")
        act()

    def send(self, status: int, body: object = "", *more: str, kind: str = "") -> None:
        """Send a string as it is, or anything else as JSON."""
        self.stand_in.leave(self.endpoint)
        self.log_message("", status)
        if self.close_connection:
            more += ("Connection: close",)
        data = answer(status, body, *(more or [NO_STORE]), kind=kind)
        head = data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        self.wfile.write(head if self.command == "HEAD" else data)

    def log_message(self, format: str, *args: Any) -> None:
        """Log when asked to, but no query string: it may hold a code."""
        if self.server.stand_in.log:
            print(self.requestline.partition("?")[0], *args, file=sys.stderr)

    def page(self, template: str, status: int = 200, **values: Any) -> None:
        html = PAGES.get_template(template).render(stand_in=self.stand_in, **values)
        self.send(status, html, *PAGE_HEADERS)

    def get_home(self) -> None:
        self.page("home.html")

    def get_style(self) -> None:
        self.send(200, (TEMPLATES / "style.css").read_text("utf-8"), kind="text/css")

    def get_art(self) -> None:
        svg = cover(self.path.partition("?")[0], self.query.get("size", "640"))
        shared = "Cross-Origin-Resource-Policy: cross-origin"
        kept = "Cache-Control: max-age=86400"
        self.send(200, svg, shared, kept, kind="image/svg+xml")

    def get_authorize(self) -> None:
        wrong, query = self.stand_in.refusal(self.query), self.query
        status = 400 if wrong else 200
        self.page("authorize.html", status, wrong=wrong, query=query, people=PEOPLE)

    def post_authorize(self) -> None:
        self.query = form = self.form
        if self.stand_in.refusal(form):
            return self.get_authorize()
        uri, result = form["redirect_uri"], {"error": "access_denied"}
        if form.get("decision") == "agree":
            asked = ("client_id", "scope", "code_challenge")
            params = {name: form.get(name, "") for name in asked}
            person = form.get("person", "robin")
            result = {"code": self.stand_in.grant(uri, person, **params)}
        if "state" in form:
            result["state"] = form["state"]
        uri += ("&" if "?" in uri else "?") + urlencode(result)
        self.send(303, "", f"Location: {uri}", NO_STORE)

    def post_token(self) -> None:
        if self.headers.get_content_type() != "application/x-www-form-urlencoded":
            raise oauth_error("invalid_request", "The body must be a form")
        basic = self.headers.get("Authorization", "")
        self.send(200, self.stand_in.token(self.form, basic))

    def get_profile(self) -> None:
        person = self.stand_in.whose(self.headers.get("Authorization", ""))
        self.send(200, profile(person, self.stand_in.api_url))

    def get_player(self) -> None:
        person = self.stand_in.whose(self.headers.get("Authorization", ""), SCOPE)
        body = self.stand_in.playing(person)
        asked = self.query.get("additional_types", "")
        if isinstance(body, dict) and body.get("currently_playing_type") == "episode":
            body = body if "episode" in asked else body | {"item": None}
        self.send(204 if body is None else 200, "" if body is None else body)

    def get_switches(self) -> None:
        self.page("switches.html", failures=FAILURES, endpoints=ENDPOINTS.values())

    def post_switches(self) -> None:
        try:
            for name, value in self.form.items():
                if name == "playing":
                    self.stand_in.play(value)
                elif value == "works":
                    self.stand_in.heal(name)
                else:
                    self.stand_in.fail(name, value)
        except (KeyError, ValueError) as error:
            raise Refused(400, f"{error}\n") from None
        self.send(303, "", "Location: /switches", NO_STORE)
