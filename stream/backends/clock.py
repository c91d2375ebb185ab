"""The wall clock, which the modules that put things together hand to all others."""

import time


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000
