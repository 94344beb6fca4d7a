"""What Spotify's answers become: every known payload, and a great many broken ones."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from markupsafe import escape

from spotify.playback import read
from stand_in import StandIn
from stand_in.failures import answer
from tests.conftest import Browser, Clock, shown
from tests.wire import CLOSE

Payload = dict[str, Any]

OPEN = "https://open.spotify.com"
ART = "https://i.scdn.co/image"


def thing(kind: str, name: str, **more: Any) -> Payload:
    """Return what all of Spotify's things have in common, and more."""
    urls = {"external_urls": {"spotify": f"{OPEN}/{kind}/{kind}1"}}
    return {"type": kind, "name": name, "uri": f"spotify:{kind}:1", **urls, **more}


def pictures(*widths: int | None) -> list[Payload]:
    return [{"url": f"{ART}/{w}", "width": w, "height": w} for w in widths]


def player(item: Payload | None, kind: str = "", **more: Any) -> Payload:
    return {
        "timestamp": 1702851692462,
        "context": thing("playlist", "Mix"),
        "progress_ms": 134_749,
        "item": item,
        "currently_playing_type": kind or (item and item["type"]),
        "is_playing": True,
        **more,
    }


def told(payload: Payload | None, art_origin: str | None = None) -> Payload:
    """Return the JSON of what is read from an answer."""
    now = read(payload, art_origin)
    assert now
    return now.as_json()


ARTISTS = [thing("artist", "Odile Marsh"), thing("artist", "Halden & Rue")]
ALBUM = thing("album", "Weather, Mostly", images=pictures(64, 640, 300))
ALBUM |= {"release_date": "2019-05-13"}
SONG = thing("track", "Second-Best Umbrella", explicit=True, duration_ms=245_581)
SONG |= {"artists": ARTISTS, "album": ALBUM, "is_local": False}
NO_WIDTHS = SONG | {"images": [{"url": f"{ART}/1"}, {"url": f"{ART}/2", "width": None}]}
NO_IDS: Payload = {"uri": None, "external_urls": {}}
FILE = SONG | NO_IDS | {"name": "Kitchen Demo", "is_local": None, "explicit": False}
FILE |= {"uri": "spotify:local:The+Neighbours:Phone:Kitchen+Demo%2C+take+4:22"}
FILE |= {"artists": [thing("artist", "The Neighbours") | NO_IDS]}
FILE |= {"album": thing("album", "Recordings", images=[], release_date=None) | NO_IDS}
FILE |= {"duration_ms": {"totalMilliseconds": 22_000}}
UNTAGGED = dict(FILE, name="", artists=[{"name": ""}], album={"name": ""})
SHOW = thing("show", "Kitchen Questions", images=pictures(None), total_episodes=9)
EPISODE = thing("episode", "Why Does the Fridge Hum?", show=SHOW, duration_ms=1_800_000)
EPISODE |= {"release_date": "2026-02-11", "images": pictures(320), "explicit": False}
EPISODE_OF_BOOK = dict(EPISODE, release_date="0000", images=None)
EPISODE_OF_BOOK |= {"show": dict(SHOW, total_episodes=None)}
BOOK = thing("audiobook", "The Lighthouse Ledger", images=pictures(300))
CHAPTER = dict(EPISODE, type="chapter", show=None, audiobook=BOOK)
SIGNED = dict(CHAPTER, type="episode", audiobook=dict(BOOK, authors=[{"name": "Ada"}]))
IDLE = {"timestamp": 0, "progress_ms": 0}

NONE = ["kind", "title", "url", "from", "image", "year", "progress_ms", "duration_ms"]
NOTHING = {"state": "nothing", "by": [], "explicit": False} | dict.fromkeys(NONE)
UNNAMED = dict(NOTHING, state="unknown", progress_ms=134_749)
THE_AD = dict(UNNAMED, state="ad")


def link(name: str, kind: str = "") -> Payload:
    return {"name": name, "url": f"{OPEN}/{kind}/{kind}1" if kind else None}


def playing(kind: str, title: str, **more: Any) -> Payload:
    now = {"state": "playing", "kind": kind, "title": title, "progress_ms": 134_749}
    return NOTHING | now | more


THE_TRACK = playing("track", "Second-Best Umbrella", explicit=True, duration_ms=245_581)
THE_TRACK |= {"url": f"{OPEN}/track/track1", "image": f"{ART}/640", "year": 2019}
THE_TRACK |= {"by": [link("Odile Marsh", "artist"), link("Halden & Rue", "artist")]}
THE_TRACK |= {"from": link("Weather, Mostly", "album")}
AT_ITS_END = dict(THE_TRACK, progress_ms=245_581)
UNNAMED_TRACK = dict(THE_TRACK, state="unknown", title=None)
THE_FILE = playing("local", "Kitchen Demo", progress_ms=22_000, duration_ms=22_000)
THE_FILE |= {"by": [link("The Neighbours")], "from": link("Recordings")}
BY_URI = THE_FILE | {"title": "Kitchen Demo, take 4", "from": link("Phone")}
NAMELESS = THE_FILE | {"title": "Local file", "by": [], "from": None}
THE_SHOW, THE_BOOK = link(SHOW["name"], "show"), link(BOOK["name"], "audiobook")
UNDATED = playing("episode", "Why Does the Fridge Hum?", duration_ms=1_800_000)
UNDATED |= {"url": f"{OPEN}/episode/episode1", "image": f"{ART}/320"}
UNDATED |= {"by": [THE_SHOW], "from": THE_SHOW}
THE_EPISODE = UNDATED | {"year": 2026}
THE_EPISODE_OF_BOOK = dict(UNDATED, kind="chapter", image=f"{ART}/None")
THE_CHAPTER = THE_EPISODE | {"kind": "chapter", "by": [THE_BOOK], "from": THE_BOOK}
BY_ADA = dict(THE_CHAPTER, by=[link("Ada")])

PAYLOADS: dict[str, tuple[Payload | None, Payload]] = {
    "track": (player(SONG), THE_TRACK),
    "paused": (player(SONG, is_playing=False), dict(THE_TRACK, state="paused")),
    "no position": (player(SONG, progress_ms=None), dict(THE_TRACK, progress_ms=None)),
    "clock ahead": (player(SONG, progress_ms=-1_073), dict(THE_TRACK, progress_ms=0)),
    "closed player": (player(SONG, progress_ms=24_558_100), AT_ITS_END),
    "no length": (player(dict(SONG, duration_ms=0)), dict(THE_TRACK, duration_ms=None)),
    "no widths": (player(NO_WIDTHS), dict(THE_TRACK, image=f"{ART}/1")),
    "no name": (player(dict(SONG, name=" ")), UNNAMED_TRACK),
    "local file": (player(FILE), THE_FILE),
    "untagged": (player(UNTAGGED), BY_URI),
    "nameless, without a uri": (
        player(dict(UNTAGGED, uri=None, is_local=True)),
        NAMELESS,
    ),
    "episode": (player(EPISODE), THE_EPISODE),
    "episode without a date": (player(dict(EPISODE, release_date="0000")), UNDATED),
    "track not told": (player(None, "track"), dict(UNNAMED, kind="track")),
    "chapter as an episode": (player(EPISODE_OF_BOOK, "episode"), THE_EPISODE_OF_BOOK),
    "chapter of an audiobook": (player(CHAPTER, "episode"), THE_CHAPTER),
    "chapter with an author": (player(SIGNED, "episode"), BY_ADA),
    "ad": (player(None, "ad"), THE_AD),
    "ad by its item": (player(dict(SONG, type="ad"), "track"), THE_AD),
    "unknown": (player(None, "unknown", timestamp=0), UNNAMED),
    "new type": (player(dict(SONG, type="hologram")), dict(THE_TRACK, kind="hologram")),
    "idle device": (player(None, "unknown", timestamp=0, is_playing=False), NOTHING),
    "idle device that plays": (player(None, "unknown", **IDLE), NOTHING),
    "idle after an ad": (player(None, "ad", is_playing=False), NOTHING),
    "nothing": (None, NOTHING),
}


def test_every_known_answer_is_read_and_shown(
    browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    browser.log_in()
    for name, (payload, expected) in PAYLOADS.items():
        clock.advance(2.5)
        spotify.play(payload)
        page, answer = browser.get("/"), browser.json()
        assert answer == expected | {"poll_after_ms": answer["poll_after_ms"]}, name
        assert shown(page) == expected["state"], name
        assert str(escape(expected["title"] or "")) in page.text, name
        assert spotify.calls[-1].query == {"additional_types": "track,episode"}
    assert spotify.count("player") == len(PAYLOADS)


# ---- Mutants: every field of every kind of answer dropped, nulled and retyped

ODD = ["text", -7, 0.5, [1], {"a": 1}, True, 10**400, math.nan, None]
BASES = ["track", "untagged", "chapter of an audiobook", "chapter as an episode"]


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


@pytest.mark.parametrize("name", BASES)
def test_every_mutant_is_read_as_something_that_can_be_shown(name: str) -> None:
    base = PAYLOADS[name][0]
    assert base
    for mutant in mutants(base):
        now = told(mutant)
        json.dumps(now, allow_nan=False).encode()
        idle = mutant.get("item") is None and mutant.get("is_playing") is False
        assert (now["state"] == "nothing") is idle, mutant
        assert is_well_formed(now), mutant


# ---- Hostile text, links and pictures

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>"
TEXTS = [MARKUP, "\" onload='alert(1)' x=\"", "&lt;b&gt; {{ 7 * 7 }}"]
TEXTS += ["a\0b", "a\ud800b"]


def test_hostile_text_is_shown_as_text(
    browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    """As the account's, a title, in links and without one, and as a kind."""
    profile = answer(200, {"display_name": MARKUP, "id": MARKUP}, CLOSE)
    spotify.fail("profile", profile)
    browser.log_in()
    assert browser.get("/").text.count(str(escape(MARKUP))) == 2
    for text in TEXTS:
        seen = text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
        people, plain = [thing("show", text)], {"name": text}
        named = SONG | {"name": text, "artists": people, "album": plain}
        for count, item in (3, named), (1, SONG | {"type": text, "name": None}):
            clock.advance(2.5)
            spotify.play(player(item))
            page = browser.get("/").text
            assert browser.get("/now-playing").text.count(json.dumps(seen)) == count
            assert page.count(str(escape(seen))) >= count
            assert seen == escape(seen) or seen not in page


def test_long_text_and_long_lists_are_cut() -> None:
    name, artists = "<i>long" * 700, [thing("artist", "x" * 600)] * 999
    images = pictures(*range(1, 999))
    now = told(player(SONG | {"name": name, "artists": artists, "images": images}))
    assert (now["title"], now["image"]) == (name[:500], f"{ART}/50")
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
    album = ALBUM | bad | {"images": [picture, *pictures(64)]}
    song = SONG | bad | {"artists": [ARTISTS[0] | bad], "album": album}
    assert told(player(song)) == THE_TRACK | {
        "url": None,
        "by": [link("Odile Marsh")],
        "from": link("Weather, Mostly"),
        "image": f"{ART}/64",
    }


def test_pictures_of_spotify_and_of_the_configured_api_are_shown() -> None:
    """Not those of an origin that only starts like the configured one."""
    urls = ["http://x:11/1.svg", "http://x:1/1.svg?a=3", "https://a-b.spotifycdn.com/1"]
    song = player(SONG | {"images": [{"url": url} for url in urls]})
    assert [told(song, it)["image"] for it in ("http://x:1", None)] == urls[1:]
