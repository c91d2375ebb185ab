"""A unit in one partition: its rows that wait, its checkpoints, and when its profiles are due. No I/O."""

from collections.abc import Mapping

from detectors.bank.bank import Bank
from detectors.bank.bank import decode_state as decode_bank
from detectors.bank.prepared import PreparedReference
from detectors.features import Kind, UnitKey
from detectors.profiles import Epoch, Profile
from stream.formats.shapes import Part
from stream.labels.predictions import Match
from stream.labels.record import Label
from stream.observe.counts import Counts, Folded, UnitSettings, decode_state
from stream.observe.cuts import Cuts
from stream.observe.waiting import PENDING, Waiting
from stream.topics.generations import INTERRUPTIONS
from stream.topics.record import Partition

PATIENCE = 0.75
"""After the end of a slot, publishing by wall time waits for two of its intervals minus this many looks.

So on a busy stream the next slot ends first, and no profile is published by wall time just before it.
"""


class Unit:
    """One unit in one partition.

    ``dirty``: it has changed since its newest checkpoint. ``durable``: an acknowledged checkpoint holds its epoch, so
    its profiles may be published. ``unpublished``: it has changed since its newest profile. ``stamp``: next offset as
    of the newest checkpoint. ``skip_below``: it contains all records below this offset. ``labels``: next offset by
    label partition, of the labels that it contains; the units of a partition share this dictionary. ``label_stamp``:
    the sum of these offsets as of the newest checkpoint. Profiles of slots that ended are kept until ``hand_out``.
    ``rank``: how many units the partition held before this one.
    """

    __slots__ = (
        "_counts", "_kinds", "_reported", "_settings", "dirty", "durable", "key", "label_stamp", "partition",
        "published_at_ms", "skip_below", "stamp", "unpublished", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        key: UnitKey,
        partition: Partition,
        settings: UnitSettings,
        kinds: Mapping[str, Kind],
        bank: Bank,
        rank: int,
    ) -> None:
        self.key, self.partition, self._settings, self._kinds = key, partition, settings, kinds
        self._counts = Counts(settings, bank, rank)
        self.dirty, self.durable, self.unpublished = True, False, False
        self.stamp = self.skip_below = self.label_stamp = self.published_at_ms = 0
        self._reported: dict[str, int] = {}
        self.waiting = Waiting()

    @classmethod
    def begun(
        cls,
        key: UnitKey,
        partition: Partition,
        settings: UnitSettings,
        reference: PreparedReference,
        kinds: Mapping[str, Kind],
        first_offset: int,
        rank: int = 0,
    ) -> "Unit":
        """A unit that was never seen before."""
        bank = Bank(key, *partition, settings.bank, reference, first_offset, kinds=kinds)
        return cls(key, partition, settings, kinds, bank, rank)

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
        clock_ms: int | None = None,
        rank: int = 0,
        totals_only: bool = False,
    ) -> "Unit":
        """A unit from a checkpoint. Raises CheckpointError.

        ``rank`` counts only where the checkpoint has none. ``clock_ms``: of the partition at ``skip_below``, if above.
        When the reference or the settings are others than in the checkpoint, a new epoch begins where the old one ends.
        ``totals_only``: it begins in any case, and continues nothing but running totals. ``blob`` may be empty then.
        """
        where = f"{partition}: {key} at stamp {stamp}"
        state = decode_state(blob, where) if blob or not totals_only else None
        before = None if state is None else decode_bank(state.bank, where)
        same = not totals_only and before is not None and before.is_under(reference.digest, settings.bank.digest)
        bank = Bank(
            key, *partition, settings.bank, reference, skip_below, kinds=kinds,
            previous=None if same else before, snapshot=state.bank if same and state is not None else None,
        )  # fmt: skip
        unit = cls(key, partition, settings, kinds, bank, rank)
        unit.dirty, unit.durable, unit.unpublished = not same, same, True
        unit.stamp, unit.skip_below = stamp, skip_below
        if state is not None and not totals_only:
            unit._counts.restore(state, where)
            unit.label_stamp = sum(state.labels.values())
        if skip_below > stamp:
            unit.cuts.stamp_at(clock_ms)
        unit._reported = dict(unit.bank.suppressed)
        return unit

    def snapshot(self) -> bytes:
        """The whole state as bytes. No row may wait."""
        assert not self.waiting.rows
        return self._counts.snapshot()

    @property
    def bank(self) -> Bank:
        """The unit's counts under the present epoch."""
        return self._counts.bank

    @property
    def cuts(self) -> Cuts:
        """The unit's slots."""
        return self._counts.cuts

    @property
    def labels(self) -> dict[str, int]:
        """Next offset by label partition, of the labels that are joined."""
        return self._counts.labels

    def switch(self, reference: PreparedReference, first_offset: int, *, force: bool = False) -> list[Profile]:
        """Begins a new epoch when the reference is another one (``force``: in any case). No row may wait. Returns the
        last profiles of the old epoch that were not published yet and may be. The open slot stays open."""
        assert not self.waiting.rows
        if self.bank.reference_digest == reference.digest and not force:
            return []
        last = self.cuts.hand_out() if self.durable else []
        if self.unpublished and self.durable:
            last.append(self._counts.profile())
        self._counts.begin_epoch(
            Bank(self.key, *self.partition, self._settings.bank, reference, first_offset, kinds=self._kinds,
                 previous=self.bank)
        )  # fmt: skip
        self.dirty, self.durable, self.unpublished = True, False, True
        return last

    def begin_anew(self, reference: PreparedReference, first_offset: int, *, tallies_only: bool = False) -> None:
        """Begins a new epoch that continues running totals and predictions (``tallies_only``: only their tallies).
        All else is dropped, rows that wait, too: an unexpected error may have left it in any state."""
        self.waiting = Waiting()
        self.dirty, self.durable, self.unpublished = True, False, False
        known, place = self._settings.bank, self.partition
        bank = Bank(self.key, *place, known, reference, first_offset, kinds=self._kinds, previous=self.bank)
        self._counts = self._counts.anew(bank, tallies_only=tallies_only)
        self._reported = dict(bank.suppressed)

    def touch(self, interruption: str | None = None) -> None:
        """Notes that the next checkpoint has to hold the unit, and what happened to its log."""
        self.dirty = True
        if interruption is not None:
            self.bank.suppress(interruption)

    def due(self, now_ms: int, interval_ms: int) -> bool:
        """Whether there is something to publish, and the newest profile is at least ``interval_ms`` old.

        The profile of a slot that ended counts too. A time of publication further in the future than that means that
        the clock was set back; then the unit is due.
        """
        more_ms = max(interval_ms - int(PATIENCE * self._settings.look_ms), 0)
        if self.cuts.handed_out():
            self.published_at_ms = now_ms + more_ms
        return self.unpublished and self.durable and not -more_ms <= now_ms - self.published_at_ms < interval_ms

    @property
    def has_news(self) -> bool:
        """Whether its profile holds what no published one does, and may come next: nothing is kept, no row waits, and
        there are events. A checkpoint written just after a unit had begun holds one without."""
        return self.unpublished and not self.keeps and not self.waiting.rows and self.bank.events > 0

    def publish(self, now_ms: int) -> Profile:
        """The profile, which the caller must publish. No row may wait."""
        assert not self.waiting.rows
        self.unpublished, self.published_at_ms = False, now_ms
        profile = self._counts.profile()
        self.cuts.shown(profile)
        return profile

    @property
    def in_slot(self) -> bool:
        """Whether a slot is open, or rows wait, which may open one."""
        return bool(self.waiting.rows) or self.cuts.slots.open is not None

    @property
    def open_and_changed(self) -> bool:
        """Whether the open slot holds rows that no profile holds. No row may wait."""
        return self.cuts.slots.open is not None and self._counts.changed

    @property
    def keeps(self) -> int:
        """How many profiles of slots that ended are kept."""
        return len(self.cuts.kept)

    def hand_out(self, clock_ms: int) -> list[Profile]:
        """Profiles of slots that ended by ``clock_ms``, to be published at once; none before the epoch is durable."""
        return self.cuts.hand_out(clock_ms) if self.durable and self.cuts.kept else []

    def thin_out(self) -> bool:
        """Removes every second of the profiles that are kept, also the last one; False when none was."""
        found = self.cuts.thin_out()
        self.unpublished = self.unpublished or not self.cuts.kept
        return found

    def passed(self, clock_ms: int) -> bool:
        """Whether a slot that holds rows, folded in or not, may end at or before ``clock_ms``."""
        waiting = self.waiting
        return self.in_slot and self.cuts.slots.may_end(waiting.first_clock_ms, clock_ms, waiting.rows)

    def cut_passed(self, clock_ms: int) -> None:
        """Cuts the open slot if it ends at or before ``clock_ms``, the partition's clock. No row may wait."""
        assert not self.waiting.rows
        if self.cuts.slots.passed(clock_ms):
            self._counts.cut()
            self.dirty, self.unpublished = True, False

    def share_labels(self, labels: dict[str, int]) -> None:
        """Sets ``labels``, which the unit's partition keeps up to date from now on."""
        self._counts.share_labels(labels)

    def stamp_at(self, position: int, clock_ms: int | None) -> None:
        """Notes that the unit is about to be written to a checkpoint. It contains all records below ``position``, at
        which the partition's clock is ``clock_ms``."""
        if position >= self.skip_below:
            self.cuts.stamp_at(clock_ms)
        self.stamp, self.label_stamp = max(position, self.skip_below), sum(self.labels.values())
        self.dirty = False

    def make_durable(self, epoch: Epoch) -> bool:
        """Notes that an acknowledged checkpoint holds ``epoch`` of this unit; returns whether it is the present one."""
        if self.bank.epoch == epoch:
            self.durable = True
        return self.durable

    def join(self, label: Label) -> tuple[Match, int]:
        """Joins a label of this model: the result, and the label's delay in ms where it matched. No row may wait."""
        assert not self.waiting.rows
        match, delay_ms = self._counts.predictions.join(label)
        if match not in (Match.UNMATCHED, Match.KNOWN):
            self.dirty = self.unpublished = True
        return match, delay_ms

    def new_suppressions(self) -> list[tuple[str, int]]:
        """Limits that were reached since the last call, and how often."""
        if self.bank.suppressed == self._reported:
            return []
        found = [(name, n - self._reported.get(name, 0)) for name, n in self.bank.suppressed.items()]
        self._reported = dict(self.bank.suppressed)
        return [(name, n) for name, n in found if n and name not in INTERRUPTIONS]

    def append(self, part: Part) -> bool:
        """Adds the next rows of the log to those that wait.

        Returns whether it is time to ``fold_in``: many rows wait, or their slot has ended.
        """
        waiting = self.waiting
        waiting.append(part)
        self.dirty = self.unpublished = True
        rows = waiting.rows
        return rows >= PENDING or self.cuts.slots.may_end(waiting.first_clock_ms, waiting.clock_ms, rows)

    def fold_in(self) -> list[Folded]:
        """Folds in all rows that wait."""
        found = [self._counts.fold_in(batch) for batch in self.waiting.drain(self.key)]
        self.unpublished = self._counts.changed
        return found
