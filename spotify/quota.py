"""Spotify's daily limit: the calls of the last 24 hours, and the pace they leave."""

from collections import deque
from collections.abc import Callable
from threading import Lock

from problems import log

DAY, HOUR = 86_400, 3_600  # seconds
# Spotify publishes no number. People report being refused after 600 to 1,400 calls.
USUAL_LIMIT = 1_000
MOST_COUNTED = 100_000  # where no limit needs more
MOST_PEOPLE = 5  # in Spotify's Development Mode, which alone has a daily limit
# Less than what was refused; but other apps may have made some of the day's calls.
LEARNED_SHARE, LEAST_LEARNED = 0.9, 200
# The pace is slowest (30 s become 10 minutes) when so much of the limit is spent: the
# ends of tracks are met at any pace, and the rest is for them.
SLOWEST, SPENT = 20, 0.9


class DailyCalls:
    """The calls of this process to Spotify's API in the last 24 hours.

    limit: for all workers together; 0: none; None: the usual one, as long as few people
    use the app. clock: monotonic, in seconds.
    """

    def __init__(
        self, limit: int | None, workers: int, clock: Callable[[], float]
    ) -> None:
        self._limit = max(limit // workers, 1) if limit else limit
        self._usual, self._clock = USUAL_LIMIT // workers, clock
        self._times: deque[float] = deque(maxlen=max(limit or 0, MOST_COUNTED))
        self._people: dict[str, float] = {}  # and when they were seen, in order
        self._logged_at, self._lock = clock(), Lock()

    def add(self) -> None:
        """Count a call that goes out, and log the count once an hour."""
        now = self._clock()
        with self._lock:
            self._times.append(now)
        if now - self._logged_at >= HOUR:
            self._logged_at = now
            log.info("calls to Spotify's API in the last 24 hours: %d", self.count)

    def seen(self, person_id: str) -> None:
        """Note that this person uses the app; only the latest six are remembered."""
        with self._lock:
            self._people.pop(person_id, None)
            self._people[person_id] = self._clock()
            if len(self._people) > MOST_PEOPLE + 1:
                del self._people[next(iter(self._people))]

    def learn(self) -> None:
        """Set the limit by a call that Spotify has just refused with QUOTA_EXCEEDED."""
        count = self.count
        learned = max(int(LEARNED_SHARE * count), LEAST_LEARNED)
        self._limit = min(learned, self._limit or learned)
        text = "Spotify's daily limit ended after %d calls: the app's is %d from now on"
        log.warning(text, count, self._limit)

    @property
    def count(self) -> int:
        """The calls of the last 24 hours."""
        with self._lock:
            while self._times and self._times[0] <= self._clock() - DAY:
                self._times.popleft()
            return len(self._times)

    @property
    def limit(self) -> int:
        """The calls that this process should make at most in 24 hours; 0: no limit."""
        if self._limit is not None:
            return self._limit
        with self._lock:
            today = [at for at in self._people.values() if at > self._clock() - DAY]
        return self._usual if len(today) <= MOST_PEOPLE else 0

    @property
    def pace(self) -> float:
        """How many times as long to wait, so that the calls last for the day."""
        limit = SPENT * self.limit
        return 1 / max(1 - self.count / limit, 1 / SLOWEST) if limit else 1.0
