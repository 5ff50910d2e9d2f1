"""Calls of a gateway that run several at once, or ahead of whoever needs them."""

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

    :param slots: how many requests may currently be in flight
    """

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._executor: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """Wait for the calls in flight; further calls remain possible."""
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
        """Carry out several calls at once.

        The iterator and the body of the caller's loop run only in the caller's thread:
        the former can commit what is about to be sent, and the latter the outcomes.
        While no call has finished, calls are taken from the iterator in advance, as
        many as may run at once, so that each starts as soon as another finishes.
        Leaving the loop waits for the calls in flight and discards their answers.

        :param calls: iterable of ``(tag, function, *arguments)``, with methods of a
            gateway as functions
        :param enough: called without arguments; true when no further call is to be
            started. The outcomes of those in flight are still yielded.
        :param finish: called in the caller's thread at the moment a call begins, with
            the items of what ``calls`` yielded; returns the call, ``None`` for no call
        :return: generator of ``[(tag, result or MailchimpError), ...]``: the calls that
            have finished by then
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
        """Yield pages of a gateway's generator, fetching the next one meanwhile.

        :param deadline: monotonic time after which a page is only fetched when it is
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
