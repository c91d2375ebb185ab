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
from functools import partial
from itertools import islice
from typing import Any

from detectors.evidence.watch import shown
from detectors.features import UnitKey
from detectors.merging import Step
from detectors.profiles import Profile
from detectors.reference.reference import Reference
from stream.judge import view
from stream.judge.budget import Sharing
from stream.judge.effects import Effect, Health, ReferenceBuilt
from stream.judge.guard import Guard
from stream.judge.known_references import KnownReferences
from stream.judge.settings import JudgeSettings, SlotRules
from stream.judge.unit import UnitJudge
from stream.judge.waiting import Waiting
from stream.topics.marks import Mark
from stream.topics.requests import ForgetRequest, IncidentRequest

NO_SLOTS = SlotRules((), 0, 0)


class Judge:
    """All units of one worker. ``guard``: keeps them, and puts one into quarantine after an unexpected error.

    Cost: a few hundred us a profile of 20 features that brings events.
    """

    def __init__(self, settings: JudgeSettings, references: Iterable[Reference] = ()) -> None:
        self._settings = settings
        self._known = KnownReferences(settings)
        self._sharing = Sharing()
        self._shares: dict[UnitKey, int] = {}  # under which number a unit shares its model's budget
        self._looks = 0
        self._waiting = Waiting(settings.slots or NO_SLOTS)
        self.guard = Guard(self._judge_of, self._waiting, self._known.newest_of)
        self._units = self.guard.units
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
        self._known.add(reference, {judge.current.digest for judge in self._units.values()})
        effects: list[Effect] = []
        for judge in list(self._units.values()):
            if judge.current.digest == digest and not judge.standing.quarantines.own:
                effects += self.guard.attempt(judge, "reference", judge.on_reference)
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
        if judge.standing.quarantines.own:
            self._waiting.pass_over(unit, offset)
            return self.guard.collect(judge, [profile], now_ms)
        return self.guard.attempt(judge, "profile", lambda: self._hold(judge, profile, now_ms, offset, partition))

    def _hold(self, judge: UnitJudge, profile: Profile, now_ms: int, offset: int, partition: int) -> list[Effect]:
        """Keeps a profile that has a slot, and makes the looks that are due."""
        unit = profile.unit
        wanted = judge.current.wanted(profile.epoch.reference, self._known.newest_of(unit))
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
        self.guard.note_mark(mark)
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
            if judge.standing.quarantines.own:
                effects += self.guard.collect(judge, own, now_ms)
                continue
            if judge.wakes(own):
                self._wake(judge)
            newest, sharers = self._known.newest_of(unit), self._sharing.sharers(unit.model, offset)
            work = partial(judge.on_profiles, own, newest, now_ms, sharers)
            effects += self._with_built(self.guard.attempt(judge, "judging", work))
        return effects

    def on_tick(self, now_ms: int, health: Health | None = None) -> list[Effect]:
        """Judges what time alone changes: which units are silent or cannot be read at ``now_ms`` of wall time."""
        health = health or Health()
        usual_ms = (self._settings.slots or NO_SLOTS).disorder_ms
        for unit, judge in self._units.items():
            judge.standing.sight.follow_frontier(self._waiting.held_back(unit), usual_ms, now_ms)
        judged = [j for j in self._units.values() if not j.shards.collecting or j.standing.quarantines.places]
        return [
            e for judge in judged for e in self.guard.attempt(judge, "state", partial(judge.on_tick, now_ms, health))
        ]

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
        return self.guard.snapshot(unit)

    def restore(self, unit: UnitKey, blob: bytes) -> None:
        """Restores ``snapshot``. Raises CheckpointError when ``blob`` is not one of this unit."""
        self.forget(unit)
        judge = self.guard.restore(unit, blob)
        if not judge.standing.away:
            self._share(unit, self._share_of(judge))

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
                return self._with_built(self.guard.attempt(judge, "request", partial(judge.act, action)))
        return []

    def forget_model(self, forgetting: ForgetRequest) -> list[Effect]:
        """Stops watching a unit, as a person asked; does nothing if it is not known or the request was applied
        before."""
        judge = self._units.get(forgetting.unit)
        if judge is None:
            return []
        effects = self.guard.attempt(judge, "request", partial(judge.forget, forgetting))
        if self._units[judge.unit].standing.away:
            self._share(judge.unit, None)
        return effects

    def is_away(self, unit: UnitKey) -> bool:
        """Whether the unit is forgotten and has sent nothing since, or nothing is known of it any more."""
        judge = self._units[unit]
        empty = not len(judge.shards) and not len(judge.shards.slots)
        return judge.standing.away or (empty and not judge.standing.quarantines.places)

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
            judge = self._units[unit] = self._judge_of(unit, offset)
            self._share(unit, offset)
        elif unit not in self._shares and not judge.standing.away:  # it was adopted
            judge.shards.begin_again(offset)
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
            work = partial(judge.on_slot, due, self._known.newest_of(unit), sharers)
            effects += self._with_built(self.guard.attempt(judge, "judging", work))
        return effects

    def _judge_of(self, unit: UnitKey, first_offset: int) -> UnitJudge:
        return UnitJudge(unit, self._settings, self._known.bound, self._known.by_digest, first_offset)
