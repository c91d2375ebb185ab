"""How long the event loop is held by folding: in chunks of records, and within them with breaks between units."""

import asyncio
import time
from collections.abc import Callable, Iterator

HELD_SECONDS = 0.012
"""The loop is not held longer than about twice this; chunks grow and shrink to it."""
SMALLEST_CHUNK, LARGEST_CHUNK = 16, 5_000


class Pace:
    """``chunk``: how many records to take next. Time is the processor's: what other processes take must not cut chunks
    smaller and so make them dearer."""

    __slots__ = ("chunk",)

    def __init__(self) -> None:
        self.chunk = 256

    async def walk(self, rows: int, steps: Iterator[None], go_on: Callable[[], bool]) -> float | None:
        """Takes all steps of so many rows, the loop having its turn as soon as it was held for long enough; how many
        seconds they took. None: it was not to ``go_on`` after one of the breaks."""
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
        fit = int(rows * HELD_SECONDS / max(longest, 1e-6))  # a step is what no break divides
        self.chunk = max(SMALLEST_CHUNK, min(LARGEST_CHUNK, 2 * self.chunk, fit))
        return seconds
