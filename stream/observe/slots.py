"""Where a shard cuts its counts: slots of event time whose length follows from how many events they hold. Pure."""

import msgspec
import numpy as np

from detectors.columns import Integers

PER_LOOK = 4
"""Shortest slots in a look of ``look_ms``."""

LEVELS = 8
"""The longest slot is 2^8 of the shortest: 64 seconds of the default look."""

FIRST_LEVEL = 2
"""A shard begins with slots of one look."""

FEW_SHARE, MANY_SHARE, MANY_SHORT = 8, 2, 2
"""With ``look_events`` of 256: a slot of fewer than 32 events is followed by a longer one, a slot of 128 or more by a
shorter one. Slots shorter than a look need 512: a profile costs about 0.3 ms."""


class SlotState(msgspec.Struct, frozen=True, array_like=True):
    """Plain state of ``Slots``. ``end_ms`` 0: no slot is open."""

    level: int = FIRST_LEVEL
    end_ms: int = 0
    events: int = 0


class Cut(msgspec.Struct, frozen=True, array_like=True):
    """A slot that has ended, or is open: its exclusive end in ms, and its level."""

    end_ms: int
    level: int


def end_of(time_ms: int, base_ms: int, level: int) -> int:
    """The exclusive end of the slot of ``level`` that holds ``time_ms``.

    A slot is ``base_ms * 2^level`` long and begins at a multiple of its length. A longer slot therefore ends where
    shorter ones end.

    >>> end_of(1_000, 250, 0), end_of(1_000, 250, 3)
    (1250, 2000)
    """
    length = base_ms << level
    return (time_ms // length + 1) * length


class Slots:
    """The open slot of one shard.

    The caller counts events in log order. ``split`` says how many of them belong to the open slot, ``count`` counts
    them, and ``cut`` ends the slot. All of it is a function of the partition's clock at each event, so it does not
    depend on how the log was read. Cost: under 1 us a call.
    """

    __slots__ = ("_base_ms", "_few", "_many", "_state")

    def __init__(self, look_ms: int, look_events: int, state: SlotState | None = None) -> None:
        self._base_ms = max(look_ms // PER_LOOK, 1)
        self._few, self._many = max(look_events // FEW_SHARE, 1), max(look_events // MANY_SHARE, 2)
        self._state = state or SlotState()

    @property
    def open(self) -> Cut | None:
        """The slot that holds events and has not ended."""
        state = self._state
        return Cut(state.end_ms, state.level) if state.events else None

    def passed(self, clock_ms: int) -> bool:
        """Whether the open slot ends at or before ``clock_ms``."""
        return bool(self._state.events) and clock_ms >= self._state.end_ms

    def end_after(self, clock_ms: int) -> int:
        """The end of the open slot; when none is open, of the one that an event at ``clock_ms`` would open."""
        state = self._state
        return state.end_ms if state.events else end_of(clock_ms, self._base_ms, state.level)

    def split(self, clocks_ms: Integers, start: int) -> int:
        """The first row at or after ``start`` that is not in the open slot. ``clocks_ms``, shape (n,), never falls."""
        end_ms = self.end_after(int(clocks_ms[start]))
        if end_ms > int(clocks_ms[-1]):
            return len(clocks_ms)
        return start + int(np.searchsorted(clocks_ms[start:], end_ms, side="left"))

    def count(self, clock_ms: int, events: int) -> None:
        """Counts ``events`` at or after ``clock_ms``, all of them in the open slot, which they open if none is."""
        state = self._state
        if not events:
            return
        self._state = SlotState(state.level, self.end_after(clock_ms), state.events + events)

    def cut(self) -> Cut:
        """Ends the open slot and chooses the length of the next one."""
        state = self._state
        assert state.events, "no slot is open"
        level = state.level
        many = self._many if level > FIRST_LEVEL else MANY_SHORT * 2 * self._many
        if state.events >= many and level > 0:
            level -= 1
        elif state.events < self._few and level < LEVELS and state.end_ms % (self._base_ms << (level + 1)) == 0:
            level += 1
        self._state = SlotState(level)
        return Cut(state.end_ms, state.level)

    def snapshot(self) -> SlotState:
        """Plain state."""
        return self._state
