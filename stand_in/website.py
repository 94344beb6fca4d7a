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

HOST = "127.0.0.1"
ENDPOINTS = ("authorize", "token", "profile", "player")
# No form-action: the consent form leads on to the app, wherever that is.
POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'"


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
    website.register_error_handler(Refused, lambda refused: refused.args)
    shown = {"people": PEOPLE, "endpoints": ENDPOINTS, "failures": FAILURES}
    website.jinja_env.globals.update(shown, stand_in=stand_in)

    @website.before_request
    def arrive() -> None:
        origin = request.headers.get("Origin", stand_in.url).replace("localhost", HOST)
        if request.method == "POST" and origin != stand_in.url:
            abort(403, "Another site sent this form.")
        if request.endpoint in ENDPOINTS:
            headers = {name.lower(): value for name, value in request.headers}
            sent = request.args.to_dict(), request.form.to_dict(), headers
            call = Call(request.endpoint, *sent)
            stand_in.arrive(call, request.environ.get("werkzeug.socket"))

    @website.after_request
    def leave(response: Response) -> Response:
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["Content-Security-Policy"] = POLICY
        return response

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
        result |= {"state": query["state"]} if "state" in query else {}
        return redirect(uri + ("&" if "?" in uri else "?") + urlencode(result), 303)

    @website.post("/api/token")
    def token() -> dict[str, Any]:
        if request.mimetype != "application/x-www-form-urlencoded":
            raise oauth_error("invalid_request", "The body must be a form")
        return stand_in.token(request.form, request.headers.get("Authorization", ""))

    @website.get("/v1/me")
    def profile() -> dict[str, Any]:
        person = stand_in.whose(request.headers.get("Authorization", ""))
        me = {"id": person, "display_name": PEOPLE.get(person, person), "type": "user"}
        me |= {"account_id": f"{person:0<22}", "uri": f"spotify:user:{person}"}
        urls = {"spotify": f"https://open.spotify.com/user/{person}"}
        href = f"{stand_in.api_url}/users/{person}"
        return {**me, "href": href, "external_urls": urls, "images": []}

    @website.get("/v1/me/player/currently-playing")
    def player() -> ResponseReturnValue:
        person = stand_in.whose(request.headers.get("Authorization", ""), SCOPE)
        body = stand_in.playing(person)
        if body is None:
            return "", 204
        told = "episode" in request.args.get("additional_types", "")
        podcast = body.get("currently_playing_type") == "episode"
        return jsonify(body | {"item": None} if podcast and not told else body)

    @website.get("/art/<name>")
    def art(name: str) -> ResponseReturnValue:
        headers = {"Content-Type": "image/svg+xml", "Cache-Control": "max-age=86400"}
        headers |= {"Access-Control-Allow-Origin": "*"}  # as Spotify's, for a canvas
        return render_template("cover.svg", draw=Random(name)), headers

    @website.get("/")
    @website.route("/switches", methods=["GET", "POST"])
    def switches() -> ResponseReturnValue:
        for name, value in request.form.items():
            if name == "playing":
                stand_in.play(value)
            elif value == "works" and name in ENDPOINTS:
                stand_in.heal(name)
            else:
                stand_in.fail(name, value)
        if request.method == "POST":
            return redirect("/switches", 303)
        return render_template("switches.html")

    return website
