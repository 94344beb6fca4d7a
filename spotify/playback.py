"""Spotify's JSON in, NowPlaying out. Reads tolerantly and knows nothing of HTTP."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

Json = dict[str, Any]
PLAYER_FIELDS = {"item", "currently_playing_type", "is_playing"}
MOST_LISTED = 50  # artists, or pictures
LONGEST_TEXT = 500  # characters
LONGEST_MS = 10**10  # anything above four months is not a time in a track

# Milliseconds until a page asks again; up to a tenth is added at random.
POLL_MS = {"playing": 4_500, "paused": 13_500, "nothing": 27_000}
SOONEST_MS = 2_000  # before that, the answer would be the same

SPOTIFY = r"https://open\.spotify\.com"
ART_HOSTS = r"https://([a-z0-9-]+\.)+(scdn\.co|spotifycdn\.com)"
# Nothing but what URLs are made of: no quotes, spaces or backslashes.
PATH = r"/[!#-;=?-\[\]_a-z~]{0,1000}"
# spotify:local:Artist:Album:Title:seconds
LOCAL_URI = re.compile(r"spotify:local:([^:]*):([^:]*):(.*):\d*")


class Link(NamedTuple):
    """A name, and where it leads on open.spotify.com (or None)."""

    name: str
    url: str | None


@dataclass(frozen=True, slots=True)
class NowPlaying:
    """What one person is playing. Times are in milliseconds.

    state: playing, paused, nothing, ad or unknown. kind: track, episode, chapter,
    local, the name of another type, or None. by: the artists, or the show of an
    episode. source: the album, show or audiobook. image: a picture's URL.
    """

    state: str
    kind: str | None = None
    title: str | None = None
    url: str | None = None
    by: tuple[Link, ...] = ()
    source: Link | None = None
    image: str | None = None
    explicit: bool = False
    progress_ms: int | None = None
    duration_ms: int | None = None
    year: int | None = None

    def after(self, ms: float) -> NowPlaying:
        """Return the same, as it is ms milliseconds later."""
        if self.state not in ("playing", "ad") or self.progress_ms is None:
            return self
        progress = _ms(self.progress_ms + max(0, ms), self.duration_ms)
        return replace(self, progress_ms=progress)

    @property
    def poll_after_ms(self) -> int:
        """When to ask again: soon after the end, and less often while nothing moves."""
        wait = POLL_MS.get(self.state, POLL_MS["playing"])
        if self.state == "playing" and self.duration_ms:
            wait = min(wait, self.duration_ms - (self.progress_ms or 0) + 800)
        return max(wait, SOONEST_MS)

    def as_json(self) -> Json:
        """Return the fields under the names that /now-playing answers with."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        source = fields.pop("source")
        by = [link._asdict() for link in self.by]
        return fields | {"by": by, "from": source and source._asdict()}


def read(payload: Any, art_origin: str | None = None) -> NowPlaying | None:
    """Return what a currently-playing answer says, or None if it is not one.

    payload: the decoded JSON body; None stands for the empty answer, which Spotify
    gives when nothing plays. art_origin: an origin whose pictures are shown too.
    """
    if payload is None:
        return NowPlaying("nothing")
    if not isinstance(payload, dict) or not PLAYER_FIELDS & payload.keys():
        return None
    if payload.get("item") is None and payload.get("is_playing") is False:
        return NowPlaying("nothing")  # a device is open but idle
    item = _dict(payload.get("item"))
    if "ad" in (payload.get("currently_playing_type"), item.get("type")):
        # The item, if there is one, need not be the ad.
        return NowPlaying("ad", progress_ms=_ms(payload.get("progress_ms")))
    return _read_item(item, payload, art_origin)


def text(value: Any) -> str | None:
    """Return what a page shows of a string, or None if that is nothing."""
    if not isinstance(value, str):
        return None
    # JSON may hold lone surrogates, which no page can be encoded with, and NUL.
    shown = value[:LONGEST_TEXT].encode("utf-8", "replace").decode()
    return shown.replace("\0", "\ufffd") if shown.strip() else None


def _read_item(item: Json, payload: Json, art_origin: str | None) -> NowPlaying:
    """Return what an answer says of the item that plays; {} is one without a name."""
    album, book, show = (_dict(item.get(key)) for key in ("album", "audiobook", "show"))
    album_link, series = _link(album), _link(book) or _link(show)
    people = _links(item.get("artists")) or _links(book.get("authors"))
    length = item.get("duration_ms")
    # Of local files it has been seen as {"totalMilliseconds": 188000}.
    duration = _ms(_dict(length).get("totalMilliseconds", length))
    now = NowPlaying(
        state="paused" if payload.get("is_playing") is False else "playing",
        kind=_kind(item, payload),
        title=text(item.get("name")),
        url=_link_url(item),
        by=people or ((series,) if series and not album_link else ()),
        source=album_link or series,
        image=_picture([item, album, book, show], art_origin),
        explicit=item.get("explicit") is True,
        progress_ms=_ms(payload.get("progress_ms"), duration),
        duration_ms=duration,
        year=_year(item, album),
    )
    if now.kind == "local":
        return _with_tags(now, item.get("uri"))
    return now if now.title else replace(now, state="unknown")


def _kind(item: Json, payload: Json) -> str | None:
    uri, date = text(item.get("uri")) or "", text(item.get("release_date")) or ""
    if item.get("is_local") is True or uri.startswith("spotify:local:"):
        return "local"
    # Chapters of audiobooks come as episodes. Their show has no number of episodes.
    uncounted = _dict(item.get("show")).get("total_episodes", 0) is None
    if _dict(item.get("audiobook")) or (uncounted and date.startswith("0000")):
        return "chapter"
    kind = text(item.get("type")) or text(payload.get("currently_playing_type"))
    return None if kind == "unknown" else kind


def _with_tags(now: NowPlaying, uri: Any) -> NowPlaying:
    """Return a local file with the tags that it lacks taken from its uri."""
    parts = LOCAL_URI.fullmatch(uri) if isinstance(uri, str) else None
    tags = parts.groups() if parts else ("", "", "")
    artist, album, title = (_link({"name": unquote_plus(tag)}) for tag in tags)
    return replace(
        now,
        title=now.title or (title.name if title else "Local file"),
        by=now.by or ((artist,) if artist else ()),
        source=now.source or album,
    )


def _year(item: Json, album: Json) -> int | None:
    date = text(album.get("release_date")) or text(item.get("release_date")) or ""
    year = re.match(r"\d{4}", date)
    return int(year[0]) or None if year else None


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _dicts(values: Any) -> list[Json]:
    found = values[:MOST_LISTED] if isinstance(values, list) else []
    return [value for value in found if isinstance(value, dict)]


def _ms(value: Any, most: int | None = None) -> int | None:
    if type(value) not in (int, float) or not 0 <= value <= LONGEST_MS:
        return None
    return int(value) if most is None else min(int(value), most)


def _link(value: Json) -> Link | None:
    name = text(value.get("name"))
    return Link(name, _link_url(value)) if name else None


def _links(values: Any) -> tuple[Link, ...]:
    return tuple(filter(None, map(_link, _dicts(values))))


def _link_url(thing: Json) -> str | None:
    return _url(_dict(thing.get("external_urls")).get("spotify"), SPOTIFY)


def _url(value: Any, origins: str) -> str | None:
    fine = isinstance(value, str) and re.fullmatch(f"({origins}){PATH}", value)
    return value if fine else None


def _picture(holders: list[Json], art_origin: str | None) -> str | None:
    """Return the largest picture."""
    hosts = f"{ART_HOSTS}|{re.escape(art_origin)}" if art_origin else ART_HOSTS
    for holder in holders:
        pictures = [
            (_ms(image.get("width")) or 0, url)
            for image in _dicts(holder.get("images"))
            if (url := _url(image.get("url"), hosts))
        ]
        if pictures:
            return max(pictures)[1]
    return None
