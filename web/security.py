"""Checks of every request, and headers of every answer."""

from datetime import timedelta
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

from flask import Flask, Response, current_app, redirect, request
from flask.sessions import SecureCookieSessionInterface
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.wrappers import Response as BaseResponse

from addresses import is_local, parts_of, port_of
from config import Config
from problems import Problem, log

ANY_HOST = ("healthz", "readyz", "static")  # probes come by address
LOGIN_STEPS = ("login", "callback", "logout")  # they change something
PURPOSES = ("HTTP_SEC_PURPOSE", "HTTP_PURPOSE", "HTTP_X_MOZ")  # of prefetches

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; img-src 'self' https://*.scdn.co https://*.spotifycdn.com",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Session(SecureCookieSessionInterface):
    """Flask's own, but it makes its serializer once, not for every request."""

    get_signing_serializer = cache(SecureCookieSessionInterface.get_signing_serializer)


def init_app(app: Flask, config: Config) -> None:
    """Check every request, and give every answer its headers."""
    own = urlsplit(config.origin)
    secure = own.scheme == "https"
    app.url_map.merge_slashes = False  # or a redirect would repeat the query
    app.session_interface = Session()
    # As the OWASP session management cheat sheet recommends.
    app.config.update(
        # A name of the app's own, because cookies ignore ports.
        SESSION_COOKIE_NAME="__Host-now_playing" if secure else "now_playing",
        SESSION_COOKIE_SECURE=secure,
        SESSION_COOKIE_SAMESITE="Lax",  # Strict would lose it at the callback
        SESSION_REFRESH_EACH_REQUEST=False,
        ORIGIN=config.origin,
        # Spotify ends every login after six months.
        PERMANENT_SESSION_LIFETIME=timedelta(days=180),
    )
    with_port = own.netloc if own.port else f"{own.netloc}:{port_of(own)}"
    headers = dict(HEADERS)
    if config.art_origin:
        headers["Content-Security-Policy"] += f" {config.art_origin}"
    if secure:
        headers["Strict-Transport-Security"] = "max-age=31536000"

    class Protected(Response):
        """Adds headers last, or Flask would look at each of them again."""

        def get_wsgi_response(self, environ: Any) -> Any:
            self.headers.setdefault("Cache-Control", "no-store")
            body, status, given = super().get_wsgi_response(environ)
            return body, status, [*given, *headers.items()]

    app.response_class = Protected

    @app.before_request
    def check() -> BaseResponse | None:
        environ, endpoint = request.environ, request.endpoint
        host = environ.get("HTTP_HOST", "").lower()
        if host not in (own.netloc, with_port) and endpoint not in ANY_HOST:
            return _move_to_own_host(config, host)
        if not request.query_string.isascii():
            raise Problem("bad_request")
        length = request.content_length or 0  # bytes; nothing here needs a body
        if length > 16_384 or "HTTP_TRANSFER_ENCODING" in environ:
            raise Problem("too_large")
        _refuse_what_no_person_wants(endpoint)
        return None


def query_argument(name: str) -> str:
    """Return a query argument, empty unless it is there exactly once."""
    values = request.args.getlist(name)
    return values[0] if len(values) == 1 else ""


def refuse_other_sites() -> None:
    """Raise Problem if another site sent this. For routes that change something."""
    headers, origin = request.headers, current_app.config["ORIGIN"]
    source = headers.get("Origin") or headers.get("Referer") or origin
    own = f"{source}/".lower().startswith(f"{origin}/")
    # Older browsers don't send Sec-Fetch-Site, nor do programs such as curl.
    site = headers.get("Sec-Fetch-Site", "same-origin" if own else "")
    if site not in ("same-origin", "none"):
        raise Problem("cross_site")


def _refuse_what_no_person_wants(endpoint: str | None) -> None:
    """Refuse prefetches; at the steps of a login also HEAD, pictures and frames."""
    environ, rule = request.environ, request.url_rule
    if request.method == "HEAD" and rule and endpoint in LOGIN_STEPS:
        raise MethodNotAllowed(sorted((rule.methods or set()) - {"HEAD"}))
    purpose = " ".join(environ.get(name, "") for name in PURPOSES)
    prefetched = "prefetch" in purpose and endpoint not in ANY_HOST
    framed = environ.get("HTTP_SEC_FETCH_DEST", "document") != "document"
    if prefetched or (framed and endpoint in ("login", "callback")):
        raise Problem("cross_site")


def _move_to_own_host(config: Config, host: str) -> BaseResponse:
    """Redirect from another name of this machine. Raises Problem for any other host.

    Spotify forbids localhost redirect URIs, and cookies do not cross names.
    """
    own, uri = urlsplit(config.origin), parts_of(f"http://{host}")
    is_here = is_local(own) and is_local(uri) and uri.netloc == host
    leads_here = is_here and port_of(uri) in (port_of(own), config.port)
    if not leads_here or request.method not in ("GET", "HEAD"):
        log.warning("unknown host %s: this is %s", quote(host, ":[]"), config.origin)
        raise Problem("wrong_host")
    path = request.url.removeprefix(request.host_url)  # quoted, and with its query
    return redirect(f"{config.origin}/{path}", 307)
