"""What is kept about a logged-in person, and its form as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from playback import NowPlaying


class Account(NamedTuple):
    """Who somebody is at Spotify."""

    name: str | None
    id: str | None


@dataclass(frozen=True, slots=True)
class Token:
    """What Spotify granted. expires_at: seconds since 1970."""

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    expires_at: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What Spotify said last, a NowPlaying or a problem's name, and when (seconds)."""

    at: float
    playing: NowPlaying | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class User:
    """A logged-in person: token, Spotify account if known, last answer if any."""

    token: Token
    account: Account | None = None
    answer: Answer | None = None

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> User:
        """Return the user whose asdict went through JSON."""
        account, answer = fields["account"], fields["answer"]
        if answer and answer["playing"]:
            answer["playing"] = NowPlaying.from_json(answer["playing"])
        return cls(
            Token(**fields["token"]),
            Account(*account) if account else None,
            Answer(**answer) if answer else None,
        )
