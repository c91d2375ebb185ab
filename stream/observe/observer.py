"""The observe stage without I/O: records of assigned partitions in; outcomes, dead letters and profiles out.

The state is a pure function of the log, the settings and the references. Nothing here reads a clock, awaits or logs.
Wall time is an argument, and decides only when a profile is published.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from detectors.features import ModelKey, UnitKey
from detectors.profiles import Profile
from detectors.reference.reference import Reference
from stream.formats.decoder import Decoded, Decoder
from stream.formats.schemas import NO_SCHEMAS, Schemas
from stream.formats.shapes import Part
from stream.labels.book import LabelBook
from stream.observe.effects import DeadLetter, Effects
from stream.observe.label_topics import LabelTopics
from stream.observe.partition import Assigned, Checkpoint
from stream.observe.places import Places, UnitLimits
from stream.observe.prepared import PreparedReferences
from stream.observe.publishing import Partitions, Published, Publishing
from stream.observe.restored import Found, restored
from stream.observe.settings import ObserveSettings
from stream.observe.unit import Unit
from stream.observe.unit_work import UnitWork
from stream.topics import requests
from stream.topics.record import Partition, Record

MOST_WAITING = 2_000_000
"""Most values of one partition that wait to be folded in: some 15 MB of numbers, at most 100 MB of texts."""


class Observer:
    """The units of all partitions that are assigned to one worker.

    :param references: all references that are known at the start. They must be there before the first event.
    :param schemas: schemas of the registry, see ``Decoder``.
    """

    __slots__ = ("_book", "_decoder", "_forgotten", "_left", "_limits", "_partitions", "_publishing", "_references",
                 "_settings", "_work", "label_topics")  # fmt: skip

    def __init__(
        self, settings: ObserveSettings, references: Iterable[Reference] = (), schemas: Schemas = NO_SCHEMAS
    ) -> None:
        self._settings = settings
        self._limits = UnitLimits(
            settings.max_units, settings.max_models, settings.max_versions, settings.max_segments, settings.silent_ms
        )
        self._forgotten: dict[UnitKey, int] = {}
        self._book = LabelBook()
        self._decoder = Decoder(settings.rules, settings.message, settings.topics_read, schemas)
        self._references = PreparedReferences(references)
        self._work = UnitWork(settings, self._references, self._book)
        self._partitions: dict[Partition, Assigned] = {}
        self._left: dict[Partition, Assigned] = {}
        self.label_topics = LabelTopics(self._partitions)
        self._publishing = Publishing(self._partitions, self._work, settings.look_ms)

    @property
    def partitions(self) -> list[Partition]:
        """All assigned partitions."""
        return list(self._partitions)

    @property
    def unit_count(self) -> int:
        """Number of units of all partitions."""
        return sum(len(assigned.units) for assigned in self._partitions.values())

    def units(self, partition: Partition) -> list[UnitKey]:
        """The units of an assigned partition."""
        return list(self._partitions[partition].units)

    def next_offset(self, partition: Partition) -> int | None:
        """The offset to read next; None when the partition is not assigned or nothing of it was read."""
        assigned = self._partitions.get(partition)
        return None if assigned is None or assigned.returned.position < 0 else assigned.returned.position

    def assign(
        self,
        partition: Partition,
        checkpoint: Mapping[bytes, bytes] | None = None,
        beginning: int | None = None,
        ids: Mapping[str, str] | None = None,
        committed: int | None = None,
    ) -> int | None:
        """Restores a partition from the newest record per key of its checkpoint. Returns the position to seek to.

        None means that there is no checkpoint, and that the caller chooses the offset. ``ids``, ``committed``: see
        ``Found``. Raises CheckpointError when the checkpoint is broken, or when it continues below ``beginning``, the
        first offset that the topic still holds.
        """
        found, left = Found(checkpoint, beginning, ids, committed), self._left.pop(partition, None)
        assigned, seek = restored(partition, found, Places(self._limits, self._forgotten), self._work, left)
        self._partitions[partition] = assigned
        self.label_topics.follow({topic: own for topic, own in found.ids.items() if topic != partition.topic})
        return seek

    def drop(self, partition: Partition) -> None:
        """Removes a partition that was revoked, with all its units. It is kept aside until ``forget_left``: where
        its topic is made anew, there are no records from which it can be counted again."""
        assigned = self._partitions.pop(partition, None)
        if assigned is not None:
            self._left[partition] = assigned

    def forget_left(self, ids: Mapping[str, str], *, made_anew: bool) -> None:
        """Frees the partitions that were dropped and whose topic is there with the same id, or has no id; with
        ``made_anew`` also those with another one. Those whose topic is not there stay. ``ids``: by topic."""
        for partition, left in list(self._left.items()):
            own, now = left.origin.topics[partition.topic].topic_id, ids.get(partition.topic)
            if not own or now == own or (made_anew and now is not None):
                del self._left[partition]

    def process(self, partition: Partition, records: Sequence[Record]) -> Effects:
        """Folds in the next records of an assigned partition at once. No row waits afterwards."""
        effects = Effects()
        for _ in self.steps(partition, records, effects):
            """Every step follows the last one at once."""
        for unit in list(self._partitions[partition].waiting.values()):
            self._work.fold_in(self._partitions[partition], unit, effects)
            effects.profiles.extend(self._partitions[partition].hand_out(unit))
        return effects

    def fold_in(self, partition: Partition) -> None:
        """Folds in all rows of an assigned partition that wait."""
        for unit in list(self._partitions[partition].waiting.values()):
            self._work.fold_in(self._partitions[partition], unit)

    def steps(self, partition: Partition, records: Sequence[Record], effects: Effects) -> Iterator[None]:
        """Reads the next records of an assigned partition, with a break after each step.

        Breaks come while records are decoded, and before each unit that is begun or folded in. During a break every
        other method may be called. A unit is folded in when many of its rows wait, or their slot has ended. Rows that
        wait change no result: whoever needs the unit's profile, snapshot or labels has it folded in first. Profiles of
        slots that ended are handed out after the last break; until then they are part of a checkpoint.
        """
        assigned = self._partitions[partition]
        if not records:
            return
        assert records[0].offset >= assigned.position, f"{partition}: offset {records[0].offset} was read before"
        decoded = Decoded(assigned.clock_ms)
        yield from self._decoder.steps(partition, records, decoded)
        for name, times in decoded.limited.items():
            effects.limit(name, times)
        for record, reason in decoded.rejects:
            if record.offset >= assigned.floor:
                effects.count("", "invalid", 1)
                effects.dead_letters.append(DeadLetter(record, reason))
        effects.count("", "ignored", sum(offset >= assigned.floor for offset in decoded.ignored))
        parts, due = list[Part](), list[Unit]()
        if any(part.unit not in assigned.units for part in decoded.parts):
            decoded.parts.sort(key=lambda part: part.first)  # so units begin in the order of the log
        for part in decoded.parts:
            fresh = part if part.first > assigned.restored_below else _fresh(assigned, part)
            if fresh is None:
                continue
            if part.unit not in assigned.units:
                yield  # beginning a unit takes milliseconds
                if not self._begin(partition, assigned, fresh, parts, effects):
                    continue
            parts.append(fresh)
        assigned.advance(records[-1].offset + 1, decoded.clock_ms)
        for part in parts:
            effects.timestamps.append((part.unit.model, part.timestamps_ms))
            if part.unit in assigned.quarantined:
                self._work.ignore(assigned, part.unit, len(part.timestamps_ms))
            elif (unit := assigned.hand_over(part)) is not None:
                due.append(unit)
        for unit in due:
            yield
            self._work.fold_in(assigned, unit, effects)
        while assigned.waiting_values > MOST_WAITING:
            yield
            due.append(next(iter(assigned.waiting.values())))
            self._work.fold_in(assigned, due[-1], effects)
        for unit in due:
            effects.profiles.extend(assigned.hand_out(unit))
        assigned.effects_returned()

    def _begin(
        self, partition: Partition, assigned: Assigned, part: Part, before: Sequence[Part], effects: Effects
    ) -> bool:
        """Begins a unit that was never seen before. Returns False when that would exceed a limit.

        ``before``: rows of other units before it that are not handed over yet.
        """
        key, rows = part.unit, len(part.timestamps_ms)
        limit = assigned.exceeded(key, part.first_clock_ms, before)
        if limit is not None:
            effects.count(key.model, "unknown_model", rows)
            effects.limit(limit, rows)
            if assigned.places.refuse(key, limit, rows):
                effects.refused.append((key, partition, limit))
            return False
        self._work.shrink_left(assigned, part.first_clock_ms, before)
        self._work.begin(assigned, partition, key, part.first - 1)
        return True

    def drain_aside(self) -> Effects:
        """The effects of all folds outside ``steps`` since the last call.

        Such a fold happens when a unit's profile, snapshot or labels are needed while rows of it wait.
        """
        return self._work.drain_aside()

    def join_labels(self, partition: Partition, records: Sequence[Record]) -> Effects:
        """Joins the labels in records of a label partition to the predictions that all assigned partitions keep.

        Every worker reads all labels. A label that is read twice changes nothing.
        """
        effects = Effects()
        found, rejects = self._book.read(partition, records, self._settings.message.event_bytes)
        effects.dead_letters.extend([DeadLetter(record, reason) for record, reason in rejects])
        effects.count("", "invalid", len(rejects))
        for model, own in found.items():
            effects.count(model, "read", len(own))
        name = str(partition)
        for assigned in self._partitions.values():
            self._work.join(assigned, found, effects)
            read = assigned.origin.begin_of(partition.topic) + records[-1].offset + 1
            assigned.labels[name] = max(assigned.labels.get(name, 0), read)
        return effects

    def label_positions(self) -> dict[str, int]:
        """See ``LabelTopics.positions``."""
        return self.label_topics.positions()

    def profiles_due(self, now_ms: int, *, at_end: Partitions | None = None, force: bool = False) -> Iterator[Profile]:
        """See ``Publishing.profiles_due``."""
        return self._publishing.profiles_due(now_ms, at_end, force=force)

    def mark(self, partition: Partition, partitions: int, now_ms: int, *, read_to_end: bool) -> Iterator[Published]:
        """See ``Publishing.mark``."""
        return self._publishing.mark(partition, partitions, now_ms, read_to_end=read_to_end)

    def set_reference(self, reference: Reference | None = None, *, remove: ModelKey | None = None) -> list[Profile]:
        """Sets a reference, or removes all references of a model version (``remove``).

        Returns the last profiles of the epochs that end.
        """
        if reference is not None:
            self._references.put(reference)
        if remove is not None:
            self._references.remove(remove)
        changed = reference.model_key if reference is not None else remove
        last: list[Profile] = []
        for assigned in self._partitions.values():
            for key, unit in assigned.units.items():
                if key.model_key == changed and key not in assigned.quarantined:
                    last += self._work.switch(assigned, unit)
        return last

    def release(self, unit: UnitKey, request: str) -> None:
        """Ends the quarantine of a unit in all partitions, now and after a later restore. ``request``: its id; the same
        one ends no quarantine that begins later."""
        self._work.note_request(unit, request)
        for assigned in self._partitions.values():
            self._work.release(assigned, unit)

    def forget(self, unit: UnitKey, at_ms: int) -> None:
        """Gives the places of a unit back in all partitions, now and after a later restore. ``at_ms``: the time of the
        request; a unit with events after it has come back."""
        requests.keep(self._forgotten, unit, max(at_ms, self._forgotten.get(unit, at_ms)))

    def fail(self, unit: UnitKey, partition: Partition, stage: str, error: Exception) -> None:
        """Puts a unit into quarantine after an error of the caller's."""
        assigned = self._partitions.get(partition)
        if assigned is not None and unit in assigned.units:
            self._work.quarantine(assigned, assigned.units[unit], stage, error)

    def urgent(self) -> list[Partition]:
        """Partitions with an epoch of which nothing may be published before a checkpoint holds it."""
        return [partition for partition, assigned in self._partitions.items() if assigned.volatile]

    def kept(self, partition: Partition) -> int:
        """How many profiles of a partition wait for a checkpoint that holds their epochs. Each takes some 10 KB."""
        return self._partitions[partition].kept

    def checkpoint(self, partition: Partition) -> Checkpoint:
        """Begins a checkpoint of an assigned partition. Something of the partition must have been read."""
        assigned = self._partitions[partition]
        assert assigned.returned.position >= 0, f"{partition}: nothing read yet"
        return Checkpoint(partition, assigned, self._settings.unit_checkpoint_bytes, self._work)


def _fresh(assigned: Assigned, part: Part) -> Part | None:
    """The rows that the restored state does not contain; None when there are none."""
    unit, batch = assigned.units.get(part.unit), part.batch()
    rows = np.flatnonzero(batch.next_offsets > (assigned.floor if unit is None else unit.skip_below))
    return batch.selected(rows) if len(rows) else None
