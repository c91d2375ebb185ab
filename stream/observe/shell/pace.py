"""Limits how long work holds the event loop: it is done in steps, with breaks between them."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

HELD_SECONDS = 0.012
"""Work holds the loop for at most about twice this time. The sizes of chunks are fitted to it."""
SMALLEST_CHUNK, LARGEST_CHUNK = 16, 5_000


class Walk(NamedTuple):
    """Seconds that all steps took, and the longest single step, within which there is no break."""

    seconds: float
    longest: float


def always() -> bool:
    return True


async def walk(steps: Iterator[None], go_on: Callable[[], bool] = always) -> Walk | None:
    """Runs all steps, with a break whenever they have held the loop for HELD_SECONDS.

    Returns None when ``go_on`` returns False after a break. The time held is processor time: breaks cost, and other
    processes on the machine must not cause more of them.
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
    """The size of the next chunk, after the longest step of a chunk of ``rows`` rows took ``longest`` seconds."""
    return max(SMALLEST_CHUNK, min(LARGEST_CHUNK, 2 * chunk, int(rows * HELD_SECONDS / max(longest, 1e-6))))
