"""How long the event loop is held: work is done in steps, with breaks between them."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

HELD_SECONDS = 0.012
"""The loop is not held longer than about twice this; chunks grow and shrink to it."""
SMALLEST_CHUNK, LARGEST_CHUNK = 16, 5_000


class Walk(NamedTuple):
    """All steps of it and the longest one, which no break divides, in seconds."""

    seconds: float
    longest: float


def always() -> bool:
    return True


async def walk(steps: Iterator[None], go_on: Callable[[], bool] = always) -> Walk | None:
    """Takes all steps, the loop having its turn as soon as it was held for long enough. None: it was not to ``go_on``
    after one of the breaks.

    What is long is told by processor time: what other processes take must not make for more breaks, which cost.
    """
    loop, seconds, longest = asyncio.get_running_loop(), 0.0, 0.0
    more = True
    while more:
        if not go_on():
            return None
        began, more = loop.time(), False
        held = before = time.thread_time()
        for _ in steps:
            now = time.thread_time()
            longest, before = max(longest, now - before), now
            if now - held >= HELD_SECONDS:
                more = True
                break
        seconds, longest = seconds + loop.time() - began, max(longest, time.thread_time() - before)
        if more:
            await asyncio.sleep(0)
    return Walk(seconds, longest)


def fitted(chunk: int, rows: int, longest: float) -> int:
    """The next chunk, when the longest step of so many rows took so many seconds."""
    return max(SMALLEST_CHUNK, min(LARGEST_CHUNK, 2 * chunk, int(rows * HELD_SECONDS / max(longest, 1e-6))))
