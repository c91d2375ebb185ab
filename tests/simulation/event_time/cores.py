"""Both pure cores over logs of keyed partitions: workers and a judge that lag, freeze, crash and are replaced.

One seed makes the log, another one decides all that may differ between two runs of it: how much is read at once, how
far each partition is, when profiles and marks are sent, who owns what, and who fails when. The product is ``Observer``,
``Judge`` and ``Pending``; this module is the shell that ``Runner``, ``Timer``, ``Saver`` and ``JudgeApp`` are in
production. Every wait of theirs is a point at which anything else may happen.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

import msgspec
import orjson

from detectors.bank.prepared import PreparedReference
from detectors.features import UnitKey
from detectors.incidents.blindness import BlindReason
from detectors.profiles import Profile
from detectors.reference.reference import Reference
from stream.judge import snapshot
from stream.judge.effects import DriftEvent, Effect, Health, IncidentRecord, ReferenceBuilt
from stream.judge.frontier import NOWHERE
from stream.judge.judge import Judge
from stream.judge.shell.pending import Pending
from stream.observe.effects import Effects
from stream.observe.observer import Observer
from stream.observe.publishing import Published
from stream.topics import keys
from stream.topics.drift_events import EventType
from stream.topics.marks import Mark
from stream.topics.record import Partition
from tests.simulation.event_time.logs import TOPIC, Log
from tests.simulation.world import Diverged

HOMES = 2
"""Partitions of the profiles topic."""

MARK_MS = 500
STEPS = 60
"""In each of them some time passes, and everybody may do something."""

AFTER_MS = (0, 1_000, 130_000, 260_000)
"""Wall time after the last record at which everybody looks: by then the last slots have ended by the clock."""


class Rules(NamedTuple):
    """The rules that the shells follow; a test breaks one of them on purpose."""

    marks_after_profiles: bool = True
    commit_judged: bool = True
    outputs_first: bool = True
    marks_again: bool = True


class PreparedOnce(dict[UnitKey | None, PreparedReference]):
    """What observers derive from references, shared by those of all runs."""

    def __init__(self, observer: Observer) -> None:
        super().__init__({None: PreparedReference(None)})
        self._known = observer._references._references

    def get(self, target: UnitKey | None, default: object = None) -> PreparedReference:  # type: ignore[override]
        if target is None:
            return self[None]
        return _prepared(_ByDigest(self._known[target]))


class _ByDigest:
    def __init__(self, reference: Reference) -> None:
        self.reference = reference

    def __hash__(self) -> int:
        return hash(self.reference.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByDigest) and self.reference.digest == other.reference.digest


@cache
def _prepared(known: _ByDigest) -> PreparedReference:
    return PreparedReference(known.reference)


def observer_of(log: Log, references: Iterable[Reference]) -> Observer:
    """A new worker's observer."""
    made = Observer(log.observe, references)
    made._references._prepared = PreparedOnce(made)
    return made


class Watched(Judge):
    """A judge that calls ``noted`` with the effects of every look, one look at a time."""

    def __init__(self, log: Log, references: Iterable[Reference], traces: "Traces") -> None:
        self.traces = traces
        super().__init__(log.judge, references)

    def _look_at_due(self, units: Iterable[UnitKey], most: int | None = None) -> list[Effect]:
        effects: list[Effect] = []
        wanted, made = list(units), 0
        while most is None or made < most:
            waiting = set(self._waiting.units)
            if waiting.isdisjoint(wanted):
                break
            before = {unit: self._units[unit].shards.slots.looked_ms for unit in wanted}
            looks = self._looks
            found = super()._look_at_due([unit for unit in wanted if unit in waiting], 1)
            if self._looks == looks:
                break
            made, effects = made + 1, effects + found
            for unit in wanted:
                if self._units[unit].shards.slots.looked_ms != before[unit]:
                    self.traces.note(unit, self._seen(unit))
            self.traces.note_effects(found)
        return effects

    def _seen(self, unit: UnitKey) -> object:
        """What a look saw: its slot end, the events of each shard, the evidence and its threshold."""
        judge = self._units[unit]
        events = {name: profile.events for name, profile in judge.shards.newest.items()}
        watch = judge.look.watch
        limits = None if watch is None else (watch.evidence.threshold_log10, judge.current.sharers)
        return "look", judge.shards.slots.looked_ms, sorted(events.items()), self.evidence_log10(unit), limits


class Traces:
    """Looks and effects of each unit, in order. ``places``: how far each unit's present judge is; what it repeats after
    a restart must be what was published. Raises Diverged."""

    def __init__(self, *, with_states: bool) -> None:
        self.with_states = with_states
        self.published: dict[UnitKey, list[object]] = {}
        self.places: Counter[UnitKey] = Counter()

    def note(self, unit: UnitKey, item: object) -> None:
        own, place = self.published.setdefault(unit, []), self.places[unit]
        if place < len(own) and own[place] != item:
            raise Diverged(f"{unit}: item {place} was {own[place]}, and is {item} after a restart")
        if place == len(own):
            own.append(item)
        self.places[unit] = place + 1

    def note_effects(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if self.with_states or not (isinstance(effect, DriftEvent) and effect.kind is EventType.MODEL_STATE):
                self.note(effect.unit, _plain(effect))


def _plain(effect: Effect) -> object:
    if isinstance(effect, DriftEvent):
        data = orjson.dumps(effect.data, option=orjson.OPT_SERIALIZE_NUMPY)
        return effect.kind.value, effect.at_ms, data, tuple(map(str, effect.what))
    if isinstance(effect, IncidentRecord):
        return effect.id, orjson.dumps(effect.data, option=orjson.OPT_SERIALIZE_NUMPY)
    return effect.reference.digest if isinstance(effect, ReferenceBuilt) else effect.outcome.value


class Worker:
    """One process of the observe stage. ``held``: by partition, the next offset to read. ``frozen_ms``: until then it
    does nothing."""

    def __init__(self, world: "World") -> None:
        self.world, self.chance = world, world.chance
        self.observer = observer_of(world.log, world.applied)
        self.held: dict[Partition, int] = {}
        self.ends: dict[Partition, tuple[int, int]] = {}
        self.marked_ms: dict[Partition, int] = {}
        self.outbox: list[Published] = []
        self.turning: Iterator[None] | None = None
        self.saving: Iterator[None] | None = None
        self.saved_place: Partition | None = None
        self.frozen_ms = 0
        self.changes: Counter[Partition] = Counter()  # of the owner; what was polled before is left
        self.counted = 0  # partitions of the topic in its newest mark; a new number is marked before more is read
        self.lost: set[Partition] = set()  # without noticing yet

    def take(self, place: Partition) -> None:
        self.held[place] = self.observer.assign(place, dict(self.world.saved[place]), 0) or 0
        self.lost.discard(place)
        self._group_changed(place)

    def lose(self, place: Partition) -> None:
        self.observer.drop(place)
        self.held.pop(place, None)
        self.lost.discard(place)
        self._group_changed(place)

    def _group_changed(self, place: Partition) -> None:
        self.changes[place] += 1
        if self.saved_place == place:
            self.saving = None
        self.ends.pop(place, None)
        self.marked_ms.pop(place, None)

    def act(self, *, whole: bool = False) -> None:
        """Makes some steps of its loops, or one whole turn."""
        if self.turning is None:
            self.turning = self.turn()
        for _ in range(10_000 if whole else self.chance.choice((1, 3, 50))):
            if next(self.turning, self) is self:
                self.turning = None
                break
        if self.saving is None and (self.observer.urgent() or self.chance.random() < self.world.saves):
            self.saving = self.save()
        if self.saving is not None:
            for _ in range(10_000 if whole else self.chance.choice(self.world.writes)):
                if next(self.saving, self) is self:
                    self.saving = None
                    break
        if whole or self.chance.random() < self.world.sends:
            self.flush()

    def turn(self) -> Iterator[None]:
        """One turn of the loop: reads, then publishes by wall time. Every ``yield`` is a break."""
        for place in self.chance.sample(sorted(self.held), len(self.held)):
            yield from self._read(place)
        now_ms, at_end = self.world.now_ms, self._at_end()
        due = self.observer.profiles_due(now_ms, at_end=at_end)
        for profile in due:
            self.outbox.append(profile)
            yield
        for place in sorted(self.held):
            if place in self.held and now_ms - self.marked_ms.get(place, -MARK_MS) >= MARK_MS:
                yield from self._mark(place, now_ms, at_end.get(place))

    def _mark(self, place: Partition, now_ms: int, end_ms: int | None) -> Iterator[None]:
        at_ms, first = now_ms if end_ms is None else end_ms, len(self.outbox)
        count = self.world.partitions()
        if place not in self.held:
            return
        for item in self.observer.mark(place, count, at_ms, read_to_end=end_ms is not None):
            if isinstance(item, Mark):
                self.marked_ms[place], self.counted = now_ms, count
            if isinstance(item, Mark) and not self.world.rules.marks_after_profiles:
                self.outbox.insert(min(first, len(self.outbox)), item)
            else:
                self.outbox.append(item)
            yield

    def _at_end(self) -> dict[Partition, int]:
        return {p: self.ends[p][1] for p in self.held if p in self.ends and self.ends[p][0] <= self.held[p]}

    def _read(self, place: Partition) -> Iterator[None]:
        if self.counted != self.world.partitions():
            yield from self._mark(place, self.world.now_ms, None)
        if place not in self.held:
            return
        there, begin = self.world.available(place), self.held[place]
        self.ends[place] = len(there), self.world.now_ms
        speed = self.world.speed[place.partition]
        records = there[begin : begin + self.chance.randrange(2 * speed + 1)]
        before = self.changes[place]
        while records and before == self.changes[place]:
            count = self.chance.randrange(1, len(records) + 1)
            chunk, records, effects = records[:count], records[count:], Effects()
            for _ in self.observer.steps(place, chunk, effects):
                yield
                if before != self.changes[place]:
                    return
            self.held[place] = chunk[-1].offset + 1
            self.outbox += effects.profiles
            self.world.unreadable += len(effects.dead_letters)
            yield

    def save(self) -> Iterator[None]:
        """Writes checkpoints. Every ``yield`` is a wait for the broker, during which anything may happen."""
        for place in sorted(self.held):
            if place in self.held and self.observer.next_offset(place) is not None:
                yield from self._save(place)

    def _save(self, place: Partition) -> Iterator[None]:
        run, self.saved_place = self.observer.checkpoint(place), place
        yield from self._acknowledged()
        waiting = list(run.dirty)
        while waiting:
            count = self.chance.randrange(1, 3)
            batch, waiting = waiting[:count], waiting[count:]
            if place not in self.held:
                return
            records = [run.encode(unit) for unit in batch]
            yield from self._acknowledged()
            yield
            self.world.saved[place].update(records)
        if place not in self.held:
            return
        manifest = run.manifest()
        yield
        self.world.saved[place].update([manifest])
        yield
        if place in self.held:
            run.acknowledged()

    def _acknowledged(self) -> Iterator[None]:
        """Waits until everything that is enqueued now is sent."""
        if not self.world.rules.outputs_first:
            return
        last = self.outbox[-1] if self.outbox else None
        yield
        if any(item is last for item in self.outbox):
            self.flush()

    def flush(self) -> None:
        sent, self.outbox = self.outbox, []
        self.world.publish(sent)


class JudgeProcess:
    """One process of the judge stage, which reads all partitions of the profiles topic. ``reads``: offsets."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.judge = Watched(world.log, world.references, world.traces)
        self.pending = Pending()
        self.reads = [world.committed.get(home, 0) for home in range(HOMES)]
        world.traces.places.clear()
        for unit, (home, blob, place) in world.rows.items():
            self.judge.restore(unit, blob)
            self.pending.restore_unit(unit, home, (0, 0))
            world.traces.places[unit] = place

    def restart(self, *, again: bool) -> "JudgeProcess":
        """Another one that begins from the rows. ``again``: the same process, after a rebalance."""
        made = JudgeProcess(self.world)
        if again:
            if self.world.rules.marks_again:
                self.judge.read_again()
            for unit in self.judge.units:
                self.judge.forget(unit)
            self.judge.drain_judged()
            for unit, (_, blob, _) in self.world.rows.items():
                self.judge.restore(unit, blob)
            made.judge = self.judge
        return made

    def read(self, home: int, count: int) -> None:
        """Judges the next records of a partition of the profiles topic."""
        log, chance = self.world.topic[home], self.world.chance
        for _ in range(count):
            if self.reads[home] == len(log):
                return
            offset, item = self.reads[home], log[self.reads[home]]
            self.reads[home] += 1
            self.pending.start_offset(home, offset)
            if isinstance(item, Mark):
                self._after(self.judge.on_mark(item, home, chance.choice((0, 1, 100))))
                while (more := self.judge.look_on(home, chance.choice((1, 100)))) is not None:
                    self._after(more)
                self.pending.finish_offsets(home, [offset])
                continue
            self.pending.hold(item.unit, home, offset, 0)
            self._after(self.judge.on_profile(item, self.world.now_ms, offset, home))
            if not self.world.rules.commit_judged:
                self.pending.finish_offsets(home, [offset])

    def _after(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, ReferenceBuilt):
                self.world.publish_reference(effect.reference)
        for unit, offsets in self.judge.drain_judged().items():
            self.pending.mark_judged(unit, offsets, 0)
        for unit in {effect.unit for effect in effects}:
            if self.world.chance.random() < 0.5:
                self._write_row(unit)

    def tick(self) -> None:
        """What time alone changes. A unit of which nothing was judged is never stable."""
        effects = self.judge.on_tick(self.world.now_ms, Health())
        self.world.traces.note_effects(effects)
        for unit in self.judge.waiting():
            waits = self.judge.model_view(unit)["waiting_for"]
            assert waits["partition"].startswith(f"{TOPIC}/"), waits
            self.world.seen["waits"] += 1
        for unit in self.judge.units:
            state, judge = self.judge.state(unit), self.judge._units[unit]
            self.world.seen[state] += 1
            self.world.seen["lag"] += judge.standing.sight.reason is BlindReason.LAG
            if judge.shards.slots.looked_ms == NOWHERE and state not in ("learning", "blind"):
                raise Diverged(f"{unit} is {state}, and nothing of it was judged")

    def write(self, share: float) -> None:
        """Some of the rows that are due, and a commit."""
        for unit in self.pending.due(0, 1_000):
            if self.world.chance.random() < share:
                self._write_row(unit)
        if self.world.chance.random() < 0.8:
            self.world.committed.update(self.pending.committable)

    def _write_row(self, unit: UnitKey) -> None:
        home = self.pending.partitions[unit]
        offsets = self.pending.start_row(unit)
        self.world.rows[unit] = home, self.judge.snapshot(unit), self.world.traces.places[unit]
        self.pending.finish_offsets(home, offsets)


class World:
    """The logs, the topics, the workers and the judge of one run."""

    def __init__(self, log: Log, seed: str, rules: Rules | None = None, *, failures: bool = True) -> None:
        self.log, self.rules, self.chance = log, rules or Rules(), random.Random(seed)
        chance = self.chance
        self.failures, self.ticks = failures, failures and chance.random() < 0.5
        self.saves, self.writes = chance.choice((0.02, 0.3)), chance.choice(((0, 0, 1, 2), (1, 4, 20)))
        self.sends, self.crashes = chance.choice((0.1, 0.6, 1.0)), chance.choice((0.01, 0.03, 0.1))
        self.phase, self.now_ms, self.unreadable = 0, 0, 0
        self.speed = [0] * log.partitions
        self.saved: dict[Partition, dict[bytes, bytes]] = {}
        self.topic: list[list[Published]] = [[] for _ in range(HOMES)]
        self.references = log.references
        self.applied = log.references  # those that workers know; the others come with the next phase
        self.rows: dict[UnitKey, tuple[int, bytes, int]] = {}
        self.committed: dict[int, int] = {}
        self.traces = Traces(with_states=not self.ticks)
        self.seen: Counter[str] = Counter()
        self.judge = JudgeProcess(self)
        self.workers = [Worker(self) for _ in range(chance.choice((1, 2, 3)))]
        self.owners: dict[Partition, Worker] = {}

    def partitions(self) -> int:
        """How many partitions the events topic has now."""
        return self.log.partitions if self._time() >= self.log.added_ms else self.log.first_partitions

    def _time(self) -> int:
        """The time of the newest record that is there; wall time unless the log is old."""
        return 1 << 60 if self.log.old else self.now_ms

    def available(self, place: Partition) -> list[Any]:
        """All records of a partition that are there now."""
        whole = [record for phase in self.log.records[: self.phase + 1] for record in phase[place.partition]]
        end_ms = self._time()
        while whole and whole[-1].timestamp_ms > end_ms:
            whole.pop()
        return whole

    def publish(self, items: list[Published]) -> None:
        """Writes to the profiles topic. A batch whose acknowledgement was lost is written again as a whole."""
        repeated = bool(items) and self.failures and self.chance.random() < 0.05
        for item in items * (1 + repeated):
            homes = range(HOMES) if isinstance(item, Mark) else (keys.model_partition(item.model, HOMES),)
            for home in homes:
                self.topic[home].append(item)

    def publish_reference(self, reference: Reference) -> None:
        if all(reference.digest != known.digest for known in self.references):
            self.references.append(reference)

    def run(self) -> "World":
        for phase in range(len(self.log.records)):
            self._begin(phase)
            self._live(phase)
            self._settle()
        return self

    def _begin(self, phase: int, *, reads: bool = True) -> None:
        if phase:
            self._apply_references()
        self.phase, first_ms, end_ms = phase, self.log.begin_ms(phase), self.log.end_ms(phase)
        later_ms = 90_000_000 if self.log.old else int((end_ms - first_ms) * self.chance.choice((0, 0, 0.5, 1.1)))
        self.now_ms = max(self.now_ms, first_ms + later_ms)
        self.speed = [self.chance.choice((1, 4, 40)) if reads else 0 for _ in self.speed]

    def _apply_references(self) -> None:
        """Workers begin new epochs, and everybody is done with that before the next phase: when a reference comes is
        not a matter of the log."""
        self.applied = list(self.references)
        for worker in self.workers:
            for reference in self.references:
                worker.outbox += worker.observer.set_reference(reference)
            worker.saving = worker.save()
        self._look_after((0, 1_000, 1_000))

    def _live(self, phase: int) -> None:
        end_ms = self.log.end_ms(phase)
        pace = int(max(end_ms - self.log.begin_ms(phase), 2_000) / STEPS * self.chance.choice((0.5, 1.0, 1.5))) + 1
        for _ in range(STEPS):
            if self._time() >= end_ms and self._all_read():
                break
            self.now_ms += self.chance.randrange(2 * pace)
            self._deal()
            self._fault()
            for worker in self.workers:
                if worker.frozen_ms <= self.now_ms and self.chance.random() < 0.6:
                    worker.act()
            if self.chance.random() < 0.5:
                self._judge()
        self.now_ms = max(self.now_ms, end_ms)

    def _all_read(self) -> bool:
        return all(worker.held.get(p) == len(self.available(p)) for p, worker in self.owners.items())

    def _deal(self) -> None:
        """Gives every partition that is there to somebody."""
        for number in range(self.partitions()):
            place = Partition(TOPIC, number)
            self.saved.setdefault(place, {})
            if place not in self.owners:
                self.owners[place] = self.chance.choice(self.workers)
                self.owners[place].take(place)

    def _judge(self) -> None:
        for home in self.chance.sample(range(HOMES), HOMES):
            self.judge.read(home, self.chance.choice((0, 1, 5, 200)))
        if self.ticks and self.chance.random() < 0.5:
            self.judge.tick()
        if self.failures:
            self.judge.write(self.chance.choice((0.0, 0.3, 1.0)))

    def _fault(self) -> None:
        what = self.chance.random() if self.failures else 0.5
        if what > 1.0 - self.crashes:
            self._crash(self.chance.choice(self.workers))
        elif what < 0.05 and self.owners:
            self._move(self.chance.choice(sorted(self.owners)))
        elif what < 0.1:
            self.seen["freeze"] += 1
            self.chance.choice(self.workers).frozen_ms = self.now_ms + self.chance.choice((1_000, 5_000, 30_000))
        elif what < 0.14:
            self.seen["judge restarted"] += 1
            self.judge = self.judge.restart(again=self.chance.random() < 0.5)
        for worker in self.workers:
            if worker.lost and worker.frozen_ms <= self.now_ms and self.chance.random() < 0.1:
                for place in sorted(worker.lost):
                    worker.lose(place)

    def _crash(self, worker: Worker) -> None:
        """What was not sent is lost; of each partition of the profiles topic something may have been sent."""
        self.seen["crash"] += 1
        self.seen["torn checkpoint"] += worker.saving is not None
        for home in range(HOMES):
            own = [i for i in worker.outbox if isinstance(i, Mark) or keys.model_partition(i.model, HOMES) == home]
            self.topic[home] += own[: self.chance.randrange(len(own) + 1)]
        self.workers[self.workers.index(worker)] = Worker(self)
        for place in [place for place, owner in self.owners.items() if owner is worker]:
            del self.owners[place]
        self._deal()

    def _move(self, place: Partition) -> None:
        """Moves a partition. The old owner notices at once, or goes on with all that it has, after it was frozen."""
        self.seen["move"] += 1
        old, others = self.owners[place], [one for one in self.workers if one is not self.owners[place]]
        others = [one for one in others if not one.lost]
        if not others:
            others = [Worker(self)]
            self.workers += others
        if self.chance.random() < 0.5:
            old.lose(place)
            self.owners[place] = self.chance.choice(others)
            self.owners[place].take(place)
            return
        self.seen["zombie"] += 1
        old.frozen_ms = self.now_ms + self.chance.choice((0, 2_000, 20_000))
        for lost in [lost for lost, owner in self.owners.items() if owner is old]:
            old.lost.add(lost)
            self.owners[lost] = self.chance.choice(others)
            self.owners[lost].take(lost)

    def _settle(self) -> None:
        """Nothing fails any more; everything is read, and the clock runs until the last slots have ended."""
        for worker in self.workers:
            worker.frozen_ms = 0
            if self.chance.random() < 0.5 and self.failures:
                worker.flush()  # what a frozen process sends when it wakes
            for place in sorted(worker.lost):
                worker.lose(place)
        self.speed = [1_000] * self.log.partitions
        self._look_after(AFTER_MS)

    def _look_after(self, times_ms: Iterable[int]) -> None:
        """Everybody does all that there is to do, again and again after some wall time."""
        failures, self.failures = self.failures, False
        for after_ms in times_ms:
            self.now_ms += after_ms
            self._deal()
            while True:
                for worker in self.workers:
                    worker.marked_ms.clear()
                    worker.act(whole=True)
                if self._all_read() and not any(worker.observer.urgent() for worker in self.workers):
                    break
            for home in range(HOMES):
                self.judge.read(home, 1 << 30)
            if self.ticks:
                self.judge.tick()
        self.failures = failures


class Outcome(NamedTuple):
    """What a run gave: looks and effects by unit, and the state of each unit."""

    traces: dict[UnitKey, list[object]]
    states: dict[UnitKey, dict[str, Any]]


WALL = ("delay_ms", "first_offset")
"""Members of a unit's state that wall time or the order of the profiles topic decides."""


def outcome(world: World) -> Outcome:
    judge = world.judge.judge
    states = {unit: _state(snapshot.decode(unit, judge.snapshot(unit))) for unit in judge.units}
    return Outcome(world.traces.published, states)


def _state(members: dict[str, Any]) -> dict[str, Any]:
    shards = {name: msgspec.structs.replace(shard, profile=_ended(shard.profile))
              for name, shard in members["shards"].items()}  # fmt: skip
    return {**{name: value for name, value in members.items() if name not in WALL}, "shards": shards}


def _ended(profile: Profile) -> Profile:
    """An open slot's last profile and its closed one are the same but for that."""
    return msgspec.structs.replace(profile, slot_open=False)


def ordered(log: Log) -> Outcome:
    """The run in the order of event time: one worker that reads one record after the other, and never fails."""
    world = World(log, "ordered", failures=False)
    world.workers = [Worker(world)]
    (worker,) = world.workers
    for phase, own in enumerate(log.records):
        world._begin(phase, reads=False)
        world.now_ms = max(world.now_ms, log.end_ms(phase), log.added_ms)
        world._deal()
        rows = [(number, record) for number, records in enumerate(own) for record in records]
        for number, record in sorted(rows, key=lambda row: row[1].timestamp_ms):
            place, effects = Partition(TOPIC, number), Effects()
            for _ in worker.observer.steps(place, [record], effects):
                """No break."""
            worker.held[place] = record.offset + 1
            worker.outbox += effects.profiles
            for urgent in worker.observer.urgent():
                run = worker.observer.checkpoint(urgent)
                world.saved[urgent].update([*map(run.encode, run.dirty), run.manifest()])
                run.acknowledged()
        world._settle()
    return outcome(world)


def compare(log: Log, seed: str, rules: Rules, wanted: Outcome) -> World:
    """Runs the log under one interleaving. Raises Diverged when it differs from the ordered run."""
    world = World(log, seed, rules).run()
    found = outcome(world)
    ticks = world.ticks
    for unit in sorted({*wanted.traces, *found.traces}, key=repr):
        before, now = wanted.traces.get(unit, []), found.traces.get(unit, [])
        if ticks:
            before = [item for item in before if not _is_state(item)]
        for place, (one, other) in enumerate(zip(before, now, strict=False)):
            if one != other:
                raise Diverged(f"seed {seed}: {unit}: item {place} is {other}, and {one} in the ordered run")
        if len(before) != len(now):
            more = (before if len(before) > len(now) else now)[min(len(before), len(now))]
            raise Diverged(f"seed {seed}: {unit}: {len(now)} items, {len(before)} in the ordered run: {more}")
    if set(found.states) != set(wanted.states):
        raise Diverged(f"seed {seed}: units {set(found.states) ^ set(wanted.states)}")
    left_out = {"state", "transitions"} if ticks else set()
    for unit, state in wanted.states.items():
        names = [n for n in state if n not in left_out and state[n] != found.states[unit][n]]
        if names:
            texts = [f"{n}: {found.states[unit][n]}, ordered {state[n]}" for n in names]
            raise Diverged(f"seed {seed}: {unit}: differs in {'; '.join(texts)}")
    return world


def _is_state(item: object) -> bool:
    return isinstance(item, tuple) and item[0] == EventType.MODEL_STATE.value
