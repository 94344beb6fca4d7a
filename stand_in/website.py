"""The pages and the two APIs, as a Flask app."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from flask import Flask, Response, abort, jsonify, redirect, render_template, request
from flask.typing import ResponseReturnValue

from .accounts import PEOPLE, SCOPE, Refused, oauth_error
from .failures import FAILURES

if TYPE_CHECKING:
    from .server import StandIn

ENDPOINTS = ("authorize", "token", "profile", "player")
PAGE_HEADERS = {
    # No form-action: the consent form leads on to the app, wherever that is.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
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
    website.config["PROPAGATE_EXCEPTIONS"] = True  # the connection ends with them
    website.url_map.strict_slashes = False  # tekore asks for /v1/me/
    website.jinja_env.globals.update(
        stand_in=stand_in, people=PEOPLE, endpoints=ENDPOINTS, failures=FAILURES
    )

    @website.before_request
    def arrive() -> None:
        origin = request.headers.get("Origin", stand_in.url)
        own = stand_in.url, stand_in.url.replace("127.0.0.1", "localhost")
        if request.method == "POST" and origin not in own:
            abort(403, "Another site sent this form.")
        if request.endpoint in ENDPOINTS:
            query, form = request.args.to_dict(), request.form.to_dict()
            headers = {name.lower(): value for name, value in request.headers}
            call = Call(request.endpoint, query, form, headers)
            stand_in.arrive(call, request.environ["werkzeug.socket"])

    @website.after_request
    def leave(response: Response) -> Response:
        stand_in.wait(request.endpoint)
        response.headers.setdefault("Cache-Control", "no-store")
        if response.mimetype == "text/html":
            response.headers.update(PAGE_HEADERS)
        return response

    @website.errorhandler(Refused)
    def refuse(refused: Refused) -> ResponseReturnValue:
        return refused.body, refused.status

    @website.route("/authorize", methods=["GET", "POST"])
    def authorize() -> ResponseReturnValue:
        query = request.values.to_dict()
        wrong = stand_in.refusal(query)
        if wrong or request.method != "POST":
            page = render_template("authorize.html", wrong=wrong, query=query)
            return page, 400 if wrong else 200
        uri, result = query["redirect_uri"], {"error": "access_denied"}
        if query.get("decision") == "agree":
            result = {"code": stand_in.grant(**{"scope": "", **query})}
        if "state" in query:
            result["state"] = query["state"]
        return redirect(uri + ("&" if "?" in uri else "?") + urlencode(result), 303)

    @website.post("/api/token")
    def token() -> dict[str, Any]:
        if request.mimetype != "application/x-www-form-urlencoded":
            raise oauth_error("invalid_request", "The body must be a form")
        return stand_in.token(request.form, request.headers.get("Authorization", ""))

    @website.get("/v1/me")
    def profile() -> dict[str, Any]:
        person = stand_in.whose(request.headers.get("Authorization", ""))
        return {
            "id": person,
            "account_id": f"{person:0<22}",
            "display_name": PEOPLE.get(person, person),
            "external_urls": {"spotify": f"https://open.spotify.com/user/{person}"},
            "href": f"{stand_in.api_url}/users/{person}",
            "images": [],
            "type": "user",
            "uri": f"spotify:user:{person}",
        }

    @website.get("/v1/me/player/currently-playing")
    def player() -> ResponseReturnValue:
        person = stand_in.whose(request.headers.get("Authorization", ""), SCOPE)
        body = stand_in.playing(person)
        if body is None:
            return "", 204
        episodes = "episode" in request.args.get("additional_types", "")
        if body.get("currently_playing_type") == "episode" and not episodes:
            body = body | {"item": None}
        return jsonify(body)

    @website.get("/art/<name>")
    def art(name: str) -> ResponseReturnValue:
        size = request.args.get("size", 640, int)
        cover = render_template("cover.svg", draw=Random(name), size=size)
        response = Response(cover, mimetype="image/svg+xml")
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        response.headers["Access-Control-Allow-Origin"] = "*"  # as Spotify's covers
        response.cache_control.max_age = 86_400
        return response

    @website.get("/")
    @website.get("/switches")
    def switches() -> str:
        return render_template("switches.html")

    @website.post("/switches")
    def switch() -> ResponseReturnValue:
        for name, value in request.form.items():
            if name == "playing":
                stand_in.play(value)
            elif value == "works" and name in ENDPOINTS:
                stand_in.heal(name)
            else:
                stand_in.fail(name, value)
        return redirect("/switches", 303)

    return website
