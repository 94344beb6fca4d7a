"""A stand-in for Spotify: a website of its own, for the demo, tests and benchmarks."""

from .failures import FAILURES as FAILURES
from .server import StandIn as StandIn
