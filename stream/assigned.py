"""A partition that is ours: its units, how far it was read, and the checkpoint that is made of it. No I/O."""

from detectors.features import UnitKey
from stream import checkpoints
from stream.columnar import UnitBatch
from stream.ports import Partition
from stream.units import Unit


class Assigned:
    """``position``: next offset; ``floor``: below it, records of unknown units are old.

    ``waiting``: what was read from ``began`` to ``position`` and is not folded in yet, by unit. ``labels``: next offset
    by label partition, of the labels that its units contain.
    """

    __slots__ = ("began", "floor", "labels", "position", "settled", "units", "waiting")

    def __init__(self, position: int, floor: int) -> None:
        self.position, self.floor = position, floor
        self.began = position
        self.waiting: dict[UnitKey, UnitBatch] = {}
        self.units: dict[UnitKey, Unit] = {}
        self.settled = floor  # from here on nothing has to be skipped
        self.labels: dict[str, int] = {}

    @property
    def next(self) -> int:
        """Everything below is folded in."""
        return self.began if self.waiting else self.position

    def next_of(self, unit: UnitKey) -> int:
        """Everything of one unit below is folded in."""
        return self.began if unit in self.waiting else self.position


class Checkpoint:
    """One checkpoint in the making: units first, then the manifest, then ``next`` may be committed."""

    __slots__ = ("_assigned", "_epochs", "_label_stamps", "_labels", "_limit", "_partition", "_stamps", "dirty", "next")

    def __init__(self, partition: Partition, assigned: Assigned, limit: int) -> None:
        self._partition, self._assigned, self._limit = partition, assigned, limit
        self.next = assigned.next
        self._labels = dict(assigned.labels)
        self._label_stamps = {key: unit.label_stamp for key, unit in assigned.units.items() if not unit.dirty}
        self.dirty = [key for key, unit in assigned.units.items() if unit.dirty]
        self._stamps = {key: unit.stamp for key, unit in assigned.units.items() if not unit.dirty}
        self._epochs = {key: unit.bank.epoch for key, unit in assigned.units.items() if not unit.dirty}

    def encode(self, unit: UnitKey) -> tuple[bytes, bytes]:
        """Key and value of a dirty unit's record, as the unit is now. CheckpointError when it is too large."""
        state = self._assigned.units[unit]
        state.stamp = self._stamps[unit] = max(self._assigned.next_of(unit), state.skip_below)
        state.label_stamp = self._label_stamps[unit] = sum(state.labels.values())
        self._epochs[unit] = state.bank.epoch
        state.dirty = False
        where = f"{self._partition}: {unit}"
        bank = state.bank
        value = checkpoints.encode_unit(
            state.stamp, bank.settings.digest, bank.reference_digest, state.snapshot(), where, self._limit
        )
        return checkpoints.unit_key(self._partition, unit), value

    def manifest(self) -> tuple[bytes, bytes]:
        """Key and value of the manifest; to be written when every dirty unit is acknowledged."""
        assert len(self._stamps) >= len(self.dirty)
        value = checkpoints.encode_manifest(self.next, self._stamps, self._labels, self._label_stamps)
        return checkpoints.manifest_key(self._partition), value

    def acknowledged(self) -> None:
        """The manifest is acknowledged: epochs that it holds may be published."""
        for key, epoch in self._epochs.items():
            unit = self._assigned.units.get(key)
            if unit is not None and unit.bank.epoch == epoch:
                unit.durable = True
