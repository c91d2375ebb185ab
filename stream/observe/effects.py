"""The results of observing, which the caller counts, sends and publishes."""

from dataclasses import dataclass, field
from typing import NamedTuple

from detectors.columns import Integers
from detectors.features import UnitKey
from detectors.profiles import Profile
from stream.labels.book import Labelled
from stream.topics.record import Partition, Record


class DeadLetter(NamedTuple):
    """A record that cannot be read, and the reason."""

    record: Record
    reason: str


class Fault(NamedTuple):
    """A unit that went into quarantine: where, the reason, and the error itself."""

    unit: UnitKey
    partition: Partition
    reason: str
    error: Exception


class Interruption(NamedTuple):
    """What happened to a partition's log or checkpoint: ``kind``, ``MADE_ANEW`` or ``LOST``, and the report."""

    partition: Partition
    kind: str
    text: str


@dataclass(slots=True)
class Effects:
    """The results of one batch of records. ``released``: units that left the quarantine, and where.
    ``refused``: units for which there was no room for the first time: where, and the limit."""

    outcomes: dict[tuple[str, str], int] = field(default_factory=dict)  # (model or "", outcome) -> rows
    dead_letters: list[DeadLetter] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    timestamps: list[tuple[str, Integers]] = field(default_factory=list)  # (model, event times) of what was read
    limited: dict[str, int] = field(default_factory=dict)
    labelled: list[Labelled] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    refused: list[tuple[UnitKey, Partition, str]] = field(default_factory=list)
    released: list[tuple[UnitKey, Partition]] = field(default_factory=list)
    interruptions: list[Interruption] = field(default_factory=list)

    def count(self, model: str, outcome: str, rows: int) -> None:
        if rows:
            self.outcomes[model, outcome] = self.outcomes.get((model, outcome), 0) + rows

    def limit(self, name: str, times: int) -> None:
        if times:
            self.limited[name] = self.limited.get(name, 0) + times
