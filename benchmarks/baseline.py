"""The tekore docs' "Authenticating server" in its own manner, kept alive for today.

One tekore client for all, a call to Spotify for each view, Flask's own server. Only
where Spotify is has changed. What plays there must be what tekore's models accept.
"""

from __future__ import annotations

import os
import sys

import tekore as tk
from flask import Flask, redirect, request, session
from tekore._auth.expiring import client as auth_client
from tekore._client import base as api_client
from werkzeug.wrappers import Response


def app_factory(spotify_url: str, redirect_uri: str) -> Flask:
    """Return the docs example's app, talking to the stand-in at spotify_url."""
    auth_client.OAUTH_AUTHORIZE_URL = f"{spotify_url}/authorize"
    auth_client.OAUTH_TOKEN_URL = f"{spotify_url}/api/token"
    api_client.prefix = f"{spotify_url}/v1/"
    cred = tk.Credentials(os.environ["SPOTIFY_CLIENT_ID"], "secret", redirect_uri)
    spotify = tk.Spotify()
    auths: dict[str, tk.UserAuth] = {}
    users: dict[str, tk.Token] = {}
    login_msg = 'You can <a href="/login">login</a> or <a href="/logout">logout</a>'
    app = Flask(__name__)
    app.config["SECRET_KEY"] = "aliens"

    @app.route("/", methods=["GET"])
    def main() -> str:
        user = session.get("user", None)
        token = users.get(user)
        if user is None or token is None:
            session.pop("user", None)
            return f"User ID: None<br>{login_msg}"
        page = f"User ID: {user}<br>{login_msg}"
        if token.is_expiring:
            token = cred.refresh(token)
            users[user] = token
        try:
            with spotify.token_as(token):
                playback = spotify.playback_currently_playing()
            item = playback.item.name if playback else None
            page += f"<br>Now playing: {item}"
        except tk.HTTPError:
            page += "<br>Error in retrieving now playing!"
        return page

    @app.route("/login", methods=["GET"])
    def login() -> Response:
        if "user" in session:
            return redirect("/", 307)
        auth = tk.UserAuth(cred, tk.scope.user_read_currently_playing)
        auths[auth.state] = auth
        return redirect(auth.url, 307)

    @app.route("/callback", methods=["GET"])
    def login_callback() -> Response | tuple[str, int]:
        code = request.args.get("code", "")
        state = request.args.get("state", "")
        auth = auths.pop(state, None)
        if auth is None:
            return "Invalid state!", 400
        users[state] = auth.request_token(code, state)
        session["user"] = state
        return redirect("/", 307)

    return app


if __name__ == "__main__":
    spotify_url, port = sys.argv[1], int(sys.argv[2])
    factory = app_factory(spotify_url, f"http://127.0.0.1:{port}/callback")
    factory.run("127.0.0.1", port)
