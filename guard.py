"""What every request has to pass, and what every answer carries."""

from __future__ import annotations

import logging
import time
import traceback
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from flask import Flask, Response, g, redirect, request
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import URLSafeTimedSerializer
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.wrappers import Response as BaseResponse

from addresses import USUAL_PORTS, is_local, port_of
from config import Config
from problems import Problem

COOKIE_DAYS = 180  # Spotify ends every login after six months
LARGEST_REQUEST = 16_384  # bytes of a body; nothing here needs one
PROBES = ("healthz", "readyz")  # they come by address, whatever the app's name is
GUARDED = ("main", "login", "callback", "logout")  # they use or change something
ROUTINE = ("main", "now_playing", "static", *PROBES)

log = logging.getLogger("now_playing")


class App(Flask):
    """Flask, except that an unexpected error is logged without its text."""

    def log_exception(self, exc_info: Any) -> None:
        """Log the type and the places: the text may hold what no log should."""
        places = "".join(traceback.format_tb(exc_info[2]))
        log.error("%s at\n%s", exc_info[0].__name__, places)


class CookieSession(SecureCookieSessionInterface):
    """Flask's signed cookie; its signer is made once instead of at each request."""

    def __init__(self, app: Flask) -> None:
        self._signer = super().get_signing_serializer(app)

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        return self._signer


def install(app: Flask, config: Config, art_origin: str | None) -> None:
    """Check every request, and give every answer its headers and its log line."""
    app.url_map.merge_slashes = False  # or a redirect would repeat the query
    app.config.update(_settings(config))
    app.session_interface = CookieSession(app)
    uri = urlsplit(config.origin)
    port, name = port_of(uri), uri.netloc.removesuffix(f":{uri.port}")
    own_hosts = {f"{name}:{port}", uri.netloc}
    if port == USUAL_PORTS[uri.scheme]:
        own_hosts.add(name)
    headers = _headers(config, art_origin)

    @app.before_request
    def check() -> BaseResponse | None:
        g.started = time.perf_counter()
        host = request.environ.get("HTTP_HOST", "").lower()
        if host not in own_hosts and request.endpoint not in PROBES:
            here = _loopback_port(uri.scheme, host) in (port, config.port)
            if request.method not in ("GET", "HEAD") or not here:
                raise Problem("bad_request")
            # Spotify forbids localhost redirect URIs, and cookies do not cross names,
            # so move to the one right name before any cookie is set.
            query = quote(request.query_string, "=&%+")
            there = config.origin + quote(request.path) + (query and f"?{query}")
            return redirect(there, 307)
        if not request.query_string.isascii():
            raise Problem("bad_request")
        length = request.content_length or 0
        if length > LARGEST_REQUEST or "Transfer-Encoding" in request.headers:
            raise Problem("too_large")
        if request.endpoint in GUARDED:
            _check_action(request.endpoint, config.origin)
        return None

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers.extend(headers)
        response.headers.setdefault("Cache-Control", "no-store")
        # Pages and polls that go well would bury the rest, and cost a sixth more time.
        routine = response.status_code < 400 and request.endpoint in ROUTINE
        level = logging.DEBUG if routine else logging.INFO
        if log.isEnabledFor(level):
            started = g.get("started", time.perf_counter())
            log.log(
                level,
                "%s %s %d %.1f ms",
                quote(request.method),
                quote(request.path),  # without the query, which may hold a code
                response.status_code,
                1000 * (time.perf_counter() - started),
            )
        return response


def _settings(config: Config) -> dict[str, Any]:
    """Return Flask's settings (OWASP session management cheat sheet)."""
    return {
        "SECRET_KEY": config.secret_key,
        # Cookies ignore ports, so the name has to be the app's own.
        "SESSION_COOKIE_NAME": "__Host-now_playing" if config.secure else "now_playing",
        "SESSION_COOKIE_SECURE": config.secure,
        "SESSION_COOKIE_SAMESITE": "Lax",  # Strict would lose it at the callback
        "SESSION_REFRESH_EACH_REQUEST": False,
        "PERMANENT_SESSION_LIFETIME": timedelta(days=COOKIE_DAYS),
        "SEND_FILE_MAX_AGE_DEFAULT": 31_536_000,  # static URLs change with the content
    }


def _check_action(endpoint: str | None, origin: str) -> None:
    """Refuse what did not come from a person who wants it."""
    headers = request.headers
    if request.method == "HEAD" and endpoint != "main" and request.url_rule:
        raise MethodNotAllowed(sorted((request.url_rule.methods or set()) - {"HEAD"}))
    purposes = (headers.get(name, "") for name in ("Sec-Purpose", "Purpose", "X-Moz"))
    wanted = not any("prefetch" in purpose for purpose in purposes)
    if endpoint in ("login", "callback"):
        wanted &= headers.get("Sec-Fetch-Dest", "document") == "document"
    if endpoint == "logout":
        source = headers.get("Origin") or headers.get("Referer")
        own = source is None or _origin(source) == origin
        # Older browsers do not send Sec-Fetch-Site, and others than browsers neither.
        site = headers.get("Sec-Fetch-Site", "same-origin" if own else "")
        wanted &= site in ("same-origin", "none")
    if not wanted:
        raise Problem("cross_site")


def _origin(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}".lower()


def _loopback_port(scheme: str, host: str) -> int | None:
    """Return the port of a Host header that names this machine, else None."""
    try:
        uri = urlsplit(f"{scheme}://{host}")
        written_so = uri.netloc == host and "@" not in host
        return port_of(uri) if written_so and is_local(uri) else None
    except ValueError:
        return None


def _headers(config: Config, art_origin: str | None) -> list[tuple[str, str]]:
    pictures = "img-src 'self' https://*.scdn.co https://*.spotifycdn.com"
    policy = [
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        f"{pictures} {art_origin}" if art_origin else pictures,
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'self'",
    ]
    headers = [
        ("Content-Security-Policy", "; ".join(policy)),
        ("Referrer-Policy", "same-origin"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ]
    if config.secure:
        headers.append(("Strict-Transport-Security", "max-age=31536000"))
    return headers
