"""Where a shard cuts its counts: slots of event time whose length follows from how many events they hold. Pure.

A profile costs about 0.3 ms, and a look at slots waits for their end. So slots are as short as their events allow.
"""

import msgspec
import numpy as np

from detectors.columns import Integers

PER_LOOK = 4
"""Shortest slots in a look of ``look_ms``."""

LEVELS = 8
"""The longest slot is 2^8 of the shortest: 64 seconds of the default look. A shard begins with it, but for those of the
first units."""

LOOK_LEVEL = 2
"""The level of a slot of one look."""

FINE_UNITS = 16
"""The first units of a partition begin with a slot of one look and have finer slots. So few models are judged soon, and
many models stay cheap."""

FINE_SHARE, FEW_SHARE = 128, 8
"""With ``look_events`` of 256: a slot of fewer than 32 events, 2 of the first units, is followed by a longer one. So
the first units cost at most one profile a look each, as they do when published by wall time."""

MANY_FEW = 4
"""A slot of four times as many events is followed by a shorter one."""

MANY_SHORT, FEW_SHORT = 2, 4
"""A slot of one look or less is followed by a shorter one from ``2 look_events`` on. A slot shorter than a look is
followed by a longer one below ``look_events / 4``."""

LONGEST_MS = 1 << 56
"""Ends of slots fit into 64 bits however long a look is set."""


class SlotState(msgspec.Struct, frozen=True, array_like=True):
    """Plain state of ``Slots``. ``end_ms``: of the open slot. ``events`` 0: no slot is open. ``began_ms``: the clock at
    its first event. ``shortened``: its end was brought forward."""

    level: int = LEVELS
    end_ms: int = 0
    events: int = 0
    began_ms: int = 0
    shortened: bool = False


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

    The caller counts events in log order. ``split`` returns how many of them belong to the open slot, ``count`` counts
    them, and ``cut`` ends the slot. All of it is a function of the partition's clock at each event, so it does not
    depend on how the log was read. Cost: 1 us a call.

    A slot that turns out to hold many events ends earlier, at the next end of a slot as long as these events took. So
    a shard that becomes busy is judged soon. ``rank``: how many units the partition held before this one.
    """

    __slots__ = ("_base_ms", "_few", "_few_short", "_many", "_many_short", "_state")

    def __init__(self, look_ms: int, look_events: int, rank: int, state: SlotState | None = None) -> None:
        self._base_ms = min(max(look_ms // PER_LOOK, 1), LONGEST_MS >> LEVELS)
        fine = rank < FINE_UNITS
        self._few = max(look_events // (FINE_SHARE if fine else FEW_SHARE), 1)
        self._many = MANY_FEW * self._few
        self._many_short, self._few_short = MANY_SHORT * look_events, max(look_events // FEW_SHORT, 1)
        self._state = state or SlotState(LOOK_LEVEL if fine else LEVELS)

    @property
    def open(self) -> Cut | None:
        """The slot that holds events and has not ended."""
        state = self._state
        return Cut(state.end_ms, state.level) if state.events else None

    def passed(self, clock_ms: int) -> bool:
        """Whether the open slot ends at or before ``clock_ms``."""
        return bool(self._state.events) and clock_ms >= self._state.end_ms

    def may_end(self, first_ms: int, clock_ms: int, events: int) -> bool:
        """Whether a slot may end at or before ``clock_ms`` once ``events`` more are counted, the first at
        ``first_ms``."""
        state = self._state
        if clock_ms >= self.end_after(first_ms):
            return True
        return state.level > LOOK_LEVEL and state.events < self._many <= state.events + events

    def end_after(self, clock_ms: int) -> int:
        """The end of the open slot; when none is open, of the one that an event at ``clock_ms`` would open."""
        state = self._state
        return state.end_ms if state.events else end_of(clock_ms, self._base_ms, state.level)

    def split(self, clocks_ms: Integers, start: int) -> int:
        """The first row at or after ``start`` that is not in the open slot. ``clocks_ms``, shape (n,), never falls.

        The rows before it are to be counted next.
        """
        state = self._state
        end = _first_at(clocks_ms, start, self.end_after(int(clocks_ms[start])))
        last = start + self._many - state.events - 1
        if start <= last < end and state.level > LOOK_LEVEL:
            began_ms = state.began_ms if state.events else int(clocks_ms[start])
            self._shorten(began_ms, int(clocks_ms[last]))
            return _first_at(clocks_ms, start, self._state.end_ms)
        return end

    def _shorten(self, began_ms: int, clock_ms: int) -> None:
        """Ends the slot early: many events came in it, from ``began_ms`` to ``clock_ms``."""
        state, level = self._state, self._state.level
        while level > LOOK_LEVEL and self._base_ms << level > clock_ms - began_ms:
            level -= 1
        self._state = SlotState(level, end_of(clock_ms, self._base_ms, level), state.events, began_ms, shortened=True)

    def count(self, clock_ms: int, events: int) -> None:
        """Counts ``events`` at or after ``clock_ms``, all of them in the open slot, which they open if none is."""
        state = self._state
        if not events:
            return
        if state.events or state.shortened:
            self._state = msgspec.structs.replace(state, events=state.events + events)
        else:
            self._state = SlotState(state.level, self.end_after(clock_ms), events, clock_ms)

    def cut(self) -> Cut:
        """Ends the open slot and chooses the length of the next one."""
        state = self._state
        assert state.events, "no slot is open"
        level = state.level
        many = self._many if level > LOOK_LEVEL else self._many_short
        few = self._few if level >= LOOK_LEVEL else self._few_short
        if state.events >= many and level > 0 and not state.shortened:
            level -= 1
        elif state.events < few and level < LEVELS and state.end_ms % (self._base_ms << (level + 1)) == 0:
            level += 1
        self._state = SlotState(level)
        return Cut(state.end_ms, state.level)

    def snapshot(self) -> SlotState:
        """Plain state."""
        return self._state


def _first_at(clocks_ms: Integers, start: int, end_ms: int) -> int:
    if end_ms > int(clocks_ms[-1]):
        return len(clocks_ms)
    return start + int(np.searchsorted(clocks_ms[start:], end_ms, side="left"))
