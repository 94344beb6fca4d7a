"""The tekore docs' "Authenticating server", as it is there but for the addresses."""

import os

import tekore as tk
from flask import Flask, redirect, request, session, typing
from tekore._auth.expiring import client as auth_client
from tekore._client import base as api_client

auth_client.OAUTH_TOKEN_URL = os.environ["SPOTIFY_ACCOUNTS_URL"] + "/api/token"
api_client.prefix = os.environ["SPOTIFY_API_URL"] + "/"
cred = tk.Credentials("benchmark", "secret", "http://127.0.0.1/callback")
spotify = tk.Spotify()
auths: dict[str, tk.UserAuth] = {}  # Ongoing authorisations: state -> UserAuth
users: dict[str, tk.Token] = {}  # User tokens: state -> token (use state as a user ID)
login_msg = 'You can <a href="/login">login</a> or <a href="/logout">logout</a>'
app = Flask(__name__)
app.config["SECRET_KEY"] = "aliens"


@app.get("/")
def main() -> str:
    user = session.get("user", "")
    token = users.get(user)
    if token is None:
        session.pop("user", None)
        return f"User ID: None<br>{login_msg}"
    page = f"User ID: {user}<br>{login_msg}"
    if token.is_expiring:
        token = users[user] = cred.refresh(token)
    try:
        with spotify.token_as(token):
            playback = spotify.playback_currently_playing()
        item = playback.item.name if playback else None
        return page + f"<br>Now playing: {item}"
    except tk.HTTPError:
        return page + "<br>Error in retrieving now playing!"


@app.get("/login")
def login() -> typing.ResponseReturnValue:
    auth = tk.UserAuth(cred, tk.scope.user_read_currently_playing)
    auths[auth.state] = auth
    return redirect(auth.url, 307)


@app.get("/callback")
def login_callback() -> typing.ResponseReturnValue:
    session["user"] = state = request.args["state"]
    users[state] = auths.pop(state).request_token(request.args["code"], state)
    return redirect("/", 307)
