"""A unit in one partition: its bank, what it knows of time and repeats, and when it is looked at. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np

from detectors.bank.bank import Bank, BankSettings, decode_state
from detectors.bank.prepared import PreparedReference
from detectors.column_batches import sliced
from detectors.columns import Columns, Integers
from detectors.errors import CheckpointError
from detectors.features import Kind, UnitKey
from detectors.profiles import Profile
from stream.formats.columns import UnitBatch
from stream.formats.ids import Identities, RecentIds, of_snapshot
from stream.formats.shapes import Part
from stream.labels.predictions import Match, PredictionRules, Predictions
from stream.labels.record import Label
from stream.observe.waiting import PENDING, Waiting
from stream.topics.record import Partition

GOLDEN = 618
"""Thousandths of a look by which each partition is before the one before, in time and in events: the looks of a model's
shards come one after the other, and something of it is judged several times within each."""

PATIENCE = 0.75
"""After a look the clock waits for two of its intervals less so many looks: where each brings a look, it is the
look's to come, and not a profile by the clock just before it."""


class UnitSettings(msgspec.Struct, frozen=True):
    """See ``ObserveSettings``."""

    bank: BankSettings
    late_ms: int
    look_ms: int
    look_events: int
    recent_ids: int
    predictions: PredictionRules = PredictionRules()


class _State(msgspec.Struct, frozen=True):
    bank: bytes
    newest_ms: int | None
    look: int
    since_look: int
    recent: list[str]  # ids of before they were numbers
    older: list[str]
    predictions: bytes = b""
    labels: dict[str, int] = {}
    newer_ids: bytes = b""  # see ``RecentIds``
    older_ids: bytes = b""


_states = msgspec.msgpack.Decoder(_State)


@dataclass(slots=True)
class Folded:
    """What came of one batch, by number of rows. ``identities`` of all that were in it."""

    identities: Identities
    accepted: int = 0
    late: int = 0
    duplicate: int = 0
    profiles: list[Profile] = field(default_factory=list)


class Unit:
    """One unit. ``durable``: its epoch is in an acknowledged checkpoint, so it may be published.

    ``labels``: next offset by label partition, of the labels that it contains; the units of a partition share it.
    ``label_stamp``: their sum as of the newest checkpoint. ``_looked``: a look was taken since it was last asked
    whether it is ``due``.
    """

    __slots__ = (
        "_kinds", "_look", "_looked", "_newest_ms", "_phase_ms", "_predictions", "_recent",
        "_reported", "_settings", "_since_look", "bank", "dirty", "durable", "key", "label_stamp", "labels",
        "partition", "published_at_ms", "skip_below", "stamp", "unpublished", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        key: UnitKey,
        partition: Partition,
        settings: UnitSettings,
        kinds: Mapping[str, Kind],
        bank: Bank,
    ) -> None:
        self.key, self.partition, self._settings, self._kinds = key, partition, settings, kinds
        self.bank = bank
        self.dirty, self.durable, self.unpublished = True, False, False
        self.stamp = self.skip_below = self.label_stamp = 0
        self.published_at_ms = 0
        self._newest_ms: int | None = None
        phase = partition.partition * GOLDEN % 1_000
        self._phase_ms = settings.look_ms * phase // 1_000
        self._look, self._since_look, self._looked = -1, settings.look_events * phase // 1_000, False
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
        """One that was never seen before."""
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
        """From a checkpoint. Under another reference or other settings than then, a new epoch begins where it ended."""
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
        unit._newest_ms, unit._look, unit._since_look = state.newest_ms, state.look, state.since_look
        unit._recent.restore(newer, older)
        unit._reported = dict(unit.bank.suppressed)
        unit.labels, unit.label_stamp = state.labels, sum(state.labels.values())
        if state.predictions:
            unit._predictions.restore(state.predictions, where)
        return unit

    def snapshot(self) -> bytes:
        """The whole state. Nothing may wait."""
        assert not self.waiting.rows
        return msgspec.msgpack.encode(
            _State(
                self.bank.snapshot(),
                self._newest_ms,
                self._look,
                self._since_look,
                [],
                [],
                self._predictions.snapshot(),
                self.labels,
                *self._recent.snapshot(),
            )
        )

    def switch(self, reference: PreparedReference, first_offset: int) -> list[Profile]:
        """Begins a new epoch when the reference is another one; the last profile of the old epoch if it is wanted.
        Nothing may wait."""
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
        """Whether there is something unpublished, and the last publication, be it a look's, is so long ago. One that
        lies further in the future was before the clock was set back."""
        more_ms = max(interval_ms - int(PATIENCE * self._settings.look_ms), 0)
        if self._looked:
            self._looked, self.published_at_ms = False, now_ms + more_ms
        return self.unpublished and self.durable and not -more_ms <= now_ms - self.published_at_ms < interval_ms

    def publish(self, now_ms: int) -> Profile:
        """The profile, which the caller publishes. Nothing may wait."""
        assert not self.waiting.rows
        self.unpublished, self.published_at_ms = False, now_ms
        return self._profile()

    def _profile(self) -> Profile:
        outcomes = self._predictions.outcomes(sum(self.labels.values()))
        return msgspec.structs.replace(self.bank.profile(), outcomes=outcomes)

    def label(self, label: Label) -> tuple[Match, int]:
        """Joins a label of this model; what it was here, and its delay in ms where it matched. Nothing may wait."""
        assert not self.waiting.rows
        match, delay_ms = self._predictions.label(label)
        if match not in (Match.UNMATCHED, Match.KNOWN):
            self.dirty = self.unpublished = True
        return match, delay_ms

    def new_suppressions(self) -> list[tuple[str, int]]:
        """What limits bit since the last call."""
        if self.bank.suppressed == self._reported:
            return []
        found = [(name, n - self._reported.get(name, 0)) for name, n in self.bank.suppressed.items()]
        self._reported = dict(self.bank.suppressed)
        return [(name, n) for name, n in found if n]

    def wait(self, part: Part) -> bool:
        """Takes up what was read next; whether it is time to ``settle``: enough waits, or a look may be due."""
        self.waiting.add(part)
        self.dirty = self.unpublished = True
        rows = self.waiting.rows
        return rows >= PENDING or self._look_due(rows, max(self._newest_ms or 0, self.waiting.newest_ms))

    def settle(self) -> list[Folded]:
        """Folds in what waits."""
        return [self._fold(batch) for batch in self.waiting.take(self.key)]

    def _fold(self, batch: UnitBatch) -> Folded:
        """Late rows and repeats are counted and left out."""
        times, before, count = batch.timestamps_ms, self._newest_ms, len(batch.identities)
        last_offset = int(batch.next_offsets[-1])
        result = Folded(batch.identities)
        kept = self._in_time(times)
        if kept is not None:
            batch = batch.taken(kept)
        fresh = self._recent.fresh(batch.identities) if self._settings.recent_ids else None
        if kept is None and fresh is None and not self._look_due(count, self._newest_ms or 0):
            self._count(batch, 0, count)
            self._since_look += count
            result.accepted = count
            return result
        looks, rows = self._looks(times, before), np.arange(count)
        late = duplicate = np.zeros(count, np.int64)  # how many late ones came before each row that is kept
        if kept is not None:
            result.late = count - len(kept)
            late, looks, duplicate = kept - rows[: len(kept)], looks[kept], duplicate[kept]
        if fresh is not None:
            result.duplicate = len(batch.identities) - len(fresh)
            batch, looks, late = batch.taken(fresh), looks[fresh], late[fresh]
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

    def _look_due(self, rows: int, newest_ms: int) -> bool:
        """Whether one may be due within so many more rows, of which this is the highest time."""
        settings, reached = self._settings, newest_ms + self._phase_ms
        return self._since_look + rows >= settings.look_events and reached // settings.look_ms > self._look

    def _looks(self, times: Integers, before: int | None) -> Integers:
        """The look of the newest time at each row, whatever is left out; ``before``: the newest until then."""
        looks = np.maximum.accumulate(times)
        if before is not None:
            looks = np.maximum(looks, before)
        return (looks + self._phase_ms) // self._settings.look_ms

    def _in_time(self, times: Integers) -> Integers | None:
        """Rows that are not late, None when all are in time. Advances the newest time."""
        newest = int(times[0]) if self._newest_ms is None else self._newest_ms
        highest = max(newest, int(times.max()))
        self._newest_ms = highest
        if int(times.min()) >= highest - self._settings.late_ms:
            return None
        before = np.maximum.accumulate(np.concatenate(([newest], times)))[:-1]
        return np.flatnonzero(times >= before - self._settings.late_ms)

    def _count(self, batch: UnitBatch, start: int, end: int) -> None:
        columns = _part(batch, start, end)
        self.bank.update(columns)
        self._predictions.add(columns, batch.identities[start:end])

    def _look_through(
        self, batch: UnitBatch, looks: Integers, late: Integers, duplicate: Integers, result: Folded
    ) -> tuple[int, int]:
        """Counts, stopping for a profile where event time crosses a look and enough events came since.

        How many of the late and of the repeated rows are counted already: those before the last profile.
        """
        columns, settings = batch.columns, self._settings
        counted = (0, 0)
        start = 0
        while start < len(columns):
            wait = max(settings.look_events - self._since_look - 1, 0)
            at = max(start + wait, int(np.searchsorted(looks, self._look, side="right")))
            end = min(at + 1, len(columns))
            self._count(batch, start, end)
            if at < len(columns):
                self._look, self._since_look = int(looks[at]), 0
                if self.durable:
                    before = (int(late[at]), int(duplicate[at]))
                    self.bank.left_out(0, late=before[0] - counted[0], duplicate=before[1] - counted[1])
                    counted = before
                    result.profiles.append(self._profile())
                    self.unpublished, self._looked = end < len(columns), True
            else:
                self._since_look += end - start
            start = end
        return counted


def _part(batch: UnitBatch, start: int, end: int) -> Columns:
    columns = batch.columns if (start, end) == (0, len(batch.columns)) else sliced(batch.columns, start, end)
    environments: dict[str, int] = {}
    for row, text in batch.environments:
        if start <= row < end:
            environments[text] = environments.get(text, 0) + 1
    columns.environments = environments
    return columns
