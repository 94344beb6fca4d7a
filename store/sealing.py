"""Values that only this app can read, and only under the name they belong to."""

import hmac
from base64 import urlsafe_b64encode
from contextlib import suppress
from typing import Generic, TypeVar

from cryptography.fernet import Fernet, InvalidToken
from pydantic import TypeAdapter

VERSION = 5  # of the encrypted form; any other counts as absent

V = TypeVar("V")


class Seal(Generic[V]):
    """Encrypts values of one type, with a key made from the app's secret key."""

    def __init__(self, secret_key: str, kind: type[V]) -> None:
        key = hmac.digest(secret_key.encode(), b"now_playing redis values", "sha256")
        self._fernet = Fernet(urlsafe_b64encode(key))
        self._json = TypeAdapter(kind)

    def encrypt(self, name: str, value: V) -> bytes:
        """Return the value unreadable, and useless under any other name."""
        return self._fernet.encrypt(_label(name) + self._json.dump_json(value))

    def decrypt(self, name: str, encrypted: bytes | None) -> V | None:
        """Return the value, or None if none was encrypted here under this name."""
        with suppress(InvalidToken, ValueError):
            plain = self._fernet.decrypt(encrypted or b"")
            if plain.startswith(_label(name)):
                return self._json.validate_json(plain.removeprefix(_label(name)))
        return None


def _label(name: str) -> bytes:
    return f"{VERSION} {name} ".encode()
