"""What plays in the stand-in, and the covers it draws."""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

PEOPLE = {"robin": "Robin Vale", "mika": "Mika Okonjo", "ines": "Inès Aldana"}
PALETTES = (
    "#1d3557 #457b9d #a8dadc #f1faee #e63946",
    "#264653 #2a9d8f #e9c46a #f4a261 #e76f51",
    "#3d405b #81b29a #f4f1de #e07a5f #f2cc8f",
    "#0b3954 #087e8b #bfd7ea #ff5a5f #ffe1a8",
    "#5f0f40 #9a031e #fb8b24 #e36414 #ffd6a5",
    "#355070 #6d597a #b56576 #e56b6f #eaac8b",
)
TILES = (
    '<path d="M0 0h160a160 160 0 0 1-160 160z"/>',
    '<path d="M0 80a80 80 0 0 1 160 0z"/><path d="M0 160a80 80 0 0 1 160 0z"/>',
    '<circle cx="80" cy="80" r="80"/>',
    '<path d="M0 0h160L0 160z"/>',
)


class Item(NamedTuple):
    """One thing that plays: for how long, and what Spotify answers meanwhile."""

    seconds: int
    answer: dict[str, Any] | None


def programme(base: str) -> dict[str, Item]:
    """Return the items by name, in order; their addresses lead to `base`."""
    text = Path(__file__).with_suffix(".json").read_text("utf-8")
    items = json.loads(text.replace("BASE", base)).items()
    return {name: Item(**item) for name, item in items}


def at(items: Sequence[Item], since: float, now: float) -> dict[str, Any] | None:
    """Return what plays now if these items loop since then; None is a 204."""
    left = (now - since) % sum(item.seconds for item in items)
    while left >= items[0].seconds:
        left, items = left - items[0].seconds, items[1:]
    started = {"timestamp": int((now - left) * 1000), "progress_ms": int(left * 1000)}
    return None if items[0].answer is None else started | items[0].answer


def profile(person: str, api_url: str) -> dict[str, Any]:
    """Return the profile of one of these people, or of anybody else."""
    return {
        "id": person,
        "account_id": f"{person:0<22}",
        "display_name": PEOPLE.get(person, person),
        "external_urls": {"spotify": f"https://open.spotify.com/user/{person}"},
        "href": f"{api_url}/users/{person}",
        "images": [],
        "type": "user",
        "uri": f"spotify:user:{person}",
    }


def tiles(draw: Random, colours: list[str]) -> Iterator[str]:
    """Draw quarter circles, arches, dots and wedges on a grid."""
    for x, y in ((x, y) for x in range(0, 640, 160) for y in range(0, 640, 160)):
        back, front = draw.sample(colours, 2)
        turn = f"translate({x} {y}) rotate({draw.randrange(0, 360, 90)} 80 80)"
        yield f'<path fill="{back}" d="M{x} {y}h161v161h-161z"/>'
        yield f'<g fill="{front}" transform="{turn}">{draw.choice(TILES)}</g>'


def hills(draw: Random, colours: list[str]) -> Iterator[str]:
    """Draw a sun over hills."""
    sky, sun, *land = colours
    yield f'<path fill="{sky}" d="M0 0h640v640H0z"/>'
    x, y, r = draw.randint(160, 480), draw.randint(150, 250), draw.randint(80, 130)
    yield f'<circle cx="{x}" cy="{y}" r="{r}" fill="{sun}"/>'
    for top, colour in zip((300, 400, 500), land, strict=True):
        a, b, c, d = (top + draw.randint(-70, 70) for _ in range(4))
        yield f'<path fill="{colour}" d="M0 {a}C210 {b} 430 {c} 640 {d}V640H0z"/>'


def rings(draw: Random, colours: list[str]) -> Iterator[str]:
    """Draw rings that drift towards a corner."""
    x, y = draw.choice((-1, 1)), draw.choice((-1, 1))
    yield f'<path fill="{colours[0]}" d="M0 0h640v640H0z"/>'
    for n, colour in enumerate(colours[1:] + colours[:2]):
        cx, cy, r = 320 + x * n * 24, 320 + y * n * 24, 290 - n * 48
        yield f'<circle cx="{cx}" cy="{cy}" r="{r}" fill="{colour}"/>'


@lru_cache(maxsize=256)
def cover(seed: str, size: str) -> str:
    """Return the abstract cover of this seed as SVG, always the same."""
    draw = Random(seed)
    colours = draw.choice(PALETTES).split()
    draw.shuffle(colours)
    shapes = "".join(draw.choice((tiles, hills, rings))(draw, colours))
    size = size if size in ("64", "300") else "640"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" '
        f'viewBox="0 0 640 640">{shapes}</svg>'
    )
