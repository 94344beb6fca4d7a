"""A stand-in for Spotify: a website of its own, for the demo, tests and benchmarks."""

from .failures import FAILURES
from .handler import Call
from .server import Hold, StandIn

__all__ = ["FAILURES", "Call", "Hold", "StandIn"]
