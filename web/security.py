"""What every request has to pass, and what every answer carries."""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from flask import Flask, current_app, redirect, request, session
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.wrappers import Response as BaseResponse

from addresses import USUAL_PORTS, is_local, port_of
from config import Config
from problems import Problem

COOKIE_DAYS = 180  # Spotify ends every login after six months
LARGEST_REQUEST = 16_384  # bytes of a body; nothing here needs one
ANY_HOST = ("healthz", "readyz", "static")  # probes come by address

LOGIN_STEPS = ("login", "callback", "logout")  # they change something

View = TypeVar("View", bound=Callable[..., Any])

log = logging.getLogger("now_playing")


def init_app(app: Flask, config: Config) -> None:
    """Check every request, and give every answer its headers."""
    app.url_map.merge_slashes = False  # or a redirect would repeat the query
    # As the OWASP session management cheat sheet has it.
    app.config.update(
        # The app's own, as cookies ignore ports.
        SESSION_COOKIE_NAME="__Host-now_playing" if config.secure else "now_playing",
        SESSION_COOKIE_SECURE=config.secure,
        SESSION_COOKIE_SAMESITE="Lax",  # Strict would lose it at the callback
        SESSION_REFRESH_EACH_REQUEST=False,
        ORIGIN=config.origin,
        PERMANENT_SESSION_LIFETIME=timedelta(days=COOKIE_DAYS),
    )
    headers = _headers(config)
    app.wsgi_app = _with_headers(app.wsgi_app, headers)  # type: ignore[method-assign]
    own_hosts = _own_hosts(config.origin)

    @app.before_request
    def check() -> BaseResponse | None:
        environ, endpoint = request.environ, request.endpoint
        host = environ.get("HTTP_HOST", "").lower()
        if host not in own_hosts and endpoint not in ANY_HOST:
            return _move_to_own_host(config, host)
        if not request.query_string.isascii():
            raise Problem("bad_request")
        length = request.content_length or 0
        if length > LARGEST_REQUEST or "HTTP_TRANSFER_ENCODING" in environ:
            raise Problem("too_large")
        _refuse_what_no_person_wants(endpoint)
        return None


def query_argument(name: str) -> str:
    """Return a query argument, empty unless it is there exactly once."""
    values = request.args.getlist(name)
    return values[0] if len(values) == 1 else ""


def forget_unreadable_session() -> bool:
    """Tell whether the browser's session can't be read, as after a restart; drop it."""
    unreadable = current_app.config["SESSION_COOKIE_NAME"] in request.cookies
    if unreadable := unreadable and not session:
        session.clear()
    return unreadable


def from_own_pages(view: View) -> View:
    """Refuse what another site has sent: for a route that changes something."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        headers, origin = request.headers, current_app.config["ORIGIN"]
        source = headers.get("Origin") or headers.get("Referer") or origin
        scheme, _, rest = source.partition("://")
        own = f"{scheme}://{rest.partition('/')[0]}".lower() == origin
        # Older browsers do not send Sec-Fetch-Site, and others than browsers neither.
        site = headers.get("Sec-Fetch-Site", "same-origin" if own else "")
        if site not in ("same-origin", "none"):
            raise Problem("cross_site")
        return view(*args, **kwargs)

    return guarded  # type: ignore[return-value]


def _refuse_what_no_person_wants(endpoint: str | None) -> None:
    """Refuse prefetches, and logins that begin in a picture or a frame."""
    headers, rule = request.headers, request.url_rule
    if request.method == "HEAD" and rule and endpoint in LOGIN_STEPS:
        raise MethodNotAllowed(sorted((rule.methods or set()) - {"HEAD"}))
    purposes = (headers.get(name, "") for name in ("Sec-Purpose", "Purpose", "X-Moz"))
    if endpoint not in ANY_HOST and any("prefetch" in it for it in purposes):
        raise Problem("cross_site")
    destination = headers.get("Sec-Fetch-Dest", "document")
    if endpoint in ("login", "callback") and destination != "document":
        raise Problem("cross_site")


def _own_hosts(origin: str) -> set[str]:
    """Return the Host headers that mean this origin."""
    uri = urlsplit(origin)
    name = uri.netloc.removesuffix(f":{uri.port}")
    usual = port_of(uri) == USUAL_PORTS[uri.scheme]
    return {f"{name}:{port_of(uri)}", name if usual else uri.netloc}


def _move_to_own_host(config: Config, host: str) -> BaseResponse:
    """Redirect from another name of this machine. Raises Problem for any other host.

    Spotify forbids localhost redirect URIs, and cookies do not cross names, so people
    have to be at the one right name before any cookie is set.
    """
    own, port = urlsplit(config.origin), None
    with suppress(ValueError):
        uri = urlsplit(f"http://{host}")
        if uri.netloc == host and "@" not in host and is_local(uri):
            port = port_of(uri)
    here = is_local(own) and port in (port_of(own), config.port)
    if not here or request.method not in ("GET", "HEAD"):
        log.warning("unknown host %s: this is %s", quote(host, ":[]"), config.origin)
        raise Problem("wrong_host")
    query = quote(request.query_string, "=&%+")
    path = quote(request.path) + (query and f"?{query}")
    return redirect(config.origin + path, 307)


def _headers(config: Config) -> list[tuple[str, str]]:
    pictures = f"https://*.scdn.co https://*.spotifycdn.com {config.art_origin or ''}"
    headers = [
        (
            "Content-Security-Policy",
            "default-src 'none'; style-src 'self'; script-src 'self'; "
            "connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
            "frame-ancestors 'none'; form-action 'self'; "
            f"img-src 'self' {pictures.strip()}",
        ),
        ("Referrer-Policy", "same-origin"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ]
    if config.secure:
        headers.append(("Strict-Transport-Security", "max-age=31536000"))
    return headers


def _with_headers(wsgi_app: Any, headers: list[tuple[str, str]]) -> Any:
    """Add headers to every answer, outside Flask, which would look at each again."""

    def app(environ: Any, start_response: Any) -> Any:
        def start(status: str, given: list[tuple[str, str]], *error: Any) -> Any:
            if all(name != "Cache-Control" for name, _ in given):
                given = [*given, ("Cache-Control", "no-store")]
            return start_response(status, given + headers, *error)

        return wsgi_app(environ, start)

    return app
