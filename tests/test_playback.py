"""What Spotify's answers become: every known payload, and a great many broken ones."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
from markupsafe import escape

from spotify.playback import read
from stand_in import StandIn
from tests.conftest import Browser, Clock

Payload = dict[str, Any]

OPEN = "https://open.spotify.com"
ART = "https://i.scdn.co/image"
STATES = {"playing", "paused", "nothing", "ad", "unknown"}


def thing(kind: str, name: str, **more: Any) -> Payload:
    """Return what all of Spotify's things have in common, and more."""
    ids = {"id": f"{kind}1", "uri": f"spotify:{kind}:{kind}1", "href": f"/{kind}1"}
    urls = {"external_urls": {"spotify": f"{OPEN}/{kind}/{kind}1"}}
    return {"type": kind, "name": name, **ids, **urls, **more}


def pictures(*widths: int | None, host: str = ART) -> list[Payload]:
    return [{"url": f"{host}/{w}", "width": w, "height": w} for w in widths]


def player(item: Payload | None, kind: str = "track", **more: Any) -> Payload:
    return {
        "timestamp": 1702851692462,
        "context": thing("playlist", "Mix"),
        "progress_ms": 134_749,
        "item": item,
        "currently_playing_type": kind,
        "actions": {"disallows": {"resuming": True}},
        "is_playing": True,
        **more,
    }


ARTISTS = [thing("artist", "Odile Marsh"), thing("artist", "Halden & Rue")]
ALBUM = thing(
    "album",
    "Weather, Mostly",
    album_type="single",
    artists=ARTISTS[:1],
    images=pictures(640, 300, 64),
    release_date="2019-05-13",
    release_date_precision="day",
    total_tracks=6,
)
SONG = thing(
    "track",
    "Second-Best Umbrella",
    artists=ARTISTS,
    album=ALBUM,
    duration_ms=245_581,
    explicit=True,
    is_local=False,
    track_number=6,
    disc_number=1,
    preview_url=None,
)
BEFORE_2026 = {
    "popularity": 44,
    "external_ids": {"isrc": "XX0000000000"},
    "available_markets": ["DE", "SE"],
    "linked_from": {},
}
NO_IDS: Payload = {"id": None, "uri": None, "href": None, "external_urls": {}}
FILE = thing(
    "track",
    "Kitchen Demo",
    artists=[thing("artist", "The Neighbours") | NO_IDS],
    album=thing(
        "album",
        "Phone Recordings",
        album_type=None,
        artists=[],
        images=[],
        release_date=None,
        release_date_precision=None,
    )
    | NO_IDS,
    duration_ms=22_000,
    explicit=False,
    is_local=True,
) | (NO_IDS | {"uri": "spotify:local:The+Neighbours:Phone:Kitchen+Demo%2C+take+4:22"})
SHOW = thing("show", "Kitchen Questions", images=pictures(640, 64, host=f"{ART}/show"))
EPISODE = thing(
    "episode",
    "Why Does the Fridge Hum?",
    show=SHOW,
    duration_ms=1_800_000,
    explicit=False,
    images=pictures(640, 300, 64, host=f"{ART}/episode"),
)
ODD_NULLS = {"description": None, "languages": None, "resume_point": None}
CHAPTER = EPISODE | ODD_NULLS | {"images": None, "explicit": None, "duration_ms": None}

TRACK = player(SONG)
LOCAL = player(FILE, context=None, progress_ms=9_000)
PODCAST = player(EPISODE, "episode", context=None)
AD = player(None, "ad", context=None, progress_ms=4_000)
UNKNOWN = player(None, "unknown", context=None, timestamp=0, progress_ms=None)

NOTHING: Payload = {
    "state": "nothing",
    "kind": None,
    "title": None,
    "url": None,
    "by": [],
    "from": None,
    "image": None,
    "explicit": False,
    "progress_ms": None,
    "duration_ms": None,
}
UNNAMED = NOTHING | {"state": "unknown"}
THE_TRACK = {
    "state": "playing",
    "kind": "track",
    "title": "Second-Best Umbrella",
    "url": f"{OPEN}/track/track1",
    "by": [
        {"name": "Odile Marsh", "url": f"{OPEN}/artist/artist1"},
        {"name": "Halden & Rue", "url": f"{OPEN}/artist/artist1"},
    ],
    "from": {"name": "Weather, Mostly", "url": f"{OPEN}/album/album1"},
    "image": f"{ART}/300",
    "explicit": True,
    "progress_ms": 134_749,
    "duration_ms": 245_581,
}
THE_FILE = NOTHING | {
    "state": "playing",
    "kind": "local",
    "title": "Kitchen Demo",
    "by": [{"name": "The Neighbours", "url": None}],
    "from": {"name": "Phone Recordings", "url": None},
    "progress_ms": 9_000,
    "duration_ms": 22_000,
}
THE_SHOW = {"name": "Kitchen Questions", "url": f"{OPEN}/show/show1"}
THE_EPISODE = NOTHING | {
    "state": "playing",
    "kind": "episode",
    "title": "Why Does the Fridge Hum?",
    "url": f"{OPEN}/episode/episode1",
    "by": [THE_SHOW],
    "from": THE_SHOW,
    "image": f"{ART}/episode/300",
    "progress_ms": 134_749,
    "duration_ms": 1_800_000,
}
THE_CHAPTER = {"image": f"{ART}/show/640", "duration_ms": None}

PAYLOADS = {
    "track": (TRACK, THE_TRACK),
    "track before 2026": (player(SONG | BEFORE_2026), THE_TRACK),
    "no context": (player(SONG, context=None), THE_TRACK),
    "paused": (player(SONG, is_playing=False), THE_TRACK | {"state": "paused"}),
    "no word of pausing": (player(SONG, is_playing=None), THE_TRACK),
    "times as booleans": (
        player(SONG | {"duration_ms": True}, progress_ms=True),
        THE_TRACK | {"progress_ms": None, "duration_ms": None},
    ),
    "no progress": (player(SONG, progress_ms=None), THE_TRACK | {"progress_ms": None}),
    "progress past the end": (
        player(SONG, progress_ms=999_999),
        THE_TRACK | {"progress_ms": 245_581},
    ),
    "duration as an object": (
        player(SONG | {"duration_ms": {"totalMilliseconds": 245_581}}),
        THE_TRACK | {"duration_ms": None},
    ),
    "local file": (LOCAL, THE_FILE),
    "local file by its uri alone": (
        player(FILE | {"is_local": None}, progress_ms=9_000),
        THE_FILE,
    ),
    "local file without a name tag": (
        player(FILE | {"name": ""}, progress_ms=9_000),
        THE_FILE | {"title": "Kitchen Demo, take 4"},
    ),
    "local file without any name": (
        player(FILE | {"name": "", "uri": "spotify:local::::22"}, progress_ms=9_000),
        THE_FILE | {"state": "unknown", "title": None},
    ),
    "episode": (PODCAST, THE_EPISODE),
    "episode that is not told": (
        player(None, "episode"),
        UNNAMED | {"kind": "episode", "progress_ms": 134_749},
    ),
    "audiobook chapter": (player(CHAPTER, "episode"), THE_EPISODE | THE_CHAPTER),
    "audiobook chapter of nothing": (
        player(CHAPTER | {"show": None}, "episode"),
        THE_EPISODE | THE_CHAPTER | {"by": [], "from": None, "image": None},
    ),
    "ad": (AD, NOTHING | {"state": "ad", "progress_ms": 4_000}),
    "ad with an item": (
        player({"type": "ad", "name": ""}, "ad", progress_ms=4_000),
        NOTHING | {"state": "ad", "progress_ms": 4_000},
    ),
    "unknown": (UNKNOWN, UNNAMED),
    "new type of item": (
        player(SONG | {"type": "hologram"}),
        THE_TRACK | {"kind": "hologram"},
    ),
    "new type of everything": (
        player(EPISODE | {"type": "hologram"}, "hologram"),
        THE_EPISODE | {"kind": "hologram"},
    ),
    "new type that is not told": (
        player(None, "hologram", progress_ms=None),
        UNNAMED | {"kind": "hologram"},
    ),
    "new type beside a track": (player(SONG, "hologram"), THE_TRACK),
    "nothing": (None, NOTHING),
}


def strict_json(text: str) -> Any:
    """Read JSON as a browser does, which knows neither NaN nor Infinity."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    return json.loads(text, parse_constant=refuse)


def is_ms(value: Any) -> bool:
    return value is None or (type(value) is int and value >= 0)


def is_link(value: Any, start: str = f"{OPEN}/") -> bool:
    return value is None or (isinstance(value, str) and value.startswith(start))


def flaw(now: Payload) -> str | None:
    """Tell what is wrong with the form of an answer of /now-playing, if anything is."""
    links = [*now["by"], *([now["from"]] if now["from"] else [])]
    checks = {
        "keys": now.keys() == NOTHING.keys() | {"poll_after_ms"},
        "state": now["state"] in STATES,
        "kind": now["kind"] is None or isinstance(now["kind"], str),
        "title": isinstance(now["title"], str)
        or (now["title"] is None and now["state"] not in ("playing", "paused")),
        "url": is_link(now["url"]),
        "links": all(one.keys() == {"name", "url"} for one in links),
        "names": all(one["name"] and isinstance(one["name"], str) for one in links),
        "their urls": all(is_link(one["url"]) for one in links),
        "image": is_link(now["image"], "https://i.scdn.co/"),
        "explicit": type(now["explicit"]) is bool,
        "progress_ms": is_ms(now["progress_ms"]),
        "duration_ms": is_ms(now["duration_ms"]),
        "poll_after_ms": type(now["poll_after_ms"]) is int and now["poll_after_ms"] > 0,
    }
    return next((name for name, fine in checks.items() if not fine), None)


@pytest.mark.parametrize(("payload", "expected"), PAYLOADS.values(), ids=PAYLOADS)
def test_known_answer_is_read(payload: Payload | None, expected: Payload) -> None:
    now = read(payload)
    assert now
    assert now.as_json() == expected


def test_every_known_answer_is_shown(
    browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    browser.log_in()
    for name, (payload, expected) in PAYLOADS.items():
        clock.advance(2.5)
        spotify.play(payload)
        told = browser.json()
        assert flaw(told) is None, name
        assert told == expected | {"poll_after_ms": told["poll_after_ms"]}, name
        page = browser.get("/").get_data(as_text=True)
        assert f'data-state="{expected["state"]}"' in page, name
        by = [one["name"] for one in expected["by"]] if expected["title"] else []
        for shown in filter(None, [expected["title"], *by]):
            assert str(escape(shown)) in page, name
        assert spotify.calls[-1].query == {"additional_types": "track,episode"}
    assert spotify.count("player") == len(PAYLOADS)


def test_empty_200_means_nothing_plays(browser: Browser, spotify: StandIn) -> None:
    spotify.fail("player", "empty_200")
    browser.log_in()
    assert browser.json() == NOTHING | {"poll_after_ms": 30_000}


@pytest.mark.parametrize(
    "payload", [{}, [], [TRACK], "x", "", 123, 0, True, False, {"error": {}}, math.nan]
)
def test_answer_that_is_no_player_answer_is_not_read(payload: Any) -> None:
    assert read(payload) is None


# ---- Mutants: every field of every kind of answer dropped, nulled and retyped

Path = tuple[str | int, ...]
OTHERS = ["text", -7, 0.5, [1], {"a": 1}, True, 10**400, math.nan, math.inf, None]
BASES = {
    "track": player(SONG | BEFORE_2026),
    "local file": LOCAL,
    "local file without a name tag": player(FILE | {"name": None}),
    "episode": PODCAST,
    "paused chapter": player(CHAPTER, "episode", is_playing=False),
    "ad": AD,
    "unknown": UNKNOWN,
}
# Which of the fields may change state, kind and title; any may become null or odd.
CONCERNS: dict[str, set[Path]] = {
    "state": {("is_playing",), ("item",), ("item", "name"), ("item", "uri")},
    "kind": {("item",), ("item", "type"), ("item", "is_local"), ("item", "uri")},
    "title": {("item",), ("item", "name"), ("item", "uri")},
}
WITHOUT_ITEM = CONCERNS | {
    "state": {("item",), ("currently_playing_type",)},
    "kind": {("item",), ("currently_playing_type",)},
}


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Give the path of every field, however deep."""
    inner = value.items() if isinstance(value, dict) else ()
    for key, field in enumerate(value) if isinstance(value, list) else inner:
        yield (*path, key)
        yield from paths(field, (*path, key))


def at(payload: Any, path: Path) -> Any:
    for key in path:
        payload = payload[key]
    return payload


def mutants(base: Payload) -> Iterator[tuple[str, Path, Payload]]:
    """Give every mutant of an answer with its name and the path that was mutated."""
    for path in paths(base):
        *parents, last = path
        dropped = deepcopy(base)
        del at(dropped, tuple(parents))[last]
        yield f"{path} dropped", path, dropped
        for other in OTHERS:
            if type(other) is type(at(base, path)) and not isinstance(other, str):
                continue
            retyped = deepcopy(base)
            at(retyped, tuple(parents))[last] = other
            yield f"{path} = {str(other)[:9]}", path, retyped


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_no_mutant_brings_the_app_out_of_step(
    base: Payload, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    browser.log_in()
    spotify.play(base)
    before = browser.json()
    concerns = CONCERNS if base["item"] else WITHOUT_ITEM
    wrong: list[object] = []
    for name, path, mutant in mutants(base):
        clock.advance(2.5)
        spotify.play(mutant)
        spotify.forget()
        answer = browser.get("/now-playing")
        page = browser.get("/")
        statuses = answer.status_code, page.status_code
        if statuses != (200, 200) or spotify.count("player") != 1:
            wrong.append((name, statuses, spotify.count("player")))
            continue
        now = strict_json(answer.get_data(as_text=True))
        changed = {field for field in concerns if now[field] != before[field]}
        unexpected = {field for field in changed if path not in concerns[field]}
        shown = f'data-state="{now["state"]}"' in page.get_data(as_text=True)
        if flaw(now) or unexpected or now["state"] == "nothing" or not shown:
            wrong.append((name, flaw(now), now))
    assert wrong == []


# ---- Hostile text, links and pictures

TEXTS = {
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "quotes": "\" onload='alert(1)' x=\"",
    "an entity": "&lt;b&gt; &amp; {{ 7 * 7 }} {% raw %}",
    "right to left": "\u202e\u05e9\u05dc\u05d5\u05dd\u202c (live)",
    "emoji": "\U0001f469\u200d\U0001f680\U0001f3a7",
    "NUL": "a\0b",
    "a lone surrogate": "a\ud800b",
    "a reversed pair": "a\udc00\ud83db",
    "5,000 characters": "<i>long" * 714 + "<i>",
}
PLACES: dict[str, Callable[[str], Payload]] = {
    "title": lambda text: player(SONG | {"name": text}),
    "artist": lambda text: player(SONG | {"artists": [thing("artist", text)]}),
    "album": lambda text: player(SONG | {"album": ALBUM | {"name": text}}),
    "artist without a link": lambda text: player(
        SONG | {"artists": [thing("artist", text) | NO_IDS]}
    ),
    "album without a link": lambda text: player(
        SONG | {"album": thing("album", text) | NO_IDS}
    ),
    "show": lambda text: player(EPISODE | {"show": SHOW | {"name": text}}, "episode"),
    "kind": lambda text: player(SONG | {"type": text, "name": None}),
}
FIELDS: dict[str, Callable[[Payload], str]] = {
    "title": lambda now: now["title"],
    "artist": lambda now: now["by"][0]["name"],
    "album": lambda now: now["from"]["name"],
    "artist without a link": lambda now: now["by"][0]["name"],
    "album without a link": lambda now: now["from"]["name"],
    "show": lambda now: now["by"][0]["name"],
    "kind": lambda now: now["kind"],
}


def displayable(text: str) -> str:
    """Return text with replacements for what neither HTML nor UTF-8 can hold."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_hostile_text_is_shown_as_text(
    text: str, browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    browser.log_in(person=text)
    shown = displayable(text)
    for place, payload in PLACES.items():
        clock.advance(2.5)
        spotify.play(payload(text))
        json_answer = browser.get("/now-playing").get_data(as_text=True)
        assert FIELDS[place](strict_json(json_answer)) == shown, place
        for path in ("/", "/now-playing"):
            answer = browser.get(path, Accept="text/html")
            page = answer.get_data().decode("utf-8")
            assert answer.status_code == 200
            assert str(escape(shown)) in page, place
            assert shown == str(escape(shown)) or shown not in page, place
    clock.advance(2.5)
    spotify.play(None)
    page = browser.get("/").get_data(as_text=True)
    assert page.count(str(escape(shown))) == 2  # the account's name and ID
    assert shown == str(escape(shown)) or shown not in page


LINKS: list[Any] = [
    "javascript:alert(1)",
    "JavaScript:alert(1)//https://open.spotify.com/",
    "data:text/html,https://open.spotify.com/",
    "http://open.spotify.com/track/1",
    "//open.spotify.com/track/1",
    "/track/1",
    "https://open.spotify.com.evil.com/track/1",
    "https://open.spotify.com@evil.com/track/1",
    "https://open.spotify.com:x@evil.com/track/1",
    "https://x@open.spotify.com/track/1",
    "https://evil.com/https://open.spotify.com/",
    "https://evilopen.spotify.com.co/",
    "https://open.spotify.com\\@evil.com/",
    "https://open.spotify.com\\.evil.com/",
    "https://open.spotify.com/a b",
    " https://open.spotify.com/track/1",
    "https://open.spotify.com/\n",
    "https://open.spotify.com/\0",
    'https://open.spotify.com/" onclick="alert(1)',
    "https://open.spotify.com/'><script>alert(1)</script>",
    "https://open.spotify.com/\u202ekcart",
    "https://open.spotify.com/" + "a" * 5_000,
    "https://\u043epen.spotify.com/track/1",
    "",
    None,
    7,
    ["https://open.spotify.com/track/1"],
]


@pytest.mark.parametrize("url", LINKS, ids=repr)
def test_link_that_leads_elsewhere_is_dropped(url: Any) -> None:
    urls = {"external_urls": {"spotify": url}}
    song = SONG | urls | {"artists": [ARTISTS[0] | urls], "album": ALBUM | urls}
    now = read(player(song))
    assert now
    assert (now.url, now.by[0].url, now.source) == (
        None,
        None,
        ("Weather, Mostly", None),
    )
    assert (now.title, now.by[0].name) == ("Second-Best Umbrella", "Odile Marsh")


BAD_PICTURES: list[Any] = [
    "javascript:alert(1)",
    "data:image/svg+xml,https://i.scdn.co/",
    "http://i.scdn.co/x",
    "ftp://i.scdn.co/x",
    "//i.scdn.co/x",
    "/image/x",
    "https://i.scdn.co.evil.com/x",
    "https://evilscdn.co/x",
    "https://scdn.co.evil/x",
    "https://evilspotifycdn.com/x",
    "https://x@i.scdn.co/y",
    "https://evil.com:x@i.scdn.co/y",
    "https://i.scdn.co@evil.com/y",
    "https://evil.com/i.scdn.co",
    "https://evil.com/.scdn.co",
    "https://evil.com?.scdn.co",
    "https://evil.com#.scdn.co",
    "https://evil.com\\.scdn.co/x",
    "https://i.scdn.co\\@evil.com/x",
    "https://i.scdn.co/a b",
    "https://i.scdn.co/\n",
    'https://i.scdn.co/" onerror="alert(1)',
    "https://i.scdn.co:80:80/x",
    "https://[i.scdn.co",
    "https://[",
    "https://",
    "https://127.0.0.1/x",
    "https://\u2139.scdn.co/x",
    "",
    None,
    7,
    {"url": f"{ART}/x"},
]


@pytest.mark.parametrize("url", BAD_PICTURES, ids=repr)
def test_picture_from_elsewhere_is_dropped(url: Any) -> None:
    bad = {"url": url, "width": 300, "height": 300}
    images = {"images": [bad, *pictures(64)]}
    assert getattr(read(player(SONG | {"album": ALBUM | images})), "image", "") == (
        f"{ART}/64"
    )
    alone = player(EPISODE | {"images": [bad], "show": SHOW | {"images": [bad]}})
    now = read(alone)
    assert now
    assert now.image is None


@pytest.mark.parametrize(
    "host",
    [
        "https://i.scdn.co",
        "https://mosaic.scdn.co",
        "https://image-cdn-ak.spotifycdn.com",
    ],
)
def test_picture_from_a_host_of_spotify_is_shown(
    host: str, browser: Browser, spotify: StandIn
) -> None:
    spotify.play(player(SONG | {"album": ALBUM | {"images": pictures(300, host=host)}}))
    browser.log_in()
    assert browser.json()["image"] == f"{host}/300"
    assert f'src="{host}/300"' in browser.get("/").get_data(as_text=True)


def test_bad_links_and_pictures_leave_no_trace_on_the_page(
    browser: Browser, spotify: StandIn, clock: Clock
) -> None:
    browser.log_in()
    for url in ("https://i.scdn.co.evil.com/x", "javascript:alert(1)", "//evil.com/x"):
        clock.advance(2.5)
        urls = {"external_urls": {"spotify": url}, "images": [{"url": url}]}
        spotify.play(player(SONG | urls | {"album": ALBUM | urls}))
        page = browser.get("/").get_data(as_text=True)
        assert "Second-Best Umbrella" in page
        assert url not in page
        assert "evil.com" not in browser.get("/now-playing").get_data(as_text=True)


def test_pictures_of_a_stand_in_are_shown_only_when_it_is_the_api() -> None:
    song = player(
        SONG | {"album": ALBUM | {"images": pictures(300, host="http://x:1")}}
    )
    look = partial(read, song)
    answers = [look(), look("http://x:1"), look("http://x"), look("http://x:11")]
    assert [now.image for now in answers if now] == [None, "http://x:1/300", None, None]


@pytest.mark.parametrize(
    ("widths", "chosen"),
    [
        ([640, 300, 64], 300),
        ([64, 300, 640], 300),
        ([640, 301, 299], 301),
        ([640, 299, 64], 640),
        ([64, 160], 160),
        ([160, 64], 160),
        ([2000], 2000),
        ([None, 64], 64),
        ([None, 640], 640),
        ([None], None),
    ],
)
def test_smallest_picture_of_300_px_is_chosen_or_else_the_largest(
    widths: list[int | None], chosen: int | None
) -> None:
    now = read(player(SONG | {"album": ALBUM | {"images": pictures(*widths)}}))
    assert now
    assert now.image == f"{ART}/{chosen}"


def test_first_picture_is_chosen_where_no_widths_are_told() -> None:
    images = [{"url": f"{ART}/first"}, {"url": f"{ART}/second"}]
    now = read(player(SONG | {"album": ALBUM | {"images": images}}))
    assert now
    assert now.image == f"{ART}/first"
