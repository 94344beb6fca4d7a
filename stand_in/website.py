"""The pages and the two APIs, as a Flask app that may be mounted under any prefix."""

from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from flask import Flask, Response, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue

from .accounts import PEOPLE, SCOPE, Refused, oauth_error

if TYPE_CHECKING:
    from .server import StandIn

ENDPOINTS = ("authorize", "token", "profile", "player")

# No form-action: the consent form leads on to the app, wherever that is.
POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'"
PAGE = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}
# As Spotify's pictures, which the app may draw on a canvas to read their colours.
ART = {"Cache-Control": "max-age=86400", "Access-Control-Allow-Origin": "*"}


class Call(NamedTuple):
    """A request that reached one of the four endpoints; header names in lower case."""

    endpoint: str
    query: dict[str, str]
    form: dict[str, str]
    headers: dict[str, str]


def create_website(stand_in: "StandIn") -> Flask:
    """Return the website of this stand-in."""
    website = Flask(__name__)
    # A connection ends with the exception that a failure on the wire raises.
    website.config.update(PROPAGATE_EXCEPTIONS=True, MAX_CONTENT_LENGTH=100_000)
    website.url_map.strict_slashes = False  # tekore asks for /v1/me/
    website.register_error_handler(Refused, lambda refused: refused.args)
    website.jinja_env.globals.update(people=PEOPLE, stand_in=stand_in)

    @website.before_request
    def arrive() -> ResponseReturnValue | None:
        source = request.headers.get("Origin", f"://{request.host}").partition("://")
        if request.method == "POST" and source[2] != request.host:
            abort(403, "Another site sent this form.")
        return stand_in.arrive() if request.endpoint in ENDPOINTS else None

    @website.after_request
    def leave(response: Response) -> Response:
        response.headers.update(ART if request.endpoint == "art" else PAGE)
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
    def player() -> Any:
        person = stand_in.whose(request.headers.get("Authorization", ""), SCOPE)
        body = stand_in.playing(person)
        if body is None:
            return "", 204
        told = "episode" in request.args.get("additional_types", "")
        podcast = body.get("currently_playing_type") == "episode"
        return {**body, "item": None} if podcast and not told else body

    @website.get("/art/<name>")
    def art(name: str) -> Response:
        if name.endswith(".jpg"):
            return website.send_static_file(name)
        svg = render_template("cover.svg", draw=Random(name))
        return Response(svg, mimetype="image/svg+xml")

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
            there = next(iter(request.form), "")
            return redirect(f"{request.script_root}/switches#{there}", 303)
        return render_template("switches.html", endpoints=ENDPOINTS)

    return website
