"""The judge of one worker: profiles of shards in; states, incidents and retrain requests out. No I/O, clock or Kafka.

It keeps the newest profile of every shard, works on differences, and returns what is to be published as effects. The
same profiles in the same order give the same effects with the same ids. Wall time decides only whether a unit is blind.

A profile that ends with a slot of event time waits until all partitions of the events have been read to that end.
Profiles and marks may then come in any order that keeps those of each partition in order: the looks stay the same.

    judge = Judge(judge_settings(settings), references)
    effects = judge.on_profile(profile, now_ms)
    effects = judge.on_tick(now_ms, Health(...))
    view = judge.model_view(unit)
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from detectors.evidence.sheets import Sheets
from detectors.evidence.sizes import Yardstick
from detectors.evidence.watch import Watch, shown
from detectors.features import ModelKey, UnitKey
from detectors.merging import Step
from detectors.profiles import Profile
from detectors.reference.reference import Reference
from stream.judge import view
from stream.judge.budget import Sharing
from stream.judge.effects import Effect, Health, ReferenceBuilt
from stream.judge.settings import JudgeSettings, SlotRules
from stream.judge.unit import UnitJudge
from stream.judge.waiting import Waiting
from stream.topics.marks import Mark
from stream.topics.requests import ForgetRequest, IncidentRequest

SHEETS_KEPT = 256
"""References whose bets are kept ready; a reference of 20 features takes 400 KB."""

NO_SLOTS = SlotRules((), 0, 0)


class Judge:
    """All units of one worker. Cost: a few hundred us a profile of 20 features that brings events."""

    def __init__(self, settings: JudgeSettings, references: Iterable[Reference] = ()) -> None:
        self._settings = settings
        self._units: dict[UnitKey, UnitJudge] = {}
        self._references: dict[str, Reference] = {}
        self._newest: dict[tuple[ModelKey, str | None], str] = {}
        self._sheets: dict[str, tuple[Sheets, list[Yardstick]]] = {}
        self._sharing = Sharing()
        self._shares: dict[UnitKey, int] = {}  # under which number a unit shares its model's budget
        self._looks = 0
        self._waiting = Waiting(settings.slots or NO_SLOTS)
        for reference in references:
            self.on_reference(reference)

    @property
    def units(self) -> set[UnitKey]:
        """All units that this worker judges."""
        return set(self._units)

    def holds(self, unit: UnitKey) -> bool:
        """Whether this worker judges the unit."""
        return unit in self._units

    def on_reference(self, reference: Reference) -> list[Effect]:
        """Keeps a reference that was read, as the newest of its model; profiles that waited for it are judged."""
        digest = reference.digest
        place = reference.model_key, reference.segment
        before = self._newest.get(place)
        self._newest[place] = digest
        self._references[digest] = reference
        if before is not None and before != digest and all(u.current.digest != before for u in self._units.values()):
            self._references.pop(before, None)
            self._sheets.pop(before, None)
        effects: list[Effect] = []
        for judge in self._units.values():
            if judge.current.digest == digest:
                effects += judge.on_reference()
        return effects

    def on_profile(self, profile: Profile, now_ms: int, offset: int = 0, partition: int = 0) -> list[Effect]:
        """Judges one shard's newest counts; those of a slot when all partitions of the events were read to its end.

        ``now_ms``: wall time, for the blind state only. ``offset`` and ``partition``: position in the profiles topic.
        The offset of a profile without a slot decides which units share the budget, so that a restart repeats the same
        shares. ``drain_judged`` returns the offsets of profiles with slots once they are judged.
        """
        if profile.slot_end_ms is None or self._settings.slots is None:
            return self.on_profiles([profile], now_ms, offset)
        unit = profile.unit
        judge = self._unit(unit, offset)
        wanted = judge.current.wanted(profile.epoch.reference, self._newest_digest(unit))
        before, step = judge.shards.held(profile, wanted)
        if step is not Step.IGNORED:
            judge.standing.sight.note_profile(before, profile, judge.shards.brings_events(profile), now_ms)
        self._waiting.hold(unit, judge.shards.slots, profile, offset, partition)
        if not judge.standing.away:
            self._share(unit, self._share_of(judge))
        return self._look_at_due([unit])

    def on_mark(self, mark: Mark, partition: int = 0, most: int | None = None) -> list[Effect]:
        """Notes that a partition of the events was read up to the mark, which lay in ``partition`` of the profiles
        topic.

        Looks at every unit of that partition that has something due, in the order of slots; at most at ``most`` of
        them, then ``look_on`` continues. Cost: some 2 us a waiting unit, and what the looks cost.
        """
        return self._look_at_due(self._waiting.mark(mark, partition), most)

    def look_on(self, partition: int, most: int) -> list[Effect] | None:
        """Makes at most ``most`` looks that are due in ``partition`` of the profiles topic; None where none is."""
        before = self._looks
        effects = self._look_at_due(self._waiting.units_of(partition), most)
        return effects if self._looks > before else None

    def drain_judged(self) -> dict[UnitKey, list[int]]:
        """By unit, the offsets of profiles with slots that were judged since the last call: they need not be read
        again once the unit's state is stored."""
        return self._waiting.drain_judged()

    def drain_joined(self) -> int:
        """How many profiles were left out since the last call, since too many of their unit waited."""
        return self._waiting.drain_joined()

    def read_again(self) -> None:
        """The profiles topic is read again from earlier offsets. Units with profiles that wait are to be restored."""
        self._waiting.read_again()

    def on_profiles(self, profiles: Sequence[Profile], now_ms: int, offset: int = 0) -> list[Effect]:
        """Judges several profiles as ``on_profile`` does one, with one look a unit for all of them."""
        by_unit: dict[UnitKey, list[Profile]] = {}
        for profile in profiles:
            by_unit.setdefault(profile.unit, []).append(profile)
        effects: list[Effect] = []
        for unit, own in by_unit.items():
            judge = self._unit(unit, offset)
            if judge.wakes(own):
                self._wake(judge)
            newest, sharers = self._newest_digest(unit), self._sharing.sharers(unit.model, offset)
            effects += self._with_built(judge.on_profiles(own, newest, now_ms, sharers))
        return effects

    def on_tick(self, now_ms: int, health: Health | None = None) -> list[Effect]:
        """Judges what time alone changes: which units are silent or cannot be read at ``now_ms`` of wall time."""
        health = health or Health()
        usual_ms = (self._settings.slots or NO_SLOTS).disorder_ms
        for unit, judge in self._units.items():
            judge.standing.sight.follow_frontier(self._waiting.held_back(unit), usual_ms, now_ms)
        judged = [judge for judge in self._units.values() if not judge.shards.collecting]
        return [effect for judge in judged for effect in judge.on_tick(now_ms, health)]

    def waiting(self) -> list[UnitKey]:
        """The units that wait for a partition longer than usual, as of the last tick."""
        return [unit for unit in self._waiting.units if self._units[unit].standing.sight.waiting is not None]

    def model_view(self, unit: UnitKey) -> dict[str, Any]:
        """The model's detail as the HTTP interface shows it. Raises KeyError for a unit that is not known."""
        return view.model_view(self._units[unit])

    def evidence_log10(self, unit: UnitKey) -> float | None:
        """log10 of the model's evidence as of the last look; None while it learns."""
        judge = self._units[unit]
        return None if judge.look.watch is None else shown(judge.outcomes.model_log10(judge.look.watch))

    def incidents(self, unit: UnitKey | None = None) -> list[dict[str, Any]]:
        """The incidents of one unit or of all that are kept, oldest first."""
        units = self._units.values() if unit is None else [self._units[unit]]
        found = [incident for judge in units for incident in judge.log.incidents]
        return [i.as_json() for i in sorted(found, key=lambda i: (i.opened_at_ms, i.id))]

    def state(self, unit: UnitKey) -> str:
        """One of learning, stable, quiet, warning, drift, blind, forgotten."""
        return self._units[unit].standing.state

    def snapshot(self, unit: UnitKey) -> bytes:
        """Everything that is kept of a unit."""
        return self._units[unit].snapshot()

    def restore(self, unit: UnitKey, blob: bytes) -> None:
        """Restores ``snapshot``. Raises CheckpointError when ``blob`` is not one of this unit."""
        judge = UnitJudge(unit, self._settings, self._bound, self._references)
        judge.restore(blob)
        self.forget(unit)
        self._units[unit] = judge
        if not judge.standing.away:
            self._share(unit, self._share_of(judge))
        judge.on_reference()

    def forget(self, unit: UnitKey) -> None:
        """Drops a unit that another worker judges from now on."""
        self._units.pop(unit, None)
        self._waiting.forget(unit)
        self._share(unit, None)

    def act(self, action: IncidentRequest) -> list[Effect]:
        """Applies what a person asked for about an incident; does nothing if the incident is not known or the request
        was applied before."""
        for judge in self._units.values():
            if judge.log.find(action.incident) is not None:
                return self._with_built(judge.act(action))
        return []

    def forget_model(self, forgetting: ForgetRequest) -> list[Effect]:
        """Stops watching a unit, as a person asked; does nothing if it is not known or the request was applied
        before."""
        judge = self._units.get(forgetting.unit)
        if judge is None:
            return []
        effects = judge.forget(forgetting)
        if judge.standing.away:
            self._share(judge.unit, None)
        return effects

    def is_away(self, unit: UnitKey) -> bool:
        """Whether the unit is forgotten and has sent nothing since."""
        return self._units[unit].standing.away

    def _with_built(self, effects: list[Effect]) -> list[Effect]:
        """``effects``, and the effects of applying the references among them. A reference that the judge built counts
        as read at once: profiles under it may come before its record is read back."""
        for effect in list(effects):
            if isinstance(effect, ReferenceBuilt):
                effects += self.on_reference(effect.reference)
        return effects

    def _unit(self, unit: UnitKey, offset: int) -> UnitJudge:
        """The unit's judge, a new one where there is none. An offset below that of its first profile means that the
        topic was created again."""
        judge = self._units.get(unit)
        if judge is None:
            judge = self._units[unit] = UnitJudge(unit, self._settings, self._bound, self._references, offset)
            self._share(unit, offset)
        elif offset < judge.shards.first_offset:
            judge.shards.begin_again(offset)
            if not judge.standing.away:
                self._share(unit, self._share_of(judge))
        return judge

    def _share_of(self, judge: UnitJudge) -> int:
        """The number that decides since when the unit shares the budget: its first slot end, or the offset of its first
        profile where that had no slot. Offsets are far below all times."""
        first_ms = judge.shards.slots.first_ms
        return judge.shards.first_offset if first_ms is None else first_ms

    def _share(self, unit: UnitKey, number: int | None) -> None:
        """Counts the unit among the sharers under that number only; not at all where it is None."""
        before = self._shares.pop(unit, None)
        if before is not None:
            self._sharing.exclude(unit.model, before)
        if number is not None:
            self._sharing.include(unit.model, number)
            self._shares[unit] = number

    def _wake(self, judge: UnitJudge) -> None:
        judge.standing.wake()
        self._share(judge.unit, self._share_of(judge))

    def _look_at_due(self, units: Iterable[UnitKey], most: int | None = None) -> list[Effect]:
        effects: list[Effect] = []
        for unit, due in islice(self._waiting.due(units), most):
            self._looks += 1
            judge = self._units[unit]
            if judge.wakes(due.profiles):
                self._wake(judge)
            sharers = self._sharing.sharers(unit.model, due.end_ms)
            effects += self._with_built(judge.on_slot(due, self._newest_digest(unit), sharers))
        return effects

    def _newest_digest(self, unit: UnitKey) -> str | None:
        return self._newest.get((unit.model_key, unit.segment)) or self._newest.get((unit.model_key, None))

    def _bound(self, unit: UnitKey, digest: str) -> tuple[Reference, Watch] | None:
        if digest not in self._references:
            return None
        if digest not in self._sheets:
            while len(self._sheets) >= SHEETS_KEPT:
                del self._sheets[next(iter(self._sheets))]
            reference = self._references[digest]
            sheets = Sheets(reference.features, self._settings.evidence_of(unit.model), self._settings.strata_kept)
            self._sheets[digest] = sheets, [Yardstick(sheets.layout, f) for f in range(len(reference.features))]
        sheets, yardsticks = self._sheets[digest]
        return self._references[digest], Watch(sheets, yardsticks, self._settings.resolve_after_events)
