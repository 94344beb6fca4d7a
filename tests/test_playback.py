"""What Spotify's answers become: every known payload, and a great many broken ones."""

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from markupsafe import escape

from spotify.playback import read
from stand_in.failures import answer
from stand_in.server import PROGRAMME
from tests.conftest import Browser, Clock, shown
from tests.wire import CLOSE

Payload = dict[str, Any]

OPEN = "https://open.spotify.com"
ART = "https://i.scdn.co"
ANSWERS = json.loads(PROGRAMME.read_text("utf-8").replace("BASE", ART))


def plays(name: str, item: Payload | None = None, **more: Any) -> Any:
    """Return an answer of the stand-in's programme, with such changes."""
    answer = ANSWERS[name]["answer"]
    answer = {"timestamp": 1_702_851_692_462, "progress_ms": 20_000, **answer, **more}
    return answer | ({"item": answer["item"] | item} if item else {})


def told(payload: Payload | None, art_origin: str | None = None) -> Payload:
    """Return the JSON of what is read from an answer."""
    now = read(payload, art_origin)
    assert now
    return now.as_json()


def link(name: str, path: str = "") -> Payload:
    return {"name": name, "url": f"{OPEN}/{path}" if path else None}


NONE = ["kind", "title", "url", "from", "image", "year", "progress_ms", "duration_ms"]
NOTHING = {"state": "nothing", "by": [], "explicit": False} | dict.fromkeys(NONE)
AD = NOTHING | {"state": "ad", "progress_ms": 20_000}
READ = NOTHING | {"state": "playing", "progress_ms": 20_000, "duration_ms": 30_000}
WEATHER = link("Weather, Mostly", "album/e118ee1891dbc221e4bb9e")
KITCHEN = link("Questions for the Kitchen", "show/4414e5e72503dd01b979e8")
LIGHTHOUSE = link("The Lighthouse Accounts", "show/7a5e3b0c9d1f42867e4b3c")
OVERDUE = link("The Overdue Book", "show/2c6f0d81b5a94e37d0f1a6")
TRACK = READ | {
    "kind": "track",
    "title": "Second-Best Umbrella",
    "url": f"{OPEN}/track/d5cfdc1a6cbc9c2144fd64",
    "by": [
        link("Odile Marsh", "artist/c5a8e23ef159b88230e25b"),
        link("Halden & Rue", "artist/4cd42af5bddff2dd5ee6be"),
    ],
    "from": WEATHER,
    "image": f"{ART}/art/weather-640.jpg",
    "year": 2019,
}
FILE = READ | {"kind": "local", "title": "Kitchen Demo, Take 4"}
FILE |= {"by": [link("Me and the Neighbours")], "from": link("Phone Recordings")}
FILE |= {"progress_ms": 20_000, "duration_ms": 22_000}
EPISODE = READ | {"kind": "episode", "title": "Why Does the Fridge Hum at Night?"}
EPISODE |= {"url": f"{OPEN}/episode/520e7c1a3fe4ff0e96c688", "year": 2026}
EPISODE |= {"by": [KITCHEN], "from": KITCHEN}
EPISODE |= {"image": f"{ART}/art/3ccaf065989991b557973e.svg?size=640"}
CHAPTER = READ | {"kind": "chapter", "title": "Chapter 3: The Keeper's Ledger"}
CHAPTER |= {"url": f"{OPEN}/episode/b1d94c7f20e86a53f7c2d8"}
CHAPTER |= {"by": [LIGHTHOUSE], "from": LIGHTHOUSE}
CHAPTER |= {"image": f"{ART}/art/5e07c9a2b8f14d36a1e9f4.svg?size=640"}
BOOK = CHAPTER | {"title": "Chapter 7: A Ladder in the Library", "duration_ms": 28_000}
BOOK |= {"url": f"{OPEN}/episode/f48b20d6e93c7a15b8d0e2", "year": 2022}
BOOK |= {"by": [link("Petra Lindqvist"), link("Samuel Oyelaran")], "from": OVERDUE}
BOOK |= {"image": f"{ART}/art/91d3f6a0c57e28b4d6a0f3.svg?size=640"}

UNTAGGED: Payload = {"name": "", "artists": [], "album": {"name": ""}, "is_local": None}
NO_URI = UNTAGGED | {"uri": None, "is_local": True}
NO_WIDTHS = {"images": [{"url": f"{ART}/1"}, {"url": f"{ART}/2", "width": None}]}
ANONYMOUS = {"audiobook": ANSWERS["audiobook"]["answer"]["item"]["audiobook"].copy()}
ANONYMOUS["audiobook"]["authors"] = None

PAYLOADS: list[tuple[Payload | None, Payload]] = [
    (plays("duet"), TRACK),
    (plays("duet", is_playing=False), TRACK | {"state": "paused"}),
    (plays("duet", progress_ms=None), TRACK | {"progress_ms": None}),
    (plays("duet", progress_ms=-1_073), TRACK | {"progress_ms": 0}),  # a clock ahead
    (plays("duet", progress_ms=24_558_100), TRACK | {"progress_ms": 30_000}),  # closed
    (plays("duet", {"duration_ms": 0}), TRACK | {"duration_ms": None}),
    (plays("duet", {"explicit": True}), TRACK | {"explicit": True}),
    (plays("duet", NO_WIDTHS), TRACK | {"image": f"{ART}/1"}),
    (plays("duet", {"name": " "}), TRACK | {"state": "unknown", "title": None}),
    (plays("duet", {"type": "hologram"}), TRACK | {"kind": "hologram"}),
    (plays("duet", {"type": "ad"}), AD),
    (plays("local"), FILE),
    (plays("local", {"duration_ms": {"totalMilliseconds": 22_000}}), FILE),
    (plays("local", UNTAGGED), FILE),
    (plays("local", NO_URI), FILE | {"title": "Local file", "by": [], "from": None}),
    (plays("episode"), EPISODE),
    (plays("episode", {"release_date": "0000"}), EPISODE | {"year": None}),
    (plays("chapter"), CHAPTER),
    (plays("audiobook"), BOOK),
    (plays("audiobook", ANONYMOUS), BOOK | {"by": [OVERDUE]}),
    (plays("ad"), AD),
    (plays("ad", is_playing=False), NOTHING),
    (plays("ad", currently_playing_type="x"), AD | {"state": "unknown", "kind": "x"}),
    (plays("unknown"), NOTHING | {"state": "unknown"}),
    (plays("idle"), NOTHING),
    (plays("idle", is_playing=True), NOTHING),  # some say that they play
    (None, NOTHING),
]


def test_every_known_answer_is_read_and_shown(browser: Browser, clock: Clock) -> None:
    browser.log_in()
    for payload, expected in PAYLOADS:
        clock.advance(2.5)
        browser.spotify.play(payload)
        page, answer = browser.get("/"), browser.json()
        assert answer == expected | {"poll_after_ms": answer["poll_after_ms"]}
        assert shown(page) == expected["state"]
        assert str(escape(expected["title"] or "")) in page.text
    assert browser.spotify.calls[-1].query == {"additional_types": "track,episode"}
    assert browser.spotify.count("player") == len(PAYLOADS)


# ---- Mutants: every field of every kind of answer dropped, nulled and retyped

ODD = ["text", -7, 0.5, [1], {"a": 1}, True, 10**400, math.nan, None]


def is_well_formed(now: Payload) -> bool:
    links = [*now["by"], *filter(None, [now["from"]])]
    titles = [now["title"]] if now["state"] in ("playing", "paused") else []
    texts = [*titles, *(it["name"] for it in links)]
    numbers = [now["year"], now["progress_ms"], now["duration_ms"]]
    return (
        now["state"] in {"playing", "paused", "nothing", "ad", "unknown"}
        and isinstance(now["kind"], (str, type(None)))
        and all(text and isinstance(text, str) for text in texts)
        and all(it["url"] is None or it["url"].startswith(OPEN) for it in [now, *links])
        and (now["image"] or ART).startswith(ART)
        and type(now["explicit"]) is bool
        and all(it is None or (type(it) is int and it >= 0) for it in numbers)
    )


def mutants(value: Any) -> Iterator[Any]:
    """Give each copy with one field, however deep, dropped or odd."""
    fields = dict(enumerate(value)) if isinstance(value, list) else value
    for key in fields if isinstance(fields, dict) else ():
        others = {name: field for name, field in fields.items() if name != key}
        for change in [{}, *({key: odd} for odd in [*ODD, *mutants(fields[key])])]:
            mutant = others | change
            yield list(mutant.values()) if fields is not value else mutant


@pytest.mark.parametrize("name", ["duet", "local", "chapter", "audiobook"])
def test_every_mutant_is_read_as_something_that_can_be_shown(name: str) -> None:
    base = plays(name, UNTAGGED if name == "local" else {}, context=None)
    for mutant in mutants(base):
        now = told(mutant)
        json.dumps(now, allow_nan=False).encode()
        idle = mutant.get("item") is None and mutant.get("is_playing") is False
        assert (now["state"] == "nothing") is idle, mutant
        assert is_well_formed(now), mutant


# ---- Hostile text, links and pictures

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>"
TEXTS = [MARKUP, "\" onload='alert(1)' x=\"", "&lt;b&gt; {{ 7 * 7 }}"]
LINKED = {"external_urls": {"spotify": f"{OPEN}/artist/1"}}
TEXTS += ["a\0b", "a\ud800b"]


@pytest.mark.parametrize("known", [["display_name"], ["id"], ["display_name", "id"]])
def test_account_is_shown_as_text_as_far_as_it_is_known(
    known: list[str], browser: Browser
) -> None:
    profile = {"id": None, "display_name": " "} | dict.fromkeys(known, MARKUP)
    browser.spotify.fail("profile", answer(200, profile, CLOSE))
    browser.log_in()
    footer = browser.get("/").text.partition("</main>")[2]
    names = [it.split("</bdi>")[0] for it in footer.split("<bdi>")[1:]]
    assert names == [escape(MARKUP)] * len(known)


def test_hostile_text_is_shown_as_text(browser: Browser, clock: Clock) -> None:
    """As a title, in links and without one, and as a kind."""
    browser.log_in()
    for text in TEXTS:
        seen = text.replace("\0", "\ufffd").replace("\ud800", "\ufffd")
        name = {"name": text}
        named = name | {"artists": [name | LINKED], "album": name}
        for count, item in (3, named), (1, {"type": text, "name": None}):
            clock.advance(2.5)
            browser.spotify.play(plays("duet", item))
            page = browser.get("/").text
            assert browser.get("/now-playing").text.count(json.dumps(seen)) == count
            assert page.count(str(escape(seen))) >= count
            assert seen == escape(seen) or seen not in page


def test_long_text_and_long_lists_are_cut() -> None:
    images = [{"url": f"{ART}/{width}", "width": width} for width in range(1, 999)]
    long = {"name": "<i>long" * 700, "artists": [{"name": "x" * 600}] * 999}
    now = told(plays("duet", long | {"images": images}))
    assert (now["title"], now["image"]) == (long["name"][:500], f"{ART}/50")
    assert [it["name"] for it in now["by"]] == ["x" * 500] * 50


WRONG = r"""
javascript:alert(1)//https://HOST/  http://HOST/x  //HOST/x  https://x@HOST/x
https://HOST@evil.com/x  https://HOST.evil.com/x  https://evil.com/https://HOST/
https://evil.com\.HOST/  https://HOST\@evil.com/  https://HOST/"onclick="alert(1)
https://HOST/<script>alert(1)</script>  https://evilscdn.co/x"""
WRONG_URLS = [*WRONG.split(), "https://HOST/\n", "https://HOST/" + "a" * 5_000]


@pytest.mark.parametrize("url", WRONG_URLS, ids=range(len(WRONG_URLS)))
def test_address_that_leads_elsewhere_is_dropped(url: str) -> None:
    """Of a link and of a picture; the next picture takes its place."""
    bad = {"external_urls": {"spotify": url.replace("HOST", "open.spotify.com")}}
    picture = {"url": url.replace("HOST", "i.scdn.co"), "width": 300}
    item: Payload = bad | {"artists": [bad | {"name": "Odile"}]}
    item |= {"album": bad | {"name": "Mostly"}}
    now = told(plays("duet", item | {"images": [picture, {"url": f"{ART}/64"}]}))
    links = {"by": [link("Odile")], "from": link("Mostly"), "url": None}
    assert now == TRACK | links | {"image": f"{ART}/64", "year": None}


def test_pictures_of_spotify_and_of_the_configured_api_are_shown() -> None:
    """Not those of an origin that only starts like the configured one."""
    urls = ["http://x:11/1.svg", "http://x:1/1.svg?a=3", "https://a-b.spotifycdn.com/1"]
    song = plays("duet", {"images": [{"url": url} for url in urls]})
    assert [told(song, it)["image"] for it in ("http://x:1", None)] == urls[1:]
