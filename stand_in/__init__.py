"""A stand-in for Spotify: a website of its own, for the demo, tests and benchmarks."""

from .failures import FAILURES
from .server import Hold, StandIn
from .website import Call

__all__ = ["FAILURES", "Call", "Hold", "StandIn"]
