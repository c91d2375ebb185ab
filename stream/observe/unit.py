"""A unit in one partition: its bank, late and repeated events, and when its profiles are due. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from detectors.bank.bank import Bank, BankSettings, decode_state
from detectors.bank.prepared import PreparedReference
from detectors.column_batches import sliced
from detectors.columns import Columns, Integers
from detectors.errors import CheckpointError
from detectors.features import Kind, UnitKey
from detectors.profiles import Epoch, Profile
from stream.formats.columns import UnitBatch
from stream.formats.ids import Identities, of_snapshot
from stream.formats.shapes import Part
from stream.labels.predictions import Match, PredictionRules, Predictions
from stream.labels.record import Label
from stream.observe.recent_ids import RecentIds
from stream.observe.timing import Timing
from stream.observe.waiting import PENDING, Waiting
from stream.topics.record import Partition

PATIENCE = 0.75
"""After a look, publishing by the clock waits for two of its intervals minus this many looks.

So on a busy stream the next look comes first, and no profile is published by the clock just before it.
"""


class UnitSettings(msgspec.Struct, frozen=True):
    """The settings of one unit; see ``ObserveSettings``."""

    bank: BankSettings
    late_ms: int
    look_ms: int
    look_events: int
    recent_ids: int
    predictions: PredictionRules


class _State(msgspec.Struct, frozen=True):
    bank: bytes
    newest_ms: int | None
    look: int
    since_look: int
    recent: list[str]  # ids as texts, in checkpoints of version 1
    older: list[str]
    predictions: bytes = b""
    labels: dict[str, int] = {}
    newer_ids: bytes = b""  # see ``RecentIds``
    older_ids: bytes = b""


_states = msgspec.msgpack.Decoder(_State)


@dataclass(slots=True)
class Folded:
    """The result of folding in one batch: numbers of rows, profiles. ``identities``: ids of all rows in the batch."""

    identities: Identities
    accepted: int = 0
    late: int = 0
    duplicate: int = 0
    profiles: list[Profile] = field(default_factory=list)


class Unit:
    """One unit in one partition.

    ``dirty``: it has changed since its newest checkpoint. ``durable``: an acknowledged checkpoint holds its epoch, so
    its profiles may be published. ``unpublished``: it has changed since its newest profile. ``stamp``: next offset as
    of the newest checkpoint. ``skip_below``: it contains all records below this offset. ``labels``: next offset by
    label partition, of the labels that it contains; the units of a partition share this dictionary. ``label_stamp``:
    the sum of these offsets as of the newest checkpoint. ``_looked``: a look was taken since the last call of ``due``.
    """

    __slots__ = (
        "_kinds", "_looked", "_predictions", "_recent", "_reported", "_settings", "_timing", "bank", "dirty", "durable",
        "key", "label_stamp", "labels", "partition", "published_at_ms", "skip_below", "stamp", "unpublished", "waiting",
    )  # fmt: skip

    def __init__(
        self, key: UnitKey, partition: Partition, settings: UnitSettings, kinds: Mapping[str, Kind], bank: Bank
    ) -> None:
        self.key, self.partition, self._settings, self._kinds = key, partition, settings, kinds
        self.bank = bank
        self.dirty, self.durable, self.unpublished = True, False, False
        self.stamp = self.skip_below = self.label_stamp = 0
        self.published_at_ms, self._looked = 0, False
        self._timing = Timing(settings.late_ms, settings.look_ms, settings.look_events, partition.partition)
        self._recent = RecentIds(settings.recent_ids)
        self._reported: dict[str, int] = {}
        self._predictions = Predictions(settings.predictions)
        self.waiting = Waiting()
        self.labels: dict[str, int] = {}

    @classmethod
    def begun(
        cls,
        key: UnitKey,
        partition: Partition,
        settings: UnitSettings,
        reference: PreparedReference,
        kinds: Mapping[str, Kind],
        first_offset: int,
    ) -> "Unit":
        """A unit that was never seen before."""
        bank = Bank(key, *partition, settings.bank, reference, first_offset, kinds=kinds)
        return cls(key, partition, settings, kinds, bank)

    @classmethod
    def restored(
        cls,
        key: UnitKey,
        partition: Partition,
        settings: UnitSettings,
        reference: PreparedReference,
        kinds: Mapping[str, Kind],
        stamp: int,
        skip_below: int,
        blob: bytes,
    ) -> "Unit":
        """A unit from a checkpoint. Raises CheckpointError.

        When the reference or the settings are others than in the checkpoint, a new epoch begins where the old one ends.
        """
        where = f"{partition}: {key} at stamp {stamp}"
        try:
            state = _states.decode(blob)
            newer, older = of_snapshot(state.newer_ids, state.recent), of_snapshot(state.older_ids, state.older)
        except (msgspec.MsgspecError, ValueError) as error:
            raise CheckpointError(f"{where}: not a unit's snapshot: {error}") from error
        before = decode_state(state.bank, where)
        same = (before.reference, before.settings) == (reference.digest, settings.bank.digest)
        bank = Bank(
            key, *partition, settings.bank, reference, skip_below, kinds=kinds,
            previous=None if same else before, snapshot=state.bank if same else None,
        )  # fmt: skip
        unit = cls(key, partition, settings, kinds, bank)
        unit.dirty, unit.durable, unit.unpublished = not same, same, True
        unit.stamp, unit.skip_below = stamp, skip_below
        unit._timing.restore(state.newest_ms, state.look, state.since_look)
        unit._recent.restore(newer, older)
        unit._reported = dict(unit.bank.suppressed)
        unit.labels, unit.label_stamp = state.labels, sum(state.labels.values())
        if state.predictions:
            unit._predictions.restore(state.predictions, where)
        return unit

    def snapshot(self) -> bytes:
        """The whole state as bytes. No row may wait."""
        assert not self.waiting.rows
        timing = self._timing
        state = _State(
            self.bank.snapshot(), timing.newest_ms, timing.look, timing.since_look, [], [],
            self._predictions.snapshot(), self.labels, *self._recent.snapshot(),
        )  # fmt: skip
        return msgspec.msgpack.encode(state)

    def switch(self, reference: PreparedReference, first_offset: int) -> list[Profile]:
        """Begins a new epoch when the reference is another one. No row may wait.

        Returns the last profile of the old epoch when it was not published yet and may be.
        """
        assert not self.waiting.rows
        if self.bank.reference_digest == reference.digest:
            return []
        last = [self._profile()] if self.unpublished and self.durable else []
        self.bank = Bank(
            self.key, *self.partition, self._settings.bank, reference, first_offset, kinds=self._kinds,
            previous=self.bank,
        )  # fmt: skip
        self.dirty, self.durable, self.unpublished = True, False, True
        return last

    def due(self, now_ms: int, interval_ms: int) -> bool:
        """Whether there is something to publish, and the newest profile is at least ``interval_ms`` old.

        A profile that a look published counts too. A time of publication further in the future than that means that the
        clock was set back; then the unit is due.
        """
        more_ms = max(interval_ms - int(PATIENCE * self._settings.look_ms), 0)
        if self._looked:
            self._looked, self.published_at_ms = False, now_ms + more_ms
        return self.unpublished and self.durable and not -more_ms <= now_ms - self.published_at_ms < interval_ms

    def publish(self, now_ms: int) -> Profile:
        """The profile, which the caller must publish. No row may wait."""
        assert not self.waiting.rows
        self.unpublished, self.published_at_ms = False, now_ms
        return self._profile()

    def _profile(self) -> Profile:
        outcomes = self._predictions.outcomes(sum(self.labels.values()))
        return msgspec.structs.replace(self.bank.profile(), outcomes=outcomes)

    def share_labels(self, labels: dict[str, int]) -> None:
        """Sets ``labels``, which the unit's partition keeps up to date from now on."""
        self.labels = labels

    def stamp_at(self, position: int) -> None:
        """Notes that the unit is about to be written to a checkpoint, and contains all records below ``position``."""
        self.stamp, self.label_stamp = max(position, self.skip_below), sum(self.labels.values())
        self.dirty = False

    def make_durable(self, epoch: Epoch) -> None:
        """Notes that an acknowledged checkpoint holds ``epoch`` of this unit."""
        if self.bank.epoch == epoch:
            self.durable = True

    def join(self, label: Label) -> tuple[Match, int]:
        """Joins a label of this model: the result, and the label's delay in ms where it matched. No row may wait."""
        assert not self.waiting.rows
        match, delay_ms = self._predictions.join(label)
        if match not in (Match.UNMATCHED, Match.KNOWN):
            self.dirty = self.unpublished = True
        return match, delay_ms

    def new_suppressions(self) -> list[tuple[str, int]]:
        """Limits that were reached since the last call, and how often."""
        if self.bank.suppressed == self._reported:
            return []
        found = [(name, n - self._reported.get(name, 0)) for name, n in self.bank.suppressed.items()]
        self._reported = dict(self.bank.suppressed)
        return [(name, n) for name, n in found if n]

    def append(self, part: Part) -> bool:
        """Adds the next rows of the log to those that wait.

        Returns whether it is time to ``fold_in``: many rows wait, or a look may be due.
        """
        self.waiting.append(part)
        self.dirty = self.unpublished = True
        rows = self.waiting.rows
        return rows >= PENDING or self._timing.may_look(rows, max(self._timing.newest_ms or 0, self.waiting.newest_ms))

    def fold_in(self) -> list[Folded]:
        """Folds in all rows that wait."""
        return [self._fold(batch) for batch in self.waiting.drain(self.key)]

    def _fold(self, batch: UnitBatch) -> Folded:
        """Folds in one batch. Late rows and repeats are counted and left out."""
        times, before, count = batch.timestamps_ms, self._timing.newest_ms, len(batch.identities)
        last_offset = int(batch.next_offsets[-1])
        result = Folded(batch.identities)
        kept = self._timing.in_time(times)
        if kept is not None:
            batch = batch.selected(kept)
        fresh = self._recent.fresh(batch.identities) if self._settings.recent_ids else None
        if kept is None and fresh is None and not self._timing.may_look(count, self._timing.newest_ms or 0):
            self._count(batch, 0, count)
            self._timing.count(count)
            result.accepted = count
            return result
        looks, rows = self._timing.looks(times, before), np.arange(count)
        late = duplicate = np.zeros(count, np.int64)  # late rows before each row that is kept
        if kept is not None:
            result.late = count - len(kept)
            late, looks, duplicate = kept - rows[: len(kept)], looks[kept], duplicate[kept]
        if fresh is not None:
            result.duplicate = len(batch.identities) - len(fresh)
            batch, looks, late = batch.selected(fresh), looks[fresh], late[fresh]
            duplicate = fresh - rows[: len(fresh)]
        counted = (0, 0)
        result.accepted = len(batch.identities)
        if result.accepted:
            counted = self._look_through(batch, looks, late, duplicate, result)
        after = (result.late - counted[0], result.duplicate - counted[1])
        if any(after):
            self.bank.left_out(last_offset, late=after[0], duplicate=after[1])
            self.unpublished = True
        return result

    def _count(self, batch: UnitBatch, start: int, end: int) -> None:
        columns = _part(batch, start, end)
        self.bank.update(columns)
        self._predictions.remember(columns, batch.identities[start:end])

    def _look_through(
        self, batch: UnitBatch, looks: Integers, late: Integers, duplicate: Integers, result: Folded
    ) -> tuple[int, int]:
        """Counts the rows, and makes a profile at each look.

        A look is taken where event time reaches the next one and enough events came since the last one.

        Returns how many of the late and of the repeated rows are counted by then: those before the last profile.
        """
        columns, timing = batch.columns, self._timing
        counted = (0, 0)
        start = 0
        while start < len(columns):
            at = timing.next_look(looks, start)
            end = min(at + 1, len(columns))
            self._count(batch, start, end)
            if at < len(columns):
                timing.looked(int(looks[at]))
                if self.durable:
                    before = (int(late[at]), int(duplicate[at]))
                    self.bank.left_out(0, late=before[0] - counted[0], duplicate=before[1] - counted[1])
                    counted = before
                    result.profiles.append(self._profile())
                    self.unpublished, self._looked = end < len(columns), True
            else:
                timing.count(end - start)
            start = end
        return counted


def _part(batch: UnitBatch, start: int, end: int) -> Columns:
    columns = batch.columns if (start, end) == (0, len(batch.columns)) else sliced(batch.columns, start, end)
    environments: dict[str, int] = {}
    for row, text in batch.environments:
        if start <= row < end:
            environments[text] = environments.get(text, 0) + 1
    return replace(columns, environments=environments) if environments else columns
