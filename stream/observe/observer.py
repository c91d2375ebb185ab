"""OBSERVE without I/O: records of assigned partitions in; outcomes, dead letters and profiles out.

State is a pure function of the log, the settings and the references. Nothing here reads a clock, awaits or logs; wall
time comes in only to say when a profile that waits should be published.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np

from detectors.bank.bank import BankSettings
from detectors.bank.prepared import PreparedReference
from detectors.columns import Integers
from detectors.errors import CheckpointError
from detectors.features import Kind, ModelKey, UnitKey
from detectors.profiles import Profile
from detectors.reference.reference import Reference
from stream.formats.decoder import Decoded, Decoder
from stream.formats.row import Limits, Rules
from stream.formats.shapes import Part
from stream.labels.book import LabelBook, Labelled
from stream.labels.predictions import PredictionRules
from stream.observe.partition import Assigned, Checkpoint
from stream.observe.unit import Unit, UnitSettings
from stream.topics import checkpoints
from stream.topics.record import Partition, Record

UNITS_PER_LOOK = 200
"""Units that publish once per look; with more of them the interval grows, so that it stays near a sixth of a core."""

MOST_WAITING = 2_000_000
"""Values of one partition that wait to be folded in: some 15 MB of numbers, at most 100 MB of texts."""


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
    timestamps: list[tuple[str, Integers]] = field(default_factory=list)  # (model, event times) of what was read
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

    __slots__ = ("_aside", "_book", "_decoder", "_partitions", "_prepared", "_references", "_settings",
                 "_unit_settings")  # fmt: skip

    def __init__(self, settings: ObserveSettings, references: Iterable[Reference] = ()) -> None:
        self._settings = settings
        self._unit_settings = {
            model: UnitSettings(settings.bank, settings.late_ms, settings.look_ms, settings.look_events,
                                settings.recent_ids, rules)
            for model, rules in {"": settings.predictions, **settings.predictions_of}.items()
        }  # fmt: skip
        self._aside = Effects()
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
        """Folds in records of an assigned partition that follow all before; nothing waits for others."""
        effects = Effects()
        for _ in self.steps(partition, records, effects):
            """One unit after the other, without a break."""
        for unit in list(self._partitions[partition].waiting.values()):
            self._settle(self._partitions[partition], unit, effects)
        return effects

    def steps(self, partition: Partition, records: Sequence[Record], effects: Effects) -> Iterator[None]:
        """Takes up records of an assigned partition that follow all before, with breaks while they are decoded and
        before each unit that is folded in, in which all else here may be called.

        A unit is folded in when enough of it waits, or a look may be due; what waits then changes no result. Whoever
        asks for a unit's profile, snapshot or labels has it folded in first.
        """
        assigned = self._partitions[partition]
        if not records:
            return
        assert records[0].offset >= assigned.position, f"{partition}: offset {records[0].offset} was read before"
        decoded = Decoded()
        yield from self._decoder.steps(partition, records, decoded)
        for name, times in decoded.limited.items():
            effects.limit(name, times)
        for record, reason in decoded.rejects:
            if record.offset >= assigned.floor:
                effects.count("", "invalid", 1)
                effects.dead_letters.append(DeadLetter(record, reason))
        parts: list[Part] = []
        for part in decoded.parts:
            fresh = part if part.first > assigned.settled else self._fresh(assigned, part)
            if fresh is None:
                continue
            if part.unit not in assigned.units:
                yield  # it takes milliseconds to begin one
                if not self._begin(partition, assigned, fresh, effects):
                    continue
            parts.append(fresh)
        assigned.position = records[-1].offset + 1
        due = [unit for part in parts if (unit := self._deal(assigned, part, effects)) is not None]
        for unit in due:
            yield
            self._settle(assigned, unit, effects)
        while assigned.waiting_values > MOST_WAITING:
            yield
            self._settle(assigned, next(iter(assigned.waiting.values())), effects)
        assigned.next = assigned.position

    @staticmethod
    def _fresh(assigned: Assigned, part: Part) -> Part | None:
        """The rows that are not contained in what was restored."""
        unit, batch = assigned.units.get(part.unit), part.batch()
        rows = np.flatnonzero(batch.next_offsets > (assigned.floor if unit is None else unit.skip_below))
        return batch.taken(rows) if len(rows) else None

    def _begin(self, partition: Partition, assigned: Assigned, part: Part, effects: Effects) -> bool:
        """Begins a unit that was never seen before, False where it meets a limit."""
        key, rows = part.unit, len(part.timestamps_ms)
        limit = self._limit(assigned, key)
        if limit is not None:
            effects.count(key.model, "unknown_model", rows)
            effects.limit(limit, rows)
            return False
        unit = Unit.begun(
            key, partition, self._settings_of(key), self._reference(key), self._kinds(key), part.first - 1
        )
        unit.labels = assigned.labels
        assigned.units[key] = unit
        return True

    @staticmethod
    def _deal(assigned: Assigned, part: Part, effects: Effects) -> Unit | None:
        """Gives rows to their unit; that unit when it is time to fold them in."""
        unit = assigned.waiting[part.unit] = assigned.units[part.unit]
        effects.timestamps.append((part.unit.model, part.timestamps_ms))
        assigned.waiting_values += len(part.timestamps_ms) * part.width
        return unit if unit.wait(part) else None

    def _settle(self, assigned: Assigned, unit: Unit, effects: Effects) -> None:
        """Folds in what waits in a unit."""
        if assigned.waiting.pop(unit.key, None) is None:
            return
        assigned.waiting_values -= unit.waiting.values
        model = unit.key.model
        for folded in unit.settle():
            effects.labelled += self._book.meet(unit, folded.identities)
            effects.count(model, "accepted", folded.accepted)
            effects.count(model, "late", folded.late)
            effects.count(model, "duplicate", folded.duplicate)
            effects.profiles += folded.profiles
        for name, times in unit.new_suppressions():
            effects.limit(name, times)

    def _settle_aside(self, assigned: Assigned, unit: Unit) -> None:
        self._settle(assigned, unit, self._aside)

    def aside(self) -> Effects:
        """What came of rows that were folded in since, other than in ``steps``: because somebody asked for a unit."""
        found, self._aside = self._aside, Effects()
        return found

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
            for unit in [unit for unit in assigned.waiting.values() if unit.key.model in found]:
                self._settle_aside(assigned, unit)
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
        every = self._partitions.values()
        due = [(one, unit) for one in every for unit in one.units.values() if unit.due(now_ms, interval_ms)]
        for assigned, unit in due:
            self._settle_aside(assigned, unit)
            yield unit.publish(now_ms)

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
                    self._settle_aside(assigned, unit)
                    last += unit.switch(self._reference(key), max(assigned.position, unit.skip_below))
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
        return Checkpoint(partition, assigned, self._settings.unit_checkpoint_bytes, self._settle_aside)


def _target(reference: Reference) -> UnitKey:
    return UnitKey(reference.model, reference.version, reference.segment)
