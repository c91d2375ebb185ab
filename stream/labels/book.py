"""Labels between their topic and the units: the newest are kept for events that are read after them. No I/O."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from detectors.errors import FormatError
from stream.formats.ids import Identities
from stream.labels.predictions import Match
from stream.labels.record import Label, read_labels
from stream.observe.unit import Unit
from stream.topics.record import Partition, Record

KEPT = 10_000
"""Labels of a worker that wait for their event; some 400 bytes each, so 4 MB. Labels follow their events by more than
the topics differ in what has been read of them, because they are read in step (``label_reader``)."""


class Labelled(NamedTuple):
    """What a label was to one unit. ``delay_ms``: from the prediction's time to its own, 0 where it is not joined."""

    model: str
    match: Match
    delay_ms: int


class LabelBook:
    """The newest labels of one worker, by model and id."""

    __slots__ = ("_by_model", "_order")

    def __init__(self) -> None:
        self._by_model: dict[str, dict[int, Label]] = {}
        self._order: deque[Label] = deque()

    def read(
        self, place: Partition, records: Sequence[Record], max_bytes: int
    ) -> tuple[dict[str, list[Label]], list[tuple[Record, str]]]:
        """Labels by model, which are kept from now on, and the records that hold none, with the reason."""
        found: dict[str, list[Label]] = {}
        rejects: list[tuple[Record, str]] = []
        for record in records:
            try:
                labels = read_labels(place, record, max_bytes)
            except FormatError as error:
                rejects.append((record, str(error)))
                continue
            for label in labels:
                found.setdefault(label.model, []).append(label)
                self._keep(label)
        return found, rejects

    def join(self, units: Iterable[Unit], labels: dict[str, list[Label]]) -> list[Labelled]:
        """Each of ``labels`` with each unit of its model."""
        return [
            Labelled(label.model, *unit.label(label))
            for unit in units
            for label in labels.get(unit.key.model, ())
        ]  # fmt: skip

    def meet(self, unit: Unit, identities: Identities) -> list[Labelled]:
        """Joins what is kept of labels for events just folded in. Cost: 30 ns an event of a model that has labels."""
        kept = self._by_model.get(unit.key.model)
        if not kept:
            return []
        found = [kept[name] for name in identities.tolist() if name in kept]
        return [Labelled(label.model, *unit.label(label)) for label in found]

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
