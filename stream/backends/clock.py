"""The wall clock, the one place that asks it."""

import time


class SystemClock:
    """Milliseconds since 1970, UTC."""

    __slots__ = ()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000
