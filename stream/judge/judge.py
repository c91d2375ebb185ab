"""The judge of one worker: profiles of shards in; states, incidents and retrain requests out. No I/O, clock or Kafka.

It keeps the newest profile of every shard, works on differences, and returns what is to be published as effects. The
same profiles in the same order give the same effects with the same ids. Wall time decides only whether a unit is blind.

    judge = Judge(judge_settings(settings), references)
    effects = judge.on_profile(profile, now_ms)
    effects = judge.on_tick(now_ms, Health(...))
    view = judge.model_view(unit)
"""

from collections.abc import Iterable, Sequence
from typing import Any

from detectors.evidence.sheets import Sheets
from detectors.evidence.sizes import Yardstick
from detectors.evidence.watch import Watch, shown
from detectors.features import ModelKey, UnitKey
from detectors.profiles import Profile
from detectors.reference.reference import Reference
from stream.judge import view
from stream.judge.budget import Sharing
from stream.judge.effects import Effect, Health, ReferenceBuilt
from stream.judge.settings import JudgeSettings
from stream.judge.unit import UnitJudge
from stream.topics.requests import ForgetRequest, IncidentRequest

SHEETS_KEPT = 256
"""References whose bets are kept ready; a reference of 20 features takes 400 KB."""


class Judge:
    """All units of one worker. Cost: a few hundred us a profile of 20 features that brings events."""

    def __init__(self, settings: JudgeSettings, references: Iterable[Reference] = ()) -> None:
        self._settings = settings
        self._units: dict[UnitKey, UnitJudge] = {}
        self._references: dict[str, Reference] = {}
        self._newest: dict[tuple[ModelKey, str | None], str] = {}
        self._sheets: dict[str, tuple[Sheets, list[Yardstick]]] = {}
        self._sharing = Sharing()
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

    def on_profile(self, profile: Profile, now_ms: int, offset: int = 0) -> list[Effect]:
        """Judges one shard's newest counts. ``now_ms``: wall time, for the blind state only. ``offset``: position in
        the profiles topic. It decides which units share the budget, so that a restart repeats the same shares."""
        return self.on_profiles([profile], now_ms, offset)

    def on_profiles(self, profiles: Sequence[Profile], now_ms: int, offset: int = 0) -> list[Effect]:
        """Judges several profiles as ``on_profile`` does one, with one look a unit for all of them."""
        by_unit: dict[UnitKey, list[Profile]] = {}
        for profile in profiles:
            by_unit.setdefault(profile.unit, []).append(profile)
        effects: list[Effect] = []
        for unit, own in by_unit.items():
            judge = self._unit(unit, offset)
            if judge.wakes(own):
                judge.standing.wake()
                self._sharing.include(unit.model, judge.shards.first_offset)
            newest, sharers = self._newest_digest(unit), self._sharing.sharers(unit.model, offset)
            effects += self._with_built(judge.on_profiles(own, newest, now_ms, sharers))
        return effects

    def on_tick(self, now_ms: int, health: Health | None = None) -> list[Effect]:
        """Judges what time alone changes: which units are silent or cannot be read at ``now_ms`` of wall time."""
        health = health or Health()
        return [effect for judge in self._units.values() for effect in judge.on_tick(now_ms, health)]

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
        """One of learning, stable, warning, drift, blind, forgotten."""
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
            self._sharing.include(unit.model, judge.shards.first_offset)
        judge.on_reference()

    def forget(self, unit: UnitKey) -> None:
        """Drops a unit that another worker judges from now on."""
        judge = self._units.pop(unit, None)
        if judge is not None and not judge.standing.away:
            self._sharing.exclude(unit.model, judge.shards.first_offset)

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
        was_away = judge.standing.away
        effects = judge.forget(forgetting)
        if judge.standing.away and not was_away:
            self._sharing.exclude(judge.unit.model, judge.shards.first_offset)
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
            self._sharing.include(unit.model, offset)
        elif offset < judge.shards.first_offset:
            if not judge.standing.away:
                self._sharing.exclude(unit.model, judge.shards.first_offset)
                self._sharing.include(unit.model, offset)
            judge.shards.begin_again(offset)
        return judge

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
