"""A partition that is assigned to this worker: its units, how far it is read, and its checkpoints. No I/O."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from detectors.errors import CheckpointError
from detectors.features import UnitKey
from detectors.profiles import Epoch, Profile
from stream.formats.shapes import Part
from stream.observe.origin import Origin
from stream.observe.places import Places
from stream.observe.unit import Unit
from stream.topics import checkpoints, generations
from stream.topics.generations import Generation
from stream.topics.quarantine import Quarantine
from stream.topics.record import Partition

T = TypeVar("T")


class Work(Protocol):
    """Work on single units, each of which goes into quarantine where it fails; see ``UnitWork``."""

    def fold_in(self, assigned: "Assigned", unit: Unit) -> None:
        """Folds in the rows that wait in a unit."""
        ...

    def attempt(self, assigned: "Assigned", unit: Unit, stage: str, work: Callable[[], T], otherwise: T) -> T:
        """The result of ``work`` on the unit; ``otherwise``, and quarantine, where it raises."""
        ...

    def quarantine(self, assigned: "Assigned", unit: Unit, stage: str, error: Exception, ignored: int = 0) -> None:
        """Puts a unit into quarantine. ``ignored``: rows of it that neither count nor wait."""
        ...


class Returned(NamedTuple):
    """The effects of all records below ``position`` have been returned; the partition's clock is ``clock_ms`` there."""

    position: int
    clock_ms: int | None = None


class Assigned:
    """One assigned partition.

    ``position``: next offset; the rows of all records below it are with their units. ``returned``: up to where effects
    have been returned. ``floor``: records below it bring nothing new for a unit that is not known. ``restored_below``:
    no restored unit contains a record from this offset on. ``clock_ms``: the partition's clock after all records below
    ``position``; None before the first event. All offsets are positions, see ``stream.topics.generations``; ``origin``:
    of which topics.

    ``waiting``: units in which rows wait, the unit that has waited longest first; ``waiting_values``: values in all of
    these rows. ``labels``: next offset by label partition; the units contain all labels below it. ``quarantined``:
    those of ``units`` that are in quarantine. ``work`` does the work on single units.
    """

    __slots__ = ("_uncut", "_work", "clock_ms", "floor", "labels", "origin", "places", "position", "quarantined",
                 "restored_below", "returned", "units", "volatile", "waiting", "waiting_values")  # fmt: skip

    def __init__(self, position: int, floor: int, places: Places, work: Work, origin: Origin) -> None:
        self._work = work
        self.origin = origin
        self.position = position
        self.returned = Returned(position)
        self.floor = self.restored_below = floor
        self.clock_ms: int | None = None
        self.places = places
        self.units: dict[UnitKey, Unit] = {}
        self.volatile: dict[UnitKey, Unit] = {}
        self._uncut: dict[str, dict[UnitKey, Unit]] = {}
        self.waiting: dict[UnitKey, Unit] = {}
        self.waiting_values = 0
        self.quarantined: dict[UnitKey, Quarantine] = {}
        self.labels: dict[str, int] = {}

    def restore_unit(self, unit: Unit) -> None:
        """Adds a unit that was restored from a checkpoint."""
        self._add(unit)
        self.restored_below = max(self.restored_below, unit.skip_below)

    def restore_clock(self, manifest: checkpoints.Manifest | None) -> None:
        """Sets the clock to that at ``position``, as the manifest or a unit that was stamped there has it."""
        if manifest is not None and manifest.next == self.position:
            found = [manifest.clock_ms]
        else:
            found = [unit.cuts.clock_ms for unit in self.units.values() if unit.skip_below == self.position]
        self.clock_ms = next((clock for clock in found if clock is not None), None)
        self.effects_returned()

    def restore_labels(self, labels: dict[str, int]) -> None:
        """Sets from where labels are read again, for the partition and for all its units."""
        self.labels = labels
        for topic in self.origin.topics:
            self._begin_labels(topic)
        for unit in self.units.values():
            unit.share_labels(labels)

    def begin_generation(self, topics: Mapping[str, Generation]) -> None:
        """Goes on with the first record of the topic that was made anew. All that was counted stays."""
        self.origin.topics.update(topics)
        self.position = self.floor = self.restored_below = self.origin.begin_of(self.origin.partition.topic)
        self.effects_returned()
        for topic in topics:
            self._begin_labels(topic)

    def follow_labels(self, topic: str, topic_id: str) -> bool:
        """Notes the id of a label topic; returns whether it was made anew: then it is read from its first record."""
        before = self.origin.topics.get(topic)
        now = generations.present(topic_id, [] if before is None else [before])
        self.origin.topics[topic] = now
        self._begin_labels(topic)
        return before is not None and now.number > before.number

    def _begin_labels(self, topic: str) -> None:
        begin = self.origin.begin_of(topic)
        for name, position in self.labels.items():
            if position < begin and name.rpartition("/")[0] == topic:
                self.labels[name] = begin

    def exceeded(self, key: UnitKey, clock_ms: int, coming: Iterable[Part]) -> str | None:
        """The name of the limit that a new unit would exceed; see ``Places.exceeded``."""
        return self.places.exceeded(key, self.units, clock_ms, coming)

    def begin_unit(self, unit: Unit) -> None:
        """Adds a unit that was never seen before."""
        unit.share_labels(self.labels)
        self.places.admit(unit.key)
        self._add(unit)

    def _add(self, unit: Unit) -> None:
        self.units[unit.key] = unit
        if not unit.durable:
            self.volatile[unit.key] = unit
        if not unit.cuts.begun:
            self._uncut.setdefault(unit.key.model, {})[unit.key] = unit

    def begin_epoch(self, unit: Unit) -> None:
        """Notes that a unit has begun an epoch that no checkpoint holds."""
        self.volatile[unit.key] = unit

    def enter_quarantine(self, unit: Unit, quarantine: Quarantine) -> None:
        """Notes that a unit is in quarantine. It is not waited for when slots of its model are published."""
        self.quarantined[unit.key] = quarantine
        self._uncut.get(unit.key.model, {}).pop(unit.key, None)
        if not unit.durable:
            self.volatile[unit.key] = unit

    def leave_quarantine(self, unit: Unit) -> None:
        """Notes that a unit was released and has begun a new epoch."""
        del self.quarantined[unit.key]
        self._add(unit)

    def ignore(self, key: UnitKey, rows: int) -> None:
        """Counts rows of a unit in quarantine, which its next checkpoint has to hold."""
        if rows:
            held = self.quarantined[key]
            self.quarantined[key] = msgspec.structs.replace(held, ignored=held.ignored + rows)
            self.units[key].touch()

    def make_durable(self, key: UnitKey, epoch: Epoch) -> None:
        """Notes that an acknowledged checkpoint holds that epoch of the unit."""
        unit = self.units.get(key)
        if unit is not None and unit.make_durable(epoch):
            self.volatile.pop(key, None)

    @property
    def kept(self) -> int:
        """How many profiles of slots that ended wait for a checkpoint that holds their epochs."""
        return sum(unit.keeps for unit in self.volatile.values())

    def hand_out(self, unit: Unit) -> Iterator[Profile]:
        """The profiles of the unit's slots that ended, which the caller must publish at once.

        The first slot of a unit decides from which look on it shares the budget of its model. So the first slots of the
        model's other units that have ended are published before, also before later slots with the same end; where one
        may not be published yet, nothing is. A checkpoint may hold a unit further than the partition was read. Slots
        beyond the partition's clock are kept then: other units' slots that end before may be to come.
        """
        clock_ms = self.clock_ms or 0
        own = self._uncut.get(unit.key.model)
        if own:
            for other in list(own.values()):
                self.cut_passed(other, clock_ms)
            first = [other for other in own.values() if other.keeps and other.cuts.first_kept_ms <= clock_ms]
            if not all(other.durable for other in first):
                return
            for other in first:
                del own[other.key]
            if not own:
                self._uncut.pop(unit.key.model, None)
            kept = [(at > 0, profile) for other in first for at, profile in enumerate(other.hand_out(clock_ms))]
            yield from (p for _, p in sorted(kept, key=lambda one: (one[1].slot_end_ms or 0, one[0])))
        yield from unit.hand_out(clock_ms)

    def cut_passed(self, unit: Unit, clock_ms: int) -> None:
        """Cuts the unit's open slot if that ends at or before ``clock_ms``."""
        if unit.passed(clock_ms):
            self._work.fold_in(self, unit)
            self._work.attempt(self, unit, "profile", lambda: unit.cut_passed(clock_ms), None)

    def hand_over(self, part: Part) -> Unit | None:
        """Hands rows to their unit, where they wait. Returns the unit when it is time to fold them in."""
        unit, rows = self.units[part.unit], len(part.timestamps_ms)
        waiting = unit.waiting
        before = waiting.rows, waiting.values
        self.waiting[part.unit] = unit
        try:
            due = unit.append(part)
        except Exception as error:  # one unit never ends the worker
            self.waiting_values += waiting.values - before[1]
            self._work.quarantine(self, unit, "counting", error, ignored=before[0] + rows - waiting.rows)
            return None
        self.waiting_values += waiting.values - before[1]
        return unit if due else None

    def stop_waiting(self, unit: Unit) -> bool:
        """Removes a unit from those in which rows wait; False when none of its rows wait."""
        if self.waiting.pop(unit.key, None) is None:
            return False
        self.waiting_values -= unit.waiting.values
        return True

    def advance(self, position: int, clock_ms: int | None) -> None:
        """Notes that the rows of all records below ``position`` have been handed to their units.

        ``clock_ms``: the partition's clock after them.
        """
        self.position, self.clock_ms = position, clock_ms

    def effects_returned(self) -> None:
        """Notes that the effects of all records below ``position`` have been returned."""
        self.returned = Returned(self.position, self.clock_ms)

    def shown_below_ms(self, clock_ms: int) -> int:
        """The largest time up to ``clock_ms`` that no slot reaches whose profile may not be published yet."""
        return min([clock_ms, *(unit.cuts.first_kept_ms - 1 for unit in self.units.values() if unit.keeps)])

    def unpublished(self) -> bool:
        """Whether a slot of any unit, open or ended, holds rows that no published profile holds."""
        return bool(self.waiting) or any(unit.keeps or unit.open_and_changed for unit in self.units.values())


ATTEMPTS = 3
"""As it is; after a quarantine, with its running totals and predictions; with its running totals."""


class Checkpoint:
    """One checkpoint while it is written: first the units, then the manifest; then ``next`` may be committed.

    ``work`` does the work on single units.
    """

    __slots__ = ("_assigned", "_clock_ms", "_epochs", "_label_stamps", "_labels", "_limit", "_partition",
                 "_stamps", "_work", "dirty", "next")  # fmt: skip

    def __init__(self, partition: Partition, assigned: Assigned, limit: int, work: Work) -> None:
        self._partition, self._assigned, self._limit, self._work = partition, assigned, limit, work
        self.next, self._clock_ms = assigned.returned
        assigned.origin.note_saved(self.next, acknowledged=False)
        self._labels = dict(assigned.labels)
        self._label_stamps = {key: unit.label_stamp for key, unit in assigned.units.items() if not unit.dirty}
        self.dirty = [key for key, unit in assigned.units.items() if unit.dirty]
        self._stamps = {key: unit.stamp for key, unit in assigned.units.items() if not unit.dirty}
        self._epochs = {key: unit.bank.epoch for key, unit in assigned.units.items() if not unit.dirty}

    def encode(self, key: UnitKey) -> tuple[bytes, bytes]:
        """Returns key and value of the record of a dirty unit, as the unit is now.

        The unit is not dirty afterwards. One that is too large or cannot be written goes into quarantine; one that
        cannot be written even then has a record without a state.
        """
        unit, where = self._assigned.units[key], f"{self._partition}: {key}"
        self._work.fold_in(self._assigned, unit)
        for _ in range(ATTEMPTS):
            self._stamp(unit)
            try:
                return checkpoints.unit_key(self._partition, key), self._value(unit, where)
            except Exception as error:  # one unit never ends the worker
                self._work.quarantine(self._assigned, unit, "checkpoint", error)
        self._stamp(unit)
        held = self._assigned.quarantined[key]
        topics = self._assigned.origin.topics
        empty = checkpoints.encode_unit(unit.stamp, "", None, b"", where, self._limit, held, topics)
        return checkpoints.unit_key(self._partition, key), empty

    def _stamp(self, unit: Unit) -> None:
        unit.stamp_at(self._assigned.position, self._assigned.clock_ms)
        self._stamps[unit.key], self._label_stamps[unit.key] = unit.stamp, unit.label_stamp
        self._epochs[unit.key] = unit.bank.epoch

    def _value(self, unit: Unit, where: str) -> bytes:
        """The unit's record. Profiles that it keeps are thinned out until they fit; the newest one goes last. Raises
        CheckpointError when it is too large."""
        settings, reference = unit.bank.settings.digest, unit.bank.reference_digest
        held = self._assigned.quarantined.get(unit.key)
        while True:
            try:
                return checkpoints.encode_unit(
                    unit.stamp, settings, reference, unit.snapshot(), where, self._limit, held,
                    self._assigned.origin.topics,
                )  # fmt: skip
            except CheckpointError:
                if not unit.thin_out():
                    raise

    def manifest(self) -> tuple[bytes, bytes]:
        """Key and value of the manifest, which may be sent when every dirty unit is acknowledged."""
        assert len(self._stamps) >= len(self.dirty)
        value = checkpoints.encode_manifest(
            self.next, self._stamps, self._labels, self._label_stamps, self._clock_ms, self._assigned.origin.topics
        )
        return checkpoints.manifest_key(self._partition), value

    def acknowledged(self) -> None:
        """Notes that the manifest is acknowledged. From now on the epochs in this checkpoint may be published."""
        self._assigned.origin.note_saved(self.next, acknowledged=True)
        for key, epoch in self._epochs.items():
            self._assigned.make_durable(key, epoch)
