"""Spotify's JSON in, NowPlaying out. Reads tolerantly and knows nothing of HTTP."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from urllib.parse import unquote_plus, urlsplit

ART_HOSTS = (".scdn.co", ".spotifycdn.com")
PLAYER_FIELDS = {"item", "currently_playing_type", "is_playing"}
MOST_ARTISTS = 100
LONGEST_TEXT = 10_000  # characters
LONGEST_MS = 10**10  # anything above four months is not a time in a track


class Link(NamedTuple):
    """A name, and where it leads on open.spotify.com (or None)."""

    name: str
    url: str | None


@dataclass(frozen=True, slots=True)
class NowPlaying:
    """What one person is playing. Times are in milliseconds.

    state: playing, paused, nothing, ad or unknown. kind: track, episode, local, the
    name of another type, or None. by: the artists, or the show of an episode.
    source: the album or show. image: a picture's URL.
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

    def after(self, ms: float) -> NowPlaying:
        """Return the same, as it is ms milliseconds later."""
        if self.state not in ("playing", "ad") or self.progress_ms is None:
            return self
        progress = self.progress_ms + max(0, int(ms))
        return replace(self, progress_ms=_clamp(progress, self.duration_ms))

    def in_steps_of(self, ms: int) -> NowPlaying:
        """Return the same, with the progress rounded down to a multiple of ms."""
        if self.progress_ms is None:
            return self
        return replace(self, progress_ms=self.progress_ms // ms * ms)

    def as_json(self) -> dict[str, Any]:
        """Return the fields under the names that /now-playing answers with."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields["by"] = [link._asdict() for link in self.by]
        fields["from"] = self.source._asdict() if self.source else None
        del fields["source"]
        return fields

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> NowPlaying:
        """Return the one whose asdict went through JSON."""
        by, source = fields.pop("by"), fields.pop("source")
        links = tuple(Link(*link) for link in by)
        return cls(**fields, by=links, source=Link(*source) if source else None)


def read(payload: Any, art_origin: str | None = None) -> NowPlaying | None:
    """Return what a currently-playing answer says, or None if it is not one.

    payload: the decoded JSON body; None stands for the empty answer, which Spotify
    gives when nothing plays. art_origin: an origin whose pictures are shown too.
    """
    if payload is None:
        return NowPlaying("nothing")
    if not isinstance(payload, dict) or not PLAYER_FIELDS & payload.keys():
        return None
    item = _dict(payload.get("item"))
    kind = text(item.get("type")) or text(payload.get("currently_playing_type"))
    duration = _ms(item.get("duration_ms"))
    progress = _clamp(_ms(payload.get("progress_ms")), duration)
    nameless = "ad" if kind == "ad" else "unknown"
    if kind in ("ad", "unknown"):
        kind = None  # these say what it is not
    if not item:
        return NowPlaying(nameless, kind, progress_ms=progress)

    uri = text(item.get("uri")) or ""
    if item.get("is_local") is True or uri.startswith("spotify:local:"):
        kind = "local"
    title = text(item.get("name")) or (_local_title(uri) if kind == "local" else None)
    album, show = _dict(item.get("album")), _dict(item.get("show"))
    source = _link(album) or _link(show)
    artists = tuple(filter(None, map(_link, _list(item.get("artists"))[:MOST_ARTISTS])))
    playing = "paused" if payload.get("is_playing") is False else "playing"
    return NowPlaying(
        state=playing if title else nameless,
        kind=kind,
        title=title,
        url=_spotify_url(item),
        by=artists or ((source,) if source and not album else ()),
        source=source,
        image=_picture([item, album, show], art_origin),
        explicit=item.get("explicit") is True,
        progress_ms=progress,
        duration_ms=duration,
    )


def text(value: Any) -> str | None:
    """Return value if it is a string with something to see in it, safe to encode."""
    if not isinstance(value, str) or not value.strip():
        return None
    # JSON may hold lone surrogates, which no page can be encoded with, and NUL.
    shown = value[:LONGEST_TEXT].encode("utf-8", "replace").decode()
    return shown.replace("\0", "\ufffd")


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _ms(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if 0 <= value <= LONGEST_MS else None


def _clamp(progress: int | None, duration: int | None) -> int | None:
    if progress is None or duration is None:
        return progress
    return min(progress, duration)


def _link(value: Any) -> Link | None:
    name = text(_dict(value).get("name"))
    return Link(name, _spotify_url(value)) if name else None


def _spotify_url(item: dict[str, Any]) -> str | None:
    url = _url(_dict(item.get("external_urls")).get("spotify"))
    return url if url and url.startswith("https://open.spotify.com/") else None


def _url(value: Any) -> str | None:
    """Return value if it is a string of nothing but what URLs are made of."""
    fine = isinstance(value, str) and re.fullmatch(r"[!#-;=?-\[\]_a-z~]{1,2000}", value)
    return value if fine else None


def _local_title(uri: str) -> str | None:
    """Read spotify:local:Artist:Album:Title:seconds, for files without a name tag."""
    parts = uri.split(":")
    return text(unquote_plus(parts[4])) if len(parts) == 6 else None


def _picture(holders: list[dict[str, Any]], art_origin: str | None) -> str | None:
    """Return the smallest picture at least 300 px wide, else the largest."""
    for holder in holders:
        pictures = [
            (_ms(image.get("width")) or 0, url)
            for image in map(_dict, _list(holder.get("images")))
            if (url := _art(image.get("url"), art_origin))
        ]
        if pictures:
            return min(pictures, key=lambda it: (it[0] < 300, abs(it[0] - 300)))[1]
    return None


def _art(value: Any, art_origin: str | None) -> str | None:
    try:
        parts = urlsplit(_url(value) or "")
    except ValueError:
        return None
    spotify = parts.scheme == "https" and parts.netloc.endswith(ART_HOSTS)
    fine = spotify or art_origin == f"{parts.scheme}://{parts.netloc}"
    return str(value) if fine and "@" not in parts.netloc else None
