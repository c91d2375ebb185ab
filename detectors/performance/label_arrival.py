"""Whether a model's predictions still get their labels. Without labels the model's performance is unknown. Pure."""

from enum import StrEnum

import msgspec

LEAST = 100
"""Predictions, and labels read, from which on a missing match counts."""

SMALL_SHARE = 0.05
"""A share of the expected labels below this counts as none."""

GAPS = 3
"""A pause is usual up to this many times the longest pause before it."""

FORGOTTEN_MS = 30 * 86_400_000
"""Event time within which the memory of a long gap shrinks to nothing."""


class Labels(StrEnum):
    """The state of a unit's labels."""

    NONE = "none"  # none came, and nothing needs them
    WAITING = "waiting"  # none of its predictions is labelled yet
    COMING = "coming"
    UNMATCHED = "unmatched"  # labels of the model are read and find none of its predictions
    MISSING = "missing"  # none come any more


class LabellingState(msgspec.Struct, frozen=True, omit_defaults=True):
    """The time and counts when labels last came as expected; ``longest_ms``: the longest gap."""

    at_ms: int
    predicted: int
    labelled: int
    longest_ms: float = 0.0


class Labelling:
    """The arrival of one unit's labels, in event time.

    Since labels last came as expected, P predictions were made, L labels of the model were read and G predictions got
    one. They come as expected where G > 0 and G >= SMALL_SHARE * min(P * share, L), with share the labelled part of all
    predictions before; an unknown L is left out. They are overdue where P >= LEAST and the time since is above
    ``patience_ms`` and above GAPS times the longest gap so far.
    """

    __slots__ = ("_overdue", "_read", "_read_before", "state")

    def __init__(self, state: LabellingState | None = None) -> None:
        self.state = state
        self._overdue = False
        self._read = self._read_before = 0  # labels read by this process: now, and when they last came as expected

    def record_read(self, read: int) -> None:
        """Sets the number of the model's labels that this process has read so far."""
        self._read_before = min(self._read_before, read)
        self._read = read

    def update(self, now_ms: int, predicted: int, labelled: int, patience_ms: int) -> None:
        """Updates the state with the unit's counts since its first event, at ``now_ms`` of its event time."""
        before = self.state
        if before is None:
            self.state = LabellingState(now_ms, predicted, labelled)
            return
        made, got, waited_ms = predicted - before.predicted, labelled - before.labelled, now_ms - before.at_ms
        if got > 0 and got >= SMALL_SHARE * self._expected(before, made):
            longest = max(float(waited_ms), before.longest_ms * max(0.0, 1 - waited_ms / FORGOTTEN_MS))
            self.state = LabellingState(now_ms, predicted, labelled, longest if before.labelled else 0.0)
            self._read_before, self._overdue = self._read, False
            return
        self._overdue = made >= LEAST and waited_ms > max(patience_ms, GAPS * before.longest_ms)

    def _expected(self, before: LabellingState, made: int) -> float:
        usual = made * before.labelled / before.predicted if before.predicted else 0.0
        return min(usual, self.read_since) if self.read_since else usual

    @property
    def read_since(self) -> int:
        """Labels of the model that this process has read since they last came as expected."""
        return self._read - self._read_before

    def standing(self, needed: bool) -> Labels:
        """The state of the labels. ``needed``: an objective is set that only labels can measure."""
        labelled = self.state is not None and self.state.labelled > 0
        if self._overdue and self.read_since >= LEAST:
            return Labels.UNMATCHED
        if self._overdue and (needed or labelled):
            return Labels.MISSING
        if labelled:
            return Labels.COMING
        return Labels.WAITING if needed or self.read_since else Labels.NONE
