"""The conversation with Spotify."""

from .client import Spotify
from .sender import Sender
from .tokens import Token, authorize_url, login_error, request_token

__all__ = [
    "Sender",
    "Spotify",
    "Token",
    "authorize_url",
    "login_error",
    "request_token",
]
