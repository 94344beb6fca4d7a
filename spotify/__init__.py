"""The conversation with Spotify."""

from .client import Spotify
from .sender import Sender
from .tokens import authorize_url, login_error, request_token

__all__ = ["Sender", "Spotify", "authorize_url", "login_error", "request_token"]
