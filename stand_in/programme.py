"""What plays in the stand-in, and when."""

import json
from pathlib import Path
from typing import Any, NamedTuple


class Item(NamedTuple):
    """One thing that plays: for how long, and what Spotify answers meanwhile."""

    seconds: int
    answer: dict[str, Any] | None


def programme(base: str) -> dict[str, Item]:
    """Return the items by name, in order; their addresses lead to `base`."""
    text = Path(__file__).with_suffix(".json").read_text("utf-8").replace("BASE", base)
    return {name: Item(**item) for name, item in json.loads(text).items()}


def at(items: list[Item], since: float, now: float) -> dict[str, Any] | None:
    """Return what plays now if these items loop since then; None is a 204."""
    left = (now - since) % sum(item.seconds for item in items)
    while left >= items[0].seconds:
        left, items = left - items[0].seconds, items[1:]
    started = {"timestamp": int((now - left) * 1000), "progress_ms": int(left * 1000)}
    return None if items[0].answer is None else started | items[0].answer
