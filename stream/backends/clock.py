"""The wall clock, for composition roots to hand in."""

import time


class SystemClock:
    """Time as the machine has it."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000
