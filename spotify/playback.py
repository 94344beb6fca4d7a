"""Spotify's JSON in, NowPlaying out. Reads tolerantly and knows nothing of HTTP."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

Json = dict[str, Any]
PLAYER_FIELDS = {"item", "currently_playing_type", "is_playing"}
MOST_LISTED = 50  # artists, or pictures
LONGEST_TEXT = 500  # characters
NOT_TEXT = re.compile("[\0\ud800-\udfff]")  # what JSON may hold, and no page can show
LONGEST_MS = 10**10  # anything above four months is not a time in a track
# Nothing but what URLs are made of: no quotes, spaces or backslashes.
PATH = r"/[!#-;=?-\[\]_a-z~]{0,1000}"
SPOTIFY_URL = re.compile(rf"https://open\.spotify\.com{PATH}")
ART_URL = rf"https://([a-z0-9-]+\.)+(scdn\.co|spotifycdn\.com){PATH}"
# spotify:local:Artist:Album:Title:seconds
LOCAL_URI = re.compile("spotify:local:([^:]*):([^:]*):([^:]*)")


class Link(NamedTuple):
    """A name, and where it leads on open.spotify.com (or None)."""

    name: str
    url: str | None


class NowPlaying(NamedTuple):
    """What one person is playing. Times are in milliseconds.

    state: playing, paused, nothing, ad or unknown. kind: track, episode, chapter,
    local, the name of another type, or None. by: the artists or authors, or the show
    of an episode. source: the album, show or audiobook. image: a picture's URL.
    """

    state: str
    kind: str | None = None
    title: str | None = None
    url: str | None = None
    by: tuple[Link, ...] = ()
    source: Link | None = None
    image: str | None = None
    explicit: bool = False
    year: int | None = None
    progress_ms: int | None = None
    duration_ms: int | None = None

    def after(self, ms: float) -> NowPlaying:
        """Return the same, as it is ms milliseconds later."""
        if self.state not in ("playing", "ad") or self.progress_ms is None or ms < 1:
            return self
        return self._replace(progress_ms=_ms(self.progress_ms + ms, self.duration_ms))

    def as_json(self) -> Json:
        """Return the fields under the names that /now-playing answers with."""
        fields = self._asdict() | {"by": [link._asdict() for link in self.by]}
        source: Link | None = fields.pop("source")
        return fields | {"from": source and source._asdict()}


def read(payload: Any, art_origin: str | None = None) -> NowPlaying | None:
    """Return what a currently-playing answer says, or None if it is not one.

    payload: the decoded JSON body; None stands for the empty answer, which Spotify
    gives when nothing plays. art_origin: an origin whose pictures are shown too.
    """
    if payload is None:
        return NowPlaying("nothing")
    if not isinstance(payload, dict) or not PLAYER_FIELDS & payload.keys():
        return None
    item, kind = payload.get("item"), payload.get("currently_playing_type")
    times = payload.get("timestamp"), payload.get("progress_ms")
    # An idle device. Some say that they play, but not what, and not since when.
    blank = (kind, *times) == ("unknown", 0, 0) or payload.get("is_playing") is False
    if item is None and blank:
        return NowPlaying("nothing")
    item = _dict(item)
    if "ad" in (kind, item.get("type")):
        # The item, if there is one, need not be the ad.
        return NowPlaying("ad", progress_ms=_ms(payload.get("progress_ms")))
    return _read_item(item, payload, art_origin)


def text(value: Any) -> str | None:
    """Return the part of a string that a page shows, or None if that is nothing."""
    if not isinstance(value, str):
        return None
    shown = NOT_TEXT.sub("\ufffd", value[:LONGEST_TEXT])
    return shown if shown.strip() else None


def _read_item(item: Json, payload: Json, art_origin: str | None) -> NowPlaying:
    """Return what an answer says of the item that plays, which may have no name."""
    kind = _kind(item, payload)
    state = "paused" if payload.get("is_playing") is False else "playing"
    album, book, show = (_dict(item.get(it)) for it in ("album", "audiobook", "show"))
    # The tags of a local file may lack the names that its uri has.
    uri = LOCAL_URI.match(text(item.get("uri")) or "")
    artist, record, name = map(unquote_plus, uri.groups() if uri else ("", "", ""))
    title = text(item.get("name")) or text(name)
    if not title and kind == "local":
        title = "Local file"
    people = _links(item.get("artists")) or _links(book.get("authors"))
    length = item.get("duration_ms")
    if isinstance(length, dict):  # as it has been seen of local files
        length = length.get("totalMilliseconds")
    duration = _ms(length) or None
    return NowPlaying(
        state=state if title else "unknown",
        kind=kind,
        title=title,
        url=_spotify_url(item),
        by=people or _links([book]) or _links([show]) or _links([{"name": artist}]),
        source=_link(album) or _link(book) or _link(show) or _link({"name": record}),
        image=_picture([item, album, book, show], art_origin),
        explicit=item.get("explicit") is True,
        year=_year(album.get("release_date")) or _year(item.get("release_date")),
        progress_ms=_ms(payload.get("progress_ms"), duration),
        duration_ms=duration,
    )


def _kind(item: Json, payload: Json) -> str | None:
    uri, date = (text(item.get(it)) or "" for it in ("uri", "release_date"))
    if item.get("is_local") is True or uri.startswith("spotify:local:"):
        return "local"
    # Chapters of audiobooks come as episodes. Their show has no number of episodes.
    uncounted = _dict(item.get("show")).get("total_episodes") is None
    if item.get("audiobook") or (uncounted and date.startswith("0000")):
        return "chapter"
    kind = text(item.get("type")) or text(payload.get("currently_playing_type"))
    return None if kind == "unknown" else kind


def _ms(value: Any, most: int | None = None) -> int | None:
    if type(value) not in (int, float) or not abs(value) <= LONGEST_MS:
        return None
    # Below 0 where a device's clock is ahead, beyond the end in a closed player.
    return min(max(int(value), 0), most or LONGEST_MS)


def _year(date: Any) -> int | None:
    known = re.match(r"[1-9][0-9]{3}\b", text(date) or "")  # not "0000"
    return int(known[0]) if known else None


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _dicts(values: Any) -> list[Json]:
    return list(map(_dict, values[:MOST_LISTED])) if isinstance(values, list) else []


def _link(thing: Json) -> Link | None:
    name = text(thing.get("name"))
    return Link(name, _spotify_url(thing)) if name else None


def _links(things: Any) -> tuple[Link, ...]:
    return tuple(filter(None, map(_link, _dicts(things))))


def _spotify_url(thing: Json) -> str | None:
    return _url(_dict(thing.get("external_urls")).get("spotify"), SPOTIFY_URL)


def _url(value: Any, pattern: re.Pattern[str]) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _picture(holders: list[Json], art_origin: str | None) -> str | None:
    """Return the largest picture of the first that has any."""
    own = f"|{re.escape(art_origin)}{PATH}" if art_origin else ""
    urls = re.compile(ART_URL + own)
    for images in (_dicts(it.get("images")) for it in holders):
        # The first of them where Spotify doesn't say the widths.
        for image in sorted(images, key=lambda it: -(_ms(it.get("width")) or 0)):
            if url := _url(image.get("url"), urls):
                return url
    return None
