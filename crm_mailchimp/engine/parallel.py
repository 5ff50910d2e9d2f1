"""Calls of a gateway that go several at once, or ahead of who asks for them."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from .errors import MailchimpError
from .pace import Slots

Page = TypeVar("Page")


class Parallel:
    """Threads that carry out calls, as many at once as the slots allow.

    :param slots: how many requests may go at once by now
    """

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._executor: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """Wait for the calls in flight; others can be carried out all the same."""
        if self._executor:
            self._executor.shutdown()
            self._executor = None

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._slots.limit, "mailchimp")
        return self._executor.submit(function, *arguments)

    def map(
        self,
        calls: Iterable[tuple[Any, ...]],
        enough: Callable[[], Any] = lambda: False,
        finish: Callable[..., tuple[Any, ...] | None] | None = None,
    ) -> Iterator[list[tuple[Any, Any]]]:
        """Carry out calls several at once.

        The iterator and the body of the caller's loop run in the caller's thread only:
        what is about to be sent can be committed in the one, and what came of it in the
        other. While nothing is done yet, calls are taken from the iterator ahead, as
        many as go at once, so that each begins at the very moment another is done.
        Leaving the loop waits for the calls in flight and drops what they answered.

        :param calls: iterable of ``(tag, function, *arguments)``, with methods of a
            gateway as functions
        :param enough: tells, without arguments, that no further call is to be begun;
            what comes of those in flight is still told
        :param finish: makes, in the caller's thread, the call of what ``calls`` yielded
            (its items are the arguments), at the moment it begins; ``None`` for no call
        :return: generator of ``[(tag, result or MailchimpError), ...]``: those that are
            done by then
        """
        calls, more = iter(calls), True
        ahead: deque[tuple[Any, ...]] = deque()
        running: dict[Future[Any], Any] = {}

        def begin() -> None:
            while ahead and len(running) < self._slots.allowed:
                call: tuple[Any, ...] | None = ahead.popleft()
                if enough():
                    continue
                if finish and call:
                    call = finish(*call)
                if call:
                    tag, function, *arguments = call
                    running[self._submit(function, *arguments)] = tag

        try:
            while True:
                while more and (
                    len(running) < self._slots.allowed
                    or len(ahead) < self._slots.allowed
                    and not any(future.done() for future in running)
                ):
                    call = None if enough() else next(calls, None)
                    more = call is not None
                    if call is not None:
                        ahead.append(call)
                        begin()
                if not running:
                    return
                done, _pending = wait(running, return_when=FIRST_COMPLETED)
                outcomes = [(running.pop(future), _outcome(future)) for future in done]
                begin()
                yield outcomes
        finally:
            wait(running)

    def ahead(
        self, pages: Iterable[Page], deadline: float = math.inf
    ) -> Iterator[Page]:
        """Yield pages of a generator of a gateway, the next fetched meanwhile.

        :param deadline: monotonic time after which none is fetched before it is
            asked for
        """
        pages = iter(pages)

        def fetch() -> Future[Any]:
            return self._submit(next, pages, None)

        future = fetch()
        try:
            while (page := future.result()) is not None:
                if time.monotonic() < deadline:
                    future = fetch()
                    yield page
                else:
                    yield page
                    future = fetch()
        finally:
            wait([future])


def _outcome(future: Future[Any]) -> Any:
    try:
        return future.result()
    except MailchimpError as error:
        return error
