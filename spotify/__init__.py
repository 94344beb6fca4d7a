"""The conversation with Spotify."""

from .client import Spotify

__all__ = ["Spotify"]
