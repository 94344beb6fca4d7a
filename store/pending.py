"""Changes that the store could not take, kept in this process until it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from problems import Problem

AGAIN_SECONDS = 0.5  # between attempts

V = TypeVar("V")


class PendingChanges(Generic[V]):
    """Changes by key, attempted in their order, again and again.

    save: changes the stored value. Raises Problem while the store can't take it.
    """

    def __init__(self, save: Callable[[str, Callable[[V], V]], object]) -> None:
        self._save = save
        self._changes: list[tuple[str, Callable[[V], V]]] = []
        self._mutex = threading.Lock()

    def add(self, key: str, change: Callable[[V], V]) -> None:
        """Keep a change, and save it as soon as that works."""
        with self._mutex:
            self._changes.append((key, change))
            first = len(self._changes) == 1
        if first:
            threading.Thread(target=self._keep_saving, daemon=True).start()

    def applied(self, key: str, value: V) -> V:
        """Return the value as it will be once all is saved."""
        for changed, change in list(self._changes):
            value = change(value) if changed == key else value
        return value

    def _keep_saving(self) -> None:
        while self._changes:
            try:
                self._save(*self._changes[0])
            except Problem:
                time.sleep(AGAIN_SECONDS)
                continue
            with self._mutex:
                del self._changes[0]
                if not self._changes:
                    return
