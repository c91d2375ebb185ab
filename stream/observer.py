"""OBSERVE without I/O: records of assigned partitions in; outcomes, dead letters and profiles out.

State is a pure function of the log, the settings and the references. Nothing here reads a clock, awaits or logs; wall
time comes in only to say when a profile that waits should be published.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np

from detectors.bank import BankSettings
from detectors.columns import Integers
from detectors.errors import CheckpointError
from detectors.features import Kind, ModelKey, UnitKey
from detectors.prepared import PreparedReference
from detectors.profiles import Profile
from detectors.references import Reference
from stream import checkpoints
from stream.assigned import Assigned, Checkpoint
from stream.codec import Decoder, Limits
from stream.columnar import UnitBatch
from stream.events import Rules
from stream.label_book import LabelBook, Labelled
from stream.ports import Partition, Record
from stream.predictions import PredictionRules
from stream.units import Unit, UnitSettings

UNITS_PER_LOOK = 200
"""Units that publish once per look; with more of them the interval grows, so that it stays near a sixth of a core."""


class ObserveSettings(msgspec.Struct, frozen=True):
    """What OBSERVE depends on. Made from the settings file by ``observe_settings``."""

    bank: BankSettings = BankSettings()
    message: Limits = Limits()
    rules: dict[str, Rules] = {}
    kinds: dict[str, dict[str, Kind]] = {}
    max_models: int = 1_000
    max_versions: int = 10
    max_segments: int = 50
    max_units: int = 2_000
    late_ms: int = 86_400_000
    look_ms: int = 1_000
    look_events: int = 256  # fewest events between two looks: a profile costs about 0.3 ms
    recent_ids: int = 1_000  # per unit, to know repeats by; 0: repeats are not looked for
    unit_checkpoint_bytes: int = 4_000_000
    predictions: PredictionRules = PredictionRules()
    predictions_of: dict[str, PredictionRules] = {}  # by model, where it differs


class DeadLetter(NamedTuple):
    """A record that cannot be read, and why."""

    record: Record
    reason: str


@dataclass(slots=True)
class Effects:
    """What came of one batch of records."""

    outcomes: dict[tuple[str, str], int] = field(default_factory=dict)  # (model or "", outcome) -> rows
    dead_letters: list[DeadLetter] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    timestamps: list[tuple[str, Integers]] = field(default_factory=list)  # (model, event times) of what was accepted
    limited: dict[str, int] = field(default_factory=dict)
    labelled: list[Labelled] = field(default_factory=list)

    def count(self, model: str, outcome: str, rows: int) -> None:
        if rows:
            self.outcomes[model, outcome] = self.outcomes.get((model, outcome), 0) + rows

    def limit(self, name: str, times: int) -> None:
        if times:
            self.limited[name] = self.limited.get(name, 0) + times


class Observer:
    """All partitions of one worker.

    :param references: known at the start; read them all before the first event.
    """

    __slots__ = ("_book", "_decoder", "_partitions", "_prepared", "_references", "_settings", "_unit_settings")

    def __init__(self, settings: ObserveSettings, references: Iterable[Reference] = ()) -> None:
        self._settings = settings
        self._unit_settings = {
            model: UnitSettings(settings.bank, settings.late_ms, settings.look_ms, settings.look_events,
                                settings.recent_ids, rules)
            for model, rules in {"": settings.predictions, **settings.predictions_of}.items()
        }  # fmt: skip
        self._book = LabelBook()
        self._decoder = Decoder(settings.rules, settings.message)
        self._references: dict[UnitKey, Reference] = {_target(r): r for r in references}
        self._prepared: dict[UnitKey | None, PreparedReference] = {None: PreparedReference(None)}
        self._partitions: dict[Partition, Assigned] = {}

    @property
    def partitions(self) -> list[Partition]:
        """Those assigned."""
        return list(self._partitions)

    @property
    def unit_count(self) -> int:
        """Units over all partitions."""
        return sum(len(assigned.units) for assigned in self._partitions.values())

    def units(self, partition: Partition) -> list[UnitKey]:
        """Units of an assigned partition."""
        return list(self._partitions[partition].units)

    def next_offset(self, partition: Partition) -> int | None:
        """The offset to read next, None before anything is known of it."""
        assigned = self._partitions.get(partition)
        return None if assigned is None or assigned.next < 0 else assigned.next

    def _reference(self, unit: UnitKey) -> PreparedReference:
        """What the unit is compared with: its segment's reference, else its model version's, else learning."""
        whole = UnitKey(unit.model, unit.version, None)
        target = unit if unit in self._references else whole if whole in self._references else None
        prepared = self._prepared.get(target)
        if prepared is None:
            assert target is not None
            prepared = self._prepared[target] = PreparedReference(self._references[target])
        return prepared

    def assign(
        self, partition: Partition, checkpoint: Mapping[bytes, bytes] | None = None, beginning: int | None = None
    ) -> int | None:
        """Takes a partition up from the newest record per key of its checkpoint; the offset to seek to.

        None: there is no checkpoint, the runner chooses. Raises CheckpointError when it is broken, or when the input
        no longer holds what it needs (``beginning`` is the first offset there is).
        """
        manifest, records = None, {}
        for key, value in (checkpoint or {}).items():
            place, unit = checkpoints.parse_key(key)
            if place != partition:
                continue
            if unit is None:
                manifest = checkpoints.decode_manifest(value, str(partition))
            else:
                records[unit] = checkpoints.decode_unit(value, f"{partition}: {unit}")
        stamps = {unit: record.stamp for unit, record in records.items()}
        restore = checkpoints.reconcile(manifest, stamps, str(partition))
        if restore is None:
            self._partitions[partition] = Assigned(-1, 0)
            return None
        seek = restore.seek if manifest is not None else max(restore.seek, beginning or 0)
        if beginning is not None and seek < beginning:
            raise CheckpointError(
                f"{partition}: the checkpoint continues at offset {seek}, but the topic begins at {beginning}: "
                f"{beginning - seek} records are lost to retention; give the partition up with "
                "'driftline checkpoints drop'"
            )
        assigned = Assigned(seek, restore.floor)
        for unit, record in records.items():
            blob = checkpoints.unit_blob(record, f"{partition}: {unit}")
            below = restore.skip_below[unit]
            assigned.units[unit] = Unit.restored(
                unit,
                partition,
                self._settings_of(unit),
                self._reference(unit),
                self._kinds(unit),
                record.stamp,
                below,
                blob,
            )
            assigned.settled = max(assigned.settled, below)
        held = {key: (unit.stamp, unit.labels) for key, unit in assigned.units.items()}
        assigned.labels = checkpoints.label_positions(manifest, held)
        for state in assigned.units.values():
            state.labels = assigned.labels
        self._partitions[partition] = assigned
        return seek

    def _settings_of(self, unit: UnitKey) -> UnitSettings:
        return self._unit_settings.get(unit.model) or self._unit_settings[""]

    def _kinds(self, unit: UnitKey) -> Mapping[str, Kind]:
        return self._settings.kinds.get(unit.model, {})

    def drop(self, partition: Partition) -> None:
        """Forgets a partition that was revoked."""
        self._partitions.pop(partition, None)

    def process(self, partition: Partition, records: Sequence[Record]) -> Effects:
        """Folds in records of an assigned partition that follow all before."""
        effects = Effects()
        for _ in self.steps(partition, records, effects):
            """One unit after the other, without a break."""
        return effects

    def steps(self, partition: Partition, records: Sequence[Record], effects: Effects) -> Iterator[None]:
        """``process``, with a break after the decoding and after each unit, in which all else here may be called.

        Events of many models lie mixed: the more are decoded together, the fewer calls fold a unit's.
        """
        assigned = self._partitions[partition]
        if not records:
            return
        decoded = self._decoder.decode(partition, records)
        for name, times in decoded.limited.items():
            effects.limit(name, times)
        for record, reason in decoded.rejects:
            if record.offset >= assigned.floor:
                effects.count("", "invalid", 1)
                effects.dead_letters.append(DeadLetter(record, reason))
        assert not assigned.waiting, f"{partition}: what came before is not folded in yet"
        batches = sorted(decoded.batches, key=lambda b: int(b.order[0]))
        assigned.began, assigned.position = assigned.position, records[-1].offset + 1
        assigned.waiting = {batch.columns.unit: batch for batch in batches}
        for batch in batches:
            yield
            self._fold(partition, assigned, batch, effects)
            del assigned.waiting[batch.columns.unit]

    def _fold(self, partition: Partition, assigned: Assigned, batch: UnitBatch, effects: Effects) -> None:
        key = batch.columns.unit
        unit = assigned.units.get(key)
        first = int(batch.columns.next_offsets[0]) - 1
        if first < assigned.settled:
            skip = assigned.floor if unit is None else unit.skip_below
            rows = np.flatnonzero(batch.columns.next_offsets > skip)
            if not len(rows):
                return
            batch = batch.taken(rows)
        if unit is None:
            limit = self._limit(assigned, key)
            if limit is not None:
                effects.count(key.model, "unknown_model", len(batch.columns))
                effects.limit(limit, len(batch.columns))
                return
            begin = int(batch.columns.next_offsets[0]) - 1
            unit = Unit.begun(key, partition, self._settings_of(key), self._reference(key), self._kinds(key), begin)
            unit.labels = assigned.labels
            assigned.units[key] = unit
        result = unit.fold(batch)
        effects.labelled += self._book.meet(unit, batch.identities)
        effects.count(key.model, "late", result.late)
        effects.count(key.model, "duplicate", result.duplicate)
        effects.profiles += result.profiles
        if len(result.timestamps_ms):
            effects.count(key.model, "accepted", len(result.timestamps_ms))
            effects.timestamps.append((key.model, result.timestamps_ms))
        for name, times in unit.new_suppressions():
            effects.limit(name, times)

    def label(self, partition: Partition, records: Sequence[Record]) -> Effects:
        """Joins label records of one of the labels' partitions to what every assigned partition keeps of predictions.

        Labels are no worker's own: each reads all of them. One read twice changes nothing.
        """
        effects = Effects()
        found, rejects = self._book.read(partition, records, self._settings.message.event_bytes)
        effects.dead_letters += [DeadLetter(record, reason) for record, reason in rejects]
        effects.count("", "invalid", len(rejects))
        for model, own in found.items():
            effects.count(model, "read", len(own))
        name, read = str(partition), records[-1].offset + 1
        for assigned in self._partitions.values():
            effects.labelled += self._book.join(assigned.units.values(), found)
            assigned.labels[name] = max(assigned.labels.get(name, 0), read)
        return effects

    def label_positions(self) -> dict[str, int]:
        """From where labels are wanted, by label partition; from its beginning where it is not named."""
        return checkpoints.lowest([assigned.labels for assigned in self._partitions.values()])

    def _limit(self, assigned: Assigned, key: UnitKey) -> str | None:
        """The limit that a new unit meets, None when there is room. Counted per partition: state knows no other."""
        units, limits = assigned.units, self._settings
        if len(units) >= limits.max_units:
            return "units"
        own = [unit for unit in units if unit.model == key.model]
        if not own and len({unit.model for unit in units}) >= limits.max_models:
            return "models"
        versions = {unit.version for unit in own}
        if key.version not in versions and len(versions) >= limits.max_versions:
            return "versions"
        segments = {unit.segment for unit in own if unit.segment is not None}
        if key.segment is not None and key.segment not in segments and len(segments) >= limits.max_segments:
            return "segments"
        return None

    def profiles_due(self, now_ms: int, *, force: bool = False) -> Iterator[Profile]:
        """Profiles of units with something unpublished whose last publication is a look ago; ``force``: of all. Each is
        made when it is asked for."""
        interval_ms = 0 if force else self._settings.look_ms * max(1, -(-self.unit_count // UNITS_PER_LOOK))
        assigned = self._partitions.values()
        due = [unit for one in assigned for unit in one.units.values() if unit.due(now_ms, interval_ms)]
        return (unit.publish(now_ms) for unit in due)

    def set_reference(self, reference: Reference | None = None, *, remove: ModelKey | None = None) -> list[Profile]:
        """Takes up a reference, or forgets all of a model version; the last profiles of the epochs that end."""
        if reference is not None:
            self._references[_target(reference)] = reference
            self._prepared.pop(_target(reference), None)
        if remove is not None:
            for target in [t for t in self._references if t.model_key == remove]:
                del self._references[target]
                self._prepared.pop(target, None)
        changed = reference.model_key if reference is not None else remove
        last = []
        for assigned in self._partitions.values():
            for key, unit in assigned.units.items():
                if key.model_key == changed:
                    last += unit.switch(self._reference(key), max(assigned.next_of(key), unit.skip_below))
        return last

    def urgent(self) -> list[Partition]:
        """Partitions where an epoch waits for a checkpoint before anything of it may be published."""
        return [
            partition
            for partition, assigned in self._partitions.items()
            if any(not unit.durable for unit in assigned.units.values())
        ]

    def checkpoint(self, partition: Partition) -> Checkpoint:
        """Begins a checkpoint of an assigned partition of which something was read."""
        assigned = self._partitions[partition]
        assert assigned.next >= 0, f"{partition}: nothing read yet"
        return Checkpoint(partition, assigned, self._settings.unit_checkpoint_bytes)


def _target(reference: Reference) -> UnitKey:
    return UnitKey(reference.model, reference.version, reference.segment)
