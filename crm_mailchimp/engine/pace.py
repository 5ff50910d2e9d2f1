"""How much goes to Mailchimp at once: as much as it answers in time."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from .errors import Retryable

# Requests that go at once in the beginning.
START = 4
# An answer is in time when it takes no more than this share of the time there is.
IN_TIME = 1 / 3
# Members of a call: Mailchimp's limit, and what even a slow Mailchimp should manage.
LARGEST, SMALLEST = 500, 10

Item = TypeVar("Item")
Result = TypeVar("Result")


class Slots:
    """Requests in flight: one more for each answer in time, half as many when too fast.

    Mailchimp refuses the eleventh request of all applications of a user together, by a
    429 or a 403 without a body.

    :param limit: most requests at once
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.allowed = min(START, limit)
        self._busy = 0
        self._halved_at = 0.0
        self._free = threading.Condition()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait until another request may go; it counts until the block is left."""
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
        """Note how long an answer took, of the seconds there were for it."""
        with self._free:
            if seconds <= limit * IN_TIME:
                self.allowed = min(self.allowed + 1, self.limit)
                self._free.notify_all()

    def refused(self, started: float) -> None:
        """Note that a request was one too many.

        :param started: monotonic time of the request: those that were in flight
            together halve once
        """
        with self._free:
            if started >= self._halved_at:
                self.allowed = max(self.allowed // 2, 1)
                self._halved_at = time.monotonic()


class Portion:
    """Members in one call: fewer when answers take long, more when they are quick.

    :param size: members of the first call
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

        :param seconds: time there is for the answer
        """
        started = time.monotonic()
        try:
            result = function(items)
        except Retryable as error:
            if error.outcome_unknown:
                # A time-out, perhaps: the same people are not sent again at once.
                self.size = max(min(self.size, len(items) // 4), SMALLEST)
            raise
        took = time.monotonic() - started
        if took > seconds * IN_TIME:
            self.size = max(min(self.size, len(items) // 2), SMALLEST)
        elif took < seconds * IN_TIME / 4 and len(items) >= self.size:
            self.size = min(2 * len(items), LARGEST)
        return result
