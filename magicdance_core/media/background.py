"""Work that goes on beside other work: writing pictures while the next ones are made."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

WAITING = 32  # pictures that may wait to be written


@contextmanager
def in_background(do: Callable[..., object], waiting: int = WAITING) -> Iterator[Callable[..., None]]:
    """`do`, as a function that returns at once: a thread does what it was called for, in the order of the calls.

    All is done when the context ends. What `do` raises ends that and comes out at the next call, or there. No more than
    `waiting` calls wait.
    """
    calls: deque[Future] = deque()
    failed = False

    def unless_failed(*arguments) -> None:
        nonlocal failed
        if failed:
            return
        try:
            do(*arguments)
        except BaseException:
            failed = True
            raise

    with ThreadPoolExecutor(1) as thread:

        def later(*arguments) -> None:
            while calls and (len(calls) >= waiting or calls[0].done()):
                calls.popleft().result()
            calls.append(thread.submit(unless_failed, *arguments))

        yield later
        for call in calls:
            call.result()
