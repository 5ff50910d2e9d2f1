"""How much to send to Mailchimp at once: as much as it can answer in time."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from .errors import Retryable

# Requests allowed at once to begin with.
START = 4
# An answer is in time when it takes no more than this share of the time allowed.
IN_TIME = 1 / 3
# Members per call: Mailchimp's limit, and what even a slow Mailchimp should manage.
LARGEST, SMALLEST = 500, 10

Item = TypeVar("Item")
Result = TypeVar("Result")


class Slots:
    """Requests in flight: one more for each answer in time, half as many on a refusal.

    Mailchimp refuses the eleventh simultaneous request, counted over all applications
    of a user, with a 429, or with a 403 without a body.

    :param limit: the most requests at once
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.allowed = min(START, limit)
        self._busy = 0
        self._halved_at = 0.0
        self._free = threading.Condition()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait until another request may be sent; it counts until the block is left."""
        with self._free:
            self._free.wait_for(lambda: self._busy < self.allowed)
            self._busy += 1
        try:
            yield
        finally:
            with self._free:
                self._busy -= 1
                self._free.notify_all()

    def answered(self, seconds: float, limit: float) -> None:
        """Note how long an answer took, out of the seconds allowed for it."""
        with self._free:
            if seconds <= limit * IN_TIME:
                self.allowed = min(self.allowed + 1, self.limit)
                self._free.notify_all()

    def refused(self, started: float) -> None:
        """Note that a request was one too many.

        :param started: monotonic time at which the request began; requests that were
            in flight together halve the number only once
        """
        with self._free:
            if started >= self._halved_at:
                self.allowed = max(self.allowed // 2, 1)
                self._halved_at = time.monotonic()


class Portion:
    """Members in one call: fewer when answers take long, more when they are quick.

    :param size: members in the first call
    """

    def __init__(self, size: int = LARGEST) -> None:
        self.size = size

    def carry(
        self,
        function: Callable[[Sequence[Item]], Result],
        items: Sequence[Item],
        seconds: float,
    ) -> Result:
        """Call ``function(items)``, and learn from the time it takes.

        :param seconds: time allowed for the answer
        """
        started = time.monotonic()
        try:
            result = function(items)
        except Retryable as error:
            if error.outcome_unknown:
                # Perhaps a time-out: these members are not all sent together again.
                self.size = max(min(self.size, len(items) // 4), SMALLEST)
            raise
        took = time.monotonic() - started
        if took > seconds * IN_TIME:
            self.size = max(min(self.size, len(items) // 2), SMALLEST)
        elif took < seconds * IN_TIME / 4 and len(items) >= self.size:
            self.size = min(2 * len(items), LARGEST)
        return result
