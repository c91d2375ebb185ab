"""Joins labels to units, and keeps the newest labels for events that are read after them. No I/O."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from detectors.errors import reason_of
from detectors.features import UnitKey
from stream.formats.ids import Identities
from stream.labels.predictions import Match
from stream.labels.record import Label, read_labels
from stream.topics.record import Partition, Record

KEPT = 10_000
"""Most labels of a worker that are kept: some 400 bytes each, so 4 MB.

Label topics are read in step with the event topics (``label_reader``). So the event of a label that was read too early
follows soon.
"""


class Unit(Protocol):
    """Anything that labels can be joined to. It contains the events of one unit."""

    @property
    def key(self) -> UnitKey: ...

    def join(self, label: Label) -> tuple[Match, int]:
        """The result for one label, and its delay in ms where it matched."""
        ...


class Labelled(NamedTuple):
    """The result of joining a label to one unit. ``delay_ms``: from the prediction to the label; 0 without a match."""

    model: str
    match: Match
    delay_ms: int


class LabelBook:
    """The newest ``KEPT`` labels of one worker, by model and id."""

    __slots__ = ("_by_model", "_order")

    def __init__(self) -> None:
        self._by_model: dict[str, dict[int, Label]] = {}
        self._order: deque[Label] = deque()

    def read(
        self, place: Partition, records: Sequence[Record], max_bytes: int
    ) -> tuple[dict[str, list[Label]], list[tuple[Record, str]]]:
        """The labels in the records by model, and the records that cannot be read with the reason. Keeps the labels."""
        found: dict[str, list[Label]] = {}
        rejects: list[tuple[Record, str]] = []
        for record in records:
            try:
                labels = read_labels(place, record, max_bytes)
            except Exception as error:  # one record never ends the reading
                rejects.append((record, reason_of(error)))
                continue
            for label in labels:
                found.setdefault(label.model, []).append(label)
                self._keep(label)
        return found, rejects

    def join(self, units: Iterable[Unit], labels: dict[str, list[Label]]) -> list[Labelled]:
        """Joins each of ``labels`` (by model) to every unit of its model."""
        return [
            Labelled(label.model, *unit.join(label))
            for unit in units
            for label in labels.get(unit.key.model, ())
        ]  # fmt: skip

    def join_kept(self, unit: Unit, identities: Identities) -> list[Labelled]:
        """Joins kept labels to events that the unit has just folded in. Cost: 30 ns an event of a model with labels."""
        kept = self._by_model.get(unit.key.model)
        if not kept:
            return []
        found = [kept[name] for name in identities.tolist() if name in kept]
        return [Labelled(label.model, *unit.join(label)) for label in found]

    def _keep(self, label: Label) -> None:
        own = self._by_model.setdefault(label.model, {})
        before = own.get(label.identity)
        if before is not None and before.rank >= label.rank:
            return
        own[label.identity] = label
        self._order.append(label)
        if len(self._order) > KEPT:
            oldest = self._order.popleft()
            kept = self._by_model[oldest.model]
            if kept.get(oldest.identity) is oldest:
                del kept[oldest.identity]
                if not kept:
                    del self._by_model[oldest.model]
