"""Work on the judges of single units, after which all others go on: an unexpected error puts its unit into quarantine.

A unit in quarantine after an error of the judge keeps its newest profiles, incidents and requests. Nothing is judged. A
person releases it; then it is judged again from its newest profiles on.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

from msgspec import structs

from detectors.errors import CheckpointError
from detectors.features import UnitKey
from detectors.merging import Step
from detectors.profiles import Profile
from stream.judge.effects import Effect
from stream.judge.quarantine import JUDGE, Fault
from stream.judge.unit import UnitJudge
from stream.judge.waiting import Waiting
from stream.topics import requests
from stream.topics.marks import Mark
from stream.topics.quarantine import Quarantine, reason_for

ATTEMPTS = 2
"""To write a row: as it is, and in quarantine. Then only the state is kept."""


class Guard:
    """``units``: the judge of each unit of one worker.

    :param make: makes the judge of a unit, given the offset of its first profile.
    :param waiting: the profiles that wait.
    :param newest: the digest of the newest reference of a unit.
    """

    __slots__ = ("_faults", "_make", "_newest", "_requests", "_waiting", "units")

    def __init__(
        self, make: Callable[[UnitKey, int], UnitJudge], waiting: Waiting, newest: Callable[[UnitKey], str | None]
    ) -> None:
        self._make, self._waiting, self._newest = make, waiting, newest
        self.units: dict[UnitKey, UnitJudge] = {}
        self._requests: dict[UnitKey, str] = {}  # ids of the newest requests to release units
        self._faults: list[Fault] = []

    def attempt(self, judge: UnitJudge, stage: str, work: Callable[[], list[Effect]]) -> list[Effect]:
        """The effects of ``work`` on a unit; none, and quarantine, where it raises. ``stage``: its name."""
        try:
            return work()
        except Exception as error:  # one unit never ends the worker
            self._quarantine(judge, stage, error)
            return []

    def fail(self, unit: UnitKey, stage: str, error: Exception) -> None:
        """Puts a unit into quarantine after an error of the caller's."""
        if unit in self.units:
            self._quarantine(self.units[unit], stage, error)

    def drain_faults(self) -> list[Fault]:
        """The units that went into quarantine here since the last call."""
        found, self._faults = self._faults, []
        return found

    def adopt(self, unit: UnitKey) -> None:
        """Begins to judge a unit that is known only by its quarantine. It has no share in the budget yet."""
        if unit not in self.units:
            self.units[unit] = self._make(unit, 0)

    def note_mark(self, mark: Mark) -> None:
        """Notes which units are in quarantine in the partition of a mark, where it reports that."""
        if mark.quarantined is None:
            return
        found = {one.unit: Quarantine(one.reason, one.ignored, "", one.limit) for one in mark.quarantined}
        for unit, judge in self.units.items():
            judge.standing.quarantines.report(str(mark.place), found.get(unit))

    def release(self, unit: UnitKey, request: str) -> list[Effect]:
        """Judges a unit again that is in quarantine after an error of the judge, as a person requested. ``request``:
        its id; the same one ends no quarantine that begins later."""
        requests.keep(self._requests, unit, request)
        judge = self.units.get(unit)
        return [] if judge is None else self._released(judge)

    def _released(self, judge: UnitJudge) -> list[Effect]:
        """The newest profiles of a released unit are no evidence: it is judged from them on."""
        if not judge.standing.quarantines.release(self._requests.get(judge.unit, "")):
            return []

        def judged() -> list[Effect]:
            judge.shards.restore(judge.shards.snapshot(judge.current.digest), with_evidence=False)
            return judge.on_reference()

        return self.attempt(judge, "release", judged)

    def collect(self, judge: UnitJudge, profiles: Sequence[Profile], now_ms: int | None) -> list[Effect]:
        """Keeps the newest profiles of a unit that is not judged, but for those that cannot even be kept. ``now_ms``:
        wall time of their arrival; None: it was noted before."""
        shards, newest = judge.shards, self._newest(judge.unit)
        with suppress(Exception):
            for profile in profiles:
                before, step = shards.held(profile, judge.current.wanted(profile.epoch.reference, newest))
                if step is Step.IGNORED:
                    continue
                judge.standing.sight.note_profile(before, profile, shards.brings_events(profile), now_ms)
                shards.fold_in(profile, step, None)
                shards.advance_clock(profile)
            judge.refresh()
        return []

    def snapshot(self, unit: UnitKey) -> bytes:
        """Everything that is kept of a unit. One that cannot be written goes into quarantine; if that cannot be
        written, either, only its state is kept."""
        for _ in range(ATTEMPTS):
            try:
                return self.units[unit].snapshot()
            except Exception as error:  # one unit never ends the worker
                self._quarantine(self.units[unit], "row", error)
        return self.units[unit].snapshot()

    def restore(self, unit: UnitKey, blob: bytes) -> UnitJudge:
        """Restores ``snapshot``. Raises CheckpointError when ``blob`` is not one of this unit."""
        judge = self._make(unit, 0)
        try:
            judge.restore(blob)
        except CheckpointError:
            raise
        except Exception as error:  # one unit never ends the worker
            return self._quarantine(self._make(unit, 0), "restore", error)
        self.units[unit] = judge
        if judge.standing.quarantines.own:
            self._released(judge)
        else:
            self.attempt(judge, "reference", judge.on_reference)
        return self.units[unit]

    def _quarantine(self, judge: UnitJudge, stage: str, error: Exception) -> UnitJudge:
        """Replaces the unit's judge by one that judges nothing until a person releases it. If the unit is in quarantine
        already, nothing is kept but its state."""
        unit, quarantines = judge.unit, judge.standing.quarantines
        fresh = self._make(unit, judge.shards.first_offset)
        fresh.standing.continue_from(judge.standing)
        if not quarantines.own:
            reason = reason_for(stage, error)
            quarantines.report(JUDGE, Quarantine(reason, 0, self._requests.get(unit, "")))
            self._continue(judge, fresh)
            self._faults.append(Fault(unit, reason, error))
        self.units[unit] = fresh
        self.collect(fresh, self._waiting.give_up(unit), None)
        return fresh

    def _continue(self, before: UnitJudge, fresh: UnitJudge) -> None:
        """Continues what can be kept of ``before``, which the error may have left in any state. Nothing is evidence."""
        with suppress(Exception):
            fresh.log.restore(before.log.snapshot())
        with suppress(Exception):
            fresh.retraining.restore(before.retraining.snapshot())
        with suppress(Exception):
            fresh.outcomes.restore(before.outcomes.snapshot())
        with suppress(Exception):
            fresh.shards.restore(before.shards.snapshot(before.current.digest), with_evidence=False)
            fresh.current.restore(structs.replace(before.current.snapshot(), watch=None))
            fresh.refresh()
