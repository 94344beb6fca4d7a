"""The pages and the two APIs, as a Flask app."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from flask import Flask, Response, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue

from .accounts import SCOPE, Refused, oauth_error
from .failures import FAILURES, send
from .programme import PEOPLE, profile

if TYPE_CHECKING:
    from .server import StandIn

ENDPOINTS = ("authorize", "token", "profile", "player")
PAGE_HEADERS = {
    # No form-action: the consent form leads on to the app, wherever that is.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


class Call(NamedTuple):
    """A request that reached one of the four endpoints; header names in lower case."""

    endpoint: str
    query: dict[str, str]
    form: dict[str, str]
    headers: dict[str, str]


def create_website(stand_in: StandIn) -> Flask:
    """Return the website of this stand-in."""
    website = Flask(__name__)
    website.config["PROPAGATE_EXCEPTIONS"] = True  # also those that end a connection
    website.url_map.strict_slashes = False  # Spotify takes /v1/me/ for /v1/me
    website.jinja_env.globals.update(
        stand_in=stand_in, endpoints=ENDPOINTS, failures=FAILURES, people=PEOPLE
    )
    add_gate(website, stand_in)
    add_accounts(website, stand_in)
    add_api(website, stand_in)
    add_switches(website, stand_in)
    return website


def add_gate(website: Flask, stand_in: StandIn) -> None:
    """Add what every request passes on its way in and out."""

    @website.before_request
    def check() -> None:
        own = stand_in.url, stand_in.url.replace("127.0.0.1", "localhost")
        if stand_in.stopped:
            raise ConnectionAbortedError
        if (
            request.method == "POST"
            and request.headers.get("Origin", own[0]) not in own
        ):
            abort(403, "Another site sent this form.")

    @website.before_request
    def fail() -> None:
        if request.endpoint not in ENDPOINTS:
            return
        query, form = request.args.to_dict(), request.form.to_dict()
        headers = {name.lower(): value for name, value in request.headers}
        call = Call(request.endpoint, query, form, headers)
        failure, healed = stand_in.arrive(call)
        if failure is not None:
            stand_in.wait(call.endpoint)
            send(failure, request.environ["werkzeug.socket"], healed)
            raise ConnectionAbortedError

    @website.after_request
    def leave(response: Response) -> Response:
        stand_in.wait(request.endpoint)
        response.headers.setdefault("Cache-Control", "no-store")
        if response.mimetype == "text/html":
            response.headers.update(PAGE_HEADERS)
        return response

    @website.errorhandler(Refused)
    def refuse(refused: Refused) -> ResponseReturnValue:
        status, body = refused.args
        return body, status


def add_accounts(website: Flask, stand_in: StandIn) -> None:
    """Add the page that asks for consent, and the endpoint that gives out tokens."""

    @website.route("/authorize", methods=["GET", "POST"])
    def authorize() -> ResponseReturnValue:
        asked = request.values.to_dict()
        wrong = stand_in.refusal(asked)
        if wrong or request.method != "POST":
            page = render_template("authorize.html", wrong=wrong, query=asked)
            return page, 400 if wrong else 200
        uri, result = asked["redirect_uri"], {"error": "access_denied"}
        if asked.get("decision") == "agree":
            result = {"code": stand_in.grant(**{"scope": "", **asked})}
        if "state" in asked:
            result["state"] = asked["state"]
        return redirect(uri + ("&" if "?" in uri else "?") + urlencode(result), 303)

    @website.post("/api/token")
    def token() -> dict[str, Any]:
        if request.mimetype != "application/x-www-form-urlencoded":
            raise oauth_error("invalid_request", "The body must be a form")
        return stand_in.token(request.form, request.headers.get("Authorization", ""))


def add_api(website: Flask, stand_in: StandIn) -> None:
    """Add the Web API, and the covers that its answers point to."""

    @website.get("/v1/me", endpoint="profile")
    def me() -> dict[str, Any]:
        person = stand_in.whose(request.headers.get("Authorization", ""))
        return profile(person, stand_in.api_url)

    @website.get("/v1/me/player/currently-playing")
    def player() -> ResponseReturnValue:
        person = stand_in.whose(request.headers.get("Authorization", ""), SCOPE)
        body = stand_in.playing(person)
        if body is None:
            return "", 204
        episodes = "episode" in request.args.get("additional_types", "")
        if body.get("currently_playing_type") == "episode" and not episodes:
            return body | {"item": None}
        return body

    @website.get("/art/<name>")
    def art(name: str) -> Response:
        size = request.args.get("size")
        size = size if size in ("64", "300") else "640"
        cover = render_template("cover.svg", draw=Random(name), size=size)
        response = Response(cover, mimetype="image/svg+xml")
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        response.cache_control.max_age = 86_400
        return response


def add_switches(website: Flask, stand_in: StandIn) -> None:
    """Add the pages where a person chooses what plays and what fails."""

    @website.get("/")
    def home() -> str:
        return render_template("home.html")

    @website.get("/switches")
    def switches() -> str:
        return render_template("switches.html")

    @website.post("/switches")
    def switch() -> ResponseReturnValue:
        try:
            for name, value in request.form.items():
                if name == "playing":
                    stand_in.play(value)
                elif value == "works":
                    stand_in.heal(name)
                else:
                    stand_in.fail(name, value)
        except (KeyError, ValueError) as error:
            abort(400, str(error))
        return redirect("/switches", 303)
