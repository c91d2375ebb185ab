"""Work on single units, after which all others go on: an unexpected error puts its unit into quarantine. No I/O.

A unit in quarantine keeps its running totals. It folds in no rows, joins no labels and publishes nothing. Its rows
count as ``quarantined``. A person releases it; then it begins a new epoch at the present.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TypeVar

from detectors.bank.prepared import PreparedReference
from detectors.errors import CheckpointError
from detectors.features import Kind, UnitKey
from detectors.profiles import Profile
from stream.formats.shapes import Part
from stream.labels.book import LabelBook
from stream.labels.record import Label
from stream.observe.counts import UnitSettings
from stream.observe.effects import Effects, Fault, Interruption
from stream.observe.partition import Assigned
from stream.observe.prepared import PreparedReferences
from stream.observe.settings import ObserveSettings
from stream.observe.unit import Unit
from stream.topics import checkpoints, requests
from stream.topics.checkpoints import UnitRecord
from stream.topics.generations import LOST
from stream.topics.quarantine import Quarantine, reason_for
from stream.topics.record import Partition

T = TypeVar("T")

SHRINK_FROM = 8
"""Units of a partition from which those that gave their place back are reduced."""


class UnitWork:
    """Guards all work on the units of one worker. ``aside``: the effects of work outside ``Observer.steps``."""

    __slots__ = ("_book", "_references", "_requests", "_settings", "_unit_settings", "aside")

    def __init__(self, settings: ObserveSettings, references: PreparedReferences, book: LabelBook) -> None:
        self._settings, self._references, self._book = settings, references, book
        self._unit_settings = {
            model: UnitSettings(settings.bank, settings.late_ms, settings.look_ms, settings.look_events,
                                settings.recent_ids, rules)
            for model, rules in {"": settings.predictions, **settings.predictions_of}.items()
        }  # fmt: skip
        self._requests: dict[UnitKey, str] = {}
        self.aside = Effects()

    def drain_aside(self) -> Effects:
        """``aside`` since the last call."""
        found, self.aside = self.aside, Effects()
        return found

    def report(self, interruption: Interruption) -> None:
        """Adds to ``aside`` what happened to a partition's log or checkpoint."""
        self.aside.interruptions.append(interruption)

    def attempt(self, assigned: Assigned, unit: Unit, stage: str, work: Callable[[], T], otherwise: T) -> T:
        """The result of ``work`` on the unit; ``otherwise``, and quarantine, where it raises. ``stage``: its name."""
        try:
            return work()
        except Exception as error:  # one unit never ends the worker
            self.quarantine(assigned, unit, stage, error)
            return otherwise

    def fold_in(self, assigned: Assigned, unit: Unit, effects: Effects | None = None) -> None:
        """Folds in the rows that wait in a unit. ``effects`` None: ``aside``."""
        rows = unit.waiting.rows
        if not assigned.stop_waiting(unit):
            return
        effects = self.aside if effects is None else effects
        model, bank = unit.key.model, unit.bank
        before = bank.events, bank.late, bank.duplicate
        try:
            for folded in unit.fold_in():
                effects.labelled.extend(self._book.join_kept(unit, folded.identities))
        except Exception as error:  # one unit never ends the worker
            counted = bank.events - before[0] + bank.late - before[1] + bank.duplicate - before[2]
            self.quarantine(assigned, unit, "counting", error, ignored=rows - counted)
        effects.count(model, "accepted", bank.events - before[0])
        effects.count(model, "late", bank.late - before[1])
        effects.count(model, "duplicate", bank.duplicate - before[2])
        for name, times in unit.new_suppressions():
            effects.limit(name, times)

    def switch(self, assigned: Assigned, unit: Unit, *, force: bool = False) -> list[Profile]:
        """Begins a new epoch if the unit's reference is another one now, or in any case (``force``); returns the last
        profiles of the old one."""

        def switched() -> list[Profile]:
            return unit.switch(self._references.of(unit.key), max(assigned.position, unit.skip_below), force=force)

        self.fold_in(assigned, unit)
        none: list[Profile] = []
        last = self.attempt(assigned, unit, "reference", switched, none)
        if not unit.durable:
            assigned.begin_epoch(unit)
        return last

    def join(self, assigned: Assigned, labels: dict[str, list[Label]], effects: Effects) -> None:
        """Joins labels, given by model, to the units of a partition."""
        for unit in [unit for unit in assigned.units.values() if unit.key.model in labels]:
            if unit.key in assigned.quarantined:
                continue
            self.fold_in(assigned, unit)
            if unit.key not in assigned.quarantined:
                join = partial(self._book.join, [unit], labels)
                effects.labelled.extend(self.attempt(assigned, unit, "labels", join, []))

    def quarantine(self, assigned: Assigned, unit: Unit, stage: str, error: Exception, ignored: int = 0) -> None:
        """Puts a unit into quarantine after ``error``. ``ignored``: rows of it that were read and are not counted."""
        ignored += unit.waiting.rows if assigned.stop_waiting(unit) else 0
        again = unit.key in assigned.quarantined
        self._begin_anew(assigned, unit, tallies_only=again)
        if not again:
            reason = reason_for(stage, error)
            assigned.enter_quarantine(unit, Quarantine(reason, 0, self._requests.get(unit.key, "")))
            self.aside.faults.append(Fault(unit.key, unit.partition, reason, error))
        self.ignore(assigned, unit.key, ignored)

    def ignore(self, assigned: Assigned, key: UnitKey, rows: int) -> None:
        """Counts rows of a unit in quarantine."""
        assigned.ignore(key, rows)
        self.aside.count(key.model, "quarantined", rows)

    def _begin_anew(self, assigned: Assigned, unit: Unit, *, tallies_only: bool) -> None:
        """Begins a new epoch where the partition is now; under no reference if that one raises, too."""
        offset = max(assigned.position, unit.skip_below)
        for reference in (self._references.of, lambda _: PreparedReference(None)):
            try:
                unit.begin_anew(reference(unit.key), offset, tallies_only=tallies_only)
                return
            except Exception:  # the first error is the reason of the quarantine
                continue

    def release(self, assigned: Assigned, key: UnitKey) -> None:
        """Ends the quarantine of a unit, if it was requested after that had begun."""
        held, request = assigned.quarantined.get(key), self._requests.get(key, "")
        if held is None or request in ("", held.request):
            return
        unit = assigned.units[key]
        offset = max(assigned.position, unit.skip_below)
        try:
            unit.begin_anew(self._references.of(key), offset)
        except Exception as error:  # it stays in quarantine until the next request
            assigned.enter_quarantine(unit, Quarantine(reason_for("release", error), held.ignored, request))
            self.aside.faults.append(Fault(key, unit.partition, reason_for("release", error), error))
            return
        assigned.leave_quarantine(unit)
        self.aside.released.append((key, unit.partition))

    def shrink_left(self, assigned: Assigned, clock_ms: int, coming: Iterable[Part]) -> None:
        """Reduces the units that gave their place back to their running totals; see ``Places.exceeded``."""
        if len(assigned.units) < SHRINK_FROM:
            return
        for key in assigned.places.left(assigned.units, clock_ms, coming):
            unit = assigned.units[key]
            if unit.bank.epoch_events and key not in assigned.quarantined:
                self._begin_anew(assigned, unit, tallies_only=True)
                assigned.begin_epoch(unit)

    def note(self, assigned: Assigned, units: Collection[UnitKey], name: str) -> None:
        """Counts what happened to the log of these units."""
        for key in units:
            assigned.units[key].touch(name)

    def resume(self, assigned: Assigned, name: str) -> None:
        """Goes on with a partition that this worker had left. Its units take up the references and requests that came
        meanwhile. ``name``: what happened to its log."""
        for key, unit in list(assigned.units.items()):
            if key in assigned.quarantined:
                self.release(assigned, key)
            else:
                self.aside.profiles.extend(self.switch(assigned, unit))
        self.note(assigned, assigned.units, name)

    def note_request(self, key: UnitKey, request: str) -> None:
        """Notes the id of the newest request to release a unit."""
        requests.keep(self._requests, key, request)

    def begin(self, assigned: Assigned, partition: Partition, key: UnitKey, first_offset: int) -> None:
        """Begins a unit that was never seen before."""
        settings, kinds, rank = self._settings_of(key), self._kinds(key), len(assigned.units)
        try:
            reference = self._references.of(key)
            assigned.begin_unit(Unit.begun(key, partition, settings, reference, kinds, first_offset, rank))
        except Exception as error:  # one unit never ends the worker
            unit = Unit.begun(key, partition, settings, PreparedReference(None), kinds, first_offset, rank)
            assigned.begin_unit(unit)
            self.quarantine(assigned, unit, "beginning", error)
        if assigned.origin.loses(first_offset):
            self.note(assigned, [key], LOST)

    def restore(
        self,
        assigned: Assigned,
        partition: Partition,
        key: UnitKey,
        record: UnitRecord,
        skip_below: int,
        clock_ms: int | None,
        rank: int,
        *,
        anew: bool = False,
    ) -> None:
        """Adds a unit of a checkpoint; see ``Unit.restored``. ``anew``: it begins an epoch. Raises CheckpointError."""
        blob, held = checkpoints.unit_blob(record, f"{partition}: {key}"), record.quarantine

        def restored(reference: PreparedReference, *, totals_only: bool) -> Unit:
            return Unit.restored(
                key, partition, self._settings_of(key), reference, self._kinds(key), record.stamp, skip_below, blob,
                clock_ms, rank, totals_only,
            )  # fmt: skip

        fault: Exception | None = None
        try:
            unit = restored(self._references.of(key), totals_only=held is not None and not blob)
        except CheckpointError:
            raise
        except Exception as error:  # one unit never ends the worker
            fault, unit = error, restored(PreparedReference(None), totals_only=True)
        assigned.restore_unit(unit)
        if held is not None:
            assigned.enter_quarantine(unit, held)
            self.release(assigned, key)
        elif fault is not None:
            self.quarantine(assigned, unit, "restore", fault)
        elif anew and unit.durable:
            self.aside.profiles.extend(self.switch(assigned, unit, force=True))

    def _settings_of(self, unit: UnitKey) -> UnitSettings:
        return self._unit_settings.get(unit.model) or self._unit_settings[""]

    def _kinds(self, unit: UnitKey) -> Mapping[str, Kind]:
        return self._settings.kinds.get(unit.model, {})
