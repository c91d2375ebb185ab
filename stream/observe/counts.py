"""What a unit counts in one partition: events in slots of the partition's clock, late and repeated ones. No I/O."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec
import numpy as np

from detectors.bank.bank import Bank, BankSettings
from detectors.column_batches import sliced
from detectors.columns import Columns, Integers
from detectors.errors import CheckpointError
from detectors.profiles import Profile
from stream.formats.columns import UnitBatch
from stream.formats.ids import Identities, of_snapshot
from stream.labels.predictions import PredictionRules, Predictions
from stream.observe.cuts import Cuts, CutState
from stream.observe.recent_ids import RecentIds
from stream.observe.timing import Timing


class UnitSettings(msgspec.Struct, frozen=True):
    """See ``ObserveSettings``."""

    bank: BankSettings
    late_ms: int
    look_ms: int
    look_events: int
    recent_ids: int
    predictions: PredictionRules


class State(msgspec.Struct, frozen=True):
    """Plain state of ``Counts``."""

    bank: bytes
    newest_ms: int | None
    look: int  # -1, and the next one 0: a version without slots needs them while workers are replaced one by one
    since_look: int
    recent: list[str]  # ids as texts, in checkpoints of version 1
    older: list[str]
    predictions: bytes = b""
    labels: dict[str, int] = {}
    newer_ids: bytes = b""  # see ``RecentIds``
    older_ids: bytes = b""
    cuts: CutState = CutState()


_states = msgspec.msgpack.Decoder(State)


def decode_state(blob: bytes, where: str) -> State:
    """The state in a snapshot. Raises CheckpointError naming ``where``."""
    try:
        return _states.decode(blob)
    except (msgspec.MsgspecError, ValueError) as error:
        raise CheckpointError(f"{where}: not a unit's snapshot: {error}") from error


@dataclass(slots=True)
class Folded:
    """The result of folding in one batch: numbers of rows. ``identities``: ids of all rows in the batch."""

    identities: Identities
    accepted: int = 0
    late: int = 0
    duplicate: int = 0


class LeftOut(NamedTuple):
    """Of the rows of a batch, each of shape (n,): 1 where a row is late; 1 where it is a repeat; next offsets."""

    late: Integers
    repeated: Integers
    next_offsets: Integers


class Counts:
    """All that a unit counts in one partition.

    Rows count in slots of the partition's clock. Before the first row at or after the end of the open slot, or when the
    clock has passed that end, the slot is cut: a profile of all that came before is kept in ``cuts``. Both give the
    same profile, so its content does not depend on when it was made. ``labels``: next offset by label partition, of the
    labels that are joined; the units of a partition share this dictionary.
    """

    __slots__ = ("_rank", "_recent", "_settings", "_timing", "bank", "cuts", "labels", "predictions")

    def __init__(self, settings: UnitSettings, bank: Bank, rank: int) -> None:
        self._settings, self.bank, self._rank = settings, bank, rank
        self.labels: dict[str, int] = {}
        self.predictions = Predictions(settings.predictions)
        self.cuts = Cuts(settings.look_ms, settings.look_events, rank)
        self._timing = Timing(settings.late_ms)
        self._recent = RecentIds(settings.recent_ids)

    def restore(self, state: State, where: str) -> None:
        """Continues from the state of a checkpoint, but for the bank. Raises CheckpointError naming ``where``."""
        settings = self._settings
        try:
            newer, older = of_snapshot(state.newer_ids, state.recent), of_snapshot(state.older_ids, state.older)
            self.cuts = Cuts(settings.look_ms, settings.look_events, self._rank, state.cuts)
        except (msgspec.MsgspecError, ValueError) as error:
            raise CheckpointError(f"{where}: not a unit's snapshot: {error}") from error
        self._recent.restore(newer, older)
        self._timing = Timing(settings.late_ms, state.newest_ms)
        self.labels = state.labels
        if state.predictions:
            self.predictions.restore(state.predictions, where)

    def snapshot(self) -> bytes:
        """The whole state as bytes."""
        state = State(
            self.bank.snapshot(), self._timing.newest_ms, -1, 0, [], [],
            self.predictions.snapshot(), self.labels, *self._recent.snapshot(), self.cuts.snapshot(),
        )  # fmt: skip
        return msgspec.msgpack.encode(state)

    def share_labels(self, labels: dict[str, int]) -> None:
        """Sets ``labels``, which the unit's partition keeps up to date from now on."""
        self.labels = labels

    def begin_epoch(self, bank: Bank) -> None:
        """Counts go on in ``bank``, which continues the one before. The open slot stays open."""
        self.bank = bank
        self.cuts.forget()

    def anew(self, bank: Bank, *, tallies_only: bool) -> "Counts":
        """Counts in ``bank``, which continues the one before, without what was counted in between; see
        ``Unit.begin_anew``."""
        settings = self._settings
        found = Counts(settings, bank, self._rank)
        found.labels = self.labels
        found.cuts = Cuts(settings.look_ms, settings.look_events, self._rank, self.cuts.without_slot())
        found.predictions.continue_from(self.predictions, tallies_only=tallies_only)
        return found

    @property
    def changed(self) -> bool:
        """Whether rows came since the newest profile."""
        return self.cuts.changed(self.bank.next_offset)

    def profile(self) -> Profile:
        """The profile of the open slot; of the last one when none is open."""
        outcomes = self.predictions.outcomes(sum(self.labels.values()))
        return self.cuts.stamped(msgspec.structs.replace(self.bank.profile(), outcomes=outcomes))

    def cut(self) -> None:
        """Ends the open slot and keeps its profile."""
        self.cuts.cut(self.profile())

    def fold_in(self, batch: UnitBatch) -> Folded:
        """Folds in one batch. Late rows and repeats are counted and left out."""
        count, clocks = len(batch.identities), batch.clocks_ms
        kept = self._timing.in_time(batch.timestamps_ms)
        identities, next_offsets = batch.identities, batch.next_offsets
        if kept is not None:
            batch = batch.selected(kept)
        fresh = self._recent.fresh(batch.identities) if self._settings.recent_ids else None
        if kept is None and fresh is None:
            self._count_all(batch)
            return Folded(identities, count)
        rows = np.arange(count) if kept is None else kept
        late = np.ones(count, np.int64)
        late[rows] = 0
        if fresh is not None:
            batch, rows = batch.selected(fresh), rows[fresh]
        repeated = 1 - late
        repeated[rows] = 0
        self._count_some(batch, rows, clocks, LeftOut(late, repeated, next_offsets))
        return Folded(identities, len(rows), int(late.sum()), int(repeated.sum()))

    def _count(self, batch: UnitBatch, start: int, end: int) -> None:
        columns = _part(batch, start, end)
        self.bank.update(columns)
        self.predictions.remember(columns, batch.identities[start:end])
        self.cuts.slots.count(int(batch.clocks_ms[start]), end - start)

    def _count_all(self, batch: UnitBatch) -> None:
        """Counts all rows of a batch and cuts each slot that they end."""
        slots, clocks, start = self.cuts.slots, batch.clocks_ms, 0
        if slots.passed(int(clocks[0])):
            self.cut()
        while True:
            end = slots.split(clocks, start)
            self._count(batch, start, end)
            if end == len(clocks):
                return
            self.cut()
            start = end

    def _count_some(self, batch: UnitBatch, rows: Integers, clocks: Integers, left_out: LeftOut) -> None:
        """Counts ``batch``, the given ones of all ``rows``, and cuts each slot that any row ends.

        Rows that are left out open no slot. ``clocks``, shape (n,): of all rows.
        """
        slots, start, done = self.cuts.slots, 0, 0
        while start < len(rows) or slots.open is not None:
            end = slots.split(batch.clocks_ms, start) if start < len(rows) else start
            if end > start:
                self._count(batch, start, end)
            start = end
            stop = max(int(np.searchsorted(clocks, slots.end_after(0))), done)
            if stop == len(clocks):
                break
            self._leave_out(left_out, done, stop)
            self.cut()
            done = stop
        self._leave_out(left_out, done, len(clocks))

    def _leave_out(self, rows: LeftOut, start: int, end: int) -> None:
        late, repeated = int(rows.late[start:end].sum()), int(rows.repeated[start:end].sum())
        if late or repeated:
            self.bank.left_out(int(rows.next_offsets[end - 1]), late=late, duplicate=repeated)


def _part(batch: UnitBatch, start: int, end: int) -> Columns:
    columns = batch.columns if (start, end) == (0, len(batch.columns)) else sliced(batch.columns, start, end)
    environments: dict[str, int] = {}
    for row, text in batch.environments:
        if start <= row < end:
            environments[text] = environments.get(text, 0) + 1
    return replace(columns, environments=environments) if environments else columns
