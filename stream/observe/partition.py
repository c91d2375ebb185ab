"""A partition that is ours: its units, how far it was read, and the checkpoint that is made of it. No I/O."""

from collections.abc import Callable

from detectors.features import UnitKey
from stream.observe.unit import Unit
from stream.topics import checkpoints
from stream.topics.record import Partition


class Assigned:
    """``position``: next offset, everything below is with its unit; ``next``: everything below is told, too, while what
    came of the last records may still have to be. ``floor``: below it, records of unknown units are old.

    ``waiting``: its units in which rows wait, the one that waits longest first; ``waiting_values``: how much that is.
    ``labels``: next offset by label partition, of the labels that its units contain.
    """

    __slots__ = ("floor", "labels", "next", "position", "settled", "units", "waiting", "waiting_values")

    def __init__(self, position: int, floor: int) -> None:
        self.position = self.next = position
        self.floor = floor
        self.units: dict[UnitKey, Unit] = {}
        self.waiting: dict[UnitKey, Unit] = {}
        self.waiting_values = 0
        self.settled = floor  # from here on nothing has to be skipped
        self.labels: dict[str, int] = {}


class Checkpoint:
    """One checkpoint in the making: units first, then the manifest, then ``next`` may be committed.

    ``settle`` folds in what waits in a unit.
    """

    __slots__ = ("_assigned", "_epochs", "_label_stamps", "_labels", "_limit", "_partition", "_settle", "_stamps",
                 "dirty", "next")  # fmt: skip

    def __init__(
        self, partition: Partition, assigned: Assigned, limit: int, settle: Callable[[Assigned, Unit], None]
    ) -> None:
        self._partition, self._assigned, self._limit, self._settle = partition, assigned, limit, settle
        self.next = assigned.next
        self._labels = dict(assigned.labels)
        self._label_stamps = {key: unit.label_stamp for key, unit in assigned.units.items() if not unit.dirty}
        self.dirty = [key for key, unit in assigned.units.items() if unit.dirty]
        self._stamps = {key: unit.stamp for key, unit in assigned.units.items() if not unit.dirty}
        self._epochs = {key: unit.bank.epoch for key, unit in assigned.units.items() if not unit.dirty}

    def encode(self, unit: UnitKey) -> tuple[bytes, bytes]:
        """Key and value of a dirty unit's record, as the unit is now. CheckpointError when it is too large."""
        state = self._assigned.units[unit]
        self._settle(self._assigned, state)
        state.stamp = self._stamps[unit] = max(self._assigned.position, state.skip_below)
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
