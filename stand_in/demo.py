"""The demo: the app, and the stand-in under /stand-in of the same server."""

import os
from dataclasses import replace

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import app
from config import DEMO_CLIENT_ID, Config, demo_settings, read_environ

from . import StandIn


def create_app() -> Flask:
    """Return the demo, for one process with threads."""
    config = Config.from_env(demo_settings(read_environ(os.environ)))
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)
    host = f"[{host}]" if ":" in host else host
    prefix = config.login_url.removeprefix(config.origin)
    url = f"http://{host}:{config.port}{prefix}"  # for the app; browsers have another
    config = replace(config, accounts_url=url, api_url=f"{url}/v1", daily_calls=0)
    demo = app.create_app(config)
    stand_in = StandIn(client_id=DEMO_CLIENT_ID, url=config.login_url)
    stand_in.redirect_uris = [config.redirect_uri]
    mounted = DispatcherMiddleware(demo.wsgi_app, {prefix: stand_in.website})
    demo.wsgi_app = mounted  # type: ignore[method-assign]
    return demo
