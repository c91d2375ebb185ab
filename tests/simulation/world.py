"""A world in which everything fails: brokers, workers, deliveries; one seed decides all of it.

The product is ``Observer`` with its checkpoints; this module is the shell that ``Runner`` and ``Saver`` are in
production, and every wait is a point at which a crash, an outage or another worker may come in between.
"""

import random
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from detectors.features import UnitKey
from detectors.merging import Step
from detectors.profiles import Profile
from stream.judge.shard import Shard
from stream.observe.effects import Effects
from stream.observe.settings import ObserveSettings
from stream.topics import keys
from stream.topics.record import Partition
from tests.simulation import traffic

PARTITIONS = 2
STEPS = 60
FROZEN, AFTERLIFE = 20, 12
"""Steps at most that a worker sleeps when it loses its partitions, and then continues for without noticing."""
SLOW = 15
"""Steps at most that the broker's disk is slow for."""
JUDGES = 2
"""Partitions of the profiles: each is read in its order, and the next one to read is random."""
REREAD = 12
"""Profiles at most that a judge reads again when it was restarted: its state is newer than its offset."""


class Diverged(AssertionError):
    """The published state is not what a plain fold of the input gives."""


class Scheme(NamedTuple):
    """The rules that the shell follows; a test breaks one of them on purpose."""

    outputs_first: bool = True
    units_first: bool = True
    waits_for_switch: bool = True
    stamps_what_is_encoded: bool = True
    marks_clean_when_encoded: bool = True


class Choice(NamedTuple):
    """The choices that a seed makes for its world."""

    settings: ObserveSettings
    logs: int
    known: tuple[int, ...]  # references from the beginning
    coming: tuple[int, ...]  # those that are published while it runs
    zombies: bool


def choose(seed: int) -> Choice:
    chance = random.Random(seed)
    watching = chance.random() < 0.04
    known = tuple(at for at in (0, 3) if chance.random() < 0.5)
    coming = tuple(at for at in (1, 2, 3) if at not in known and chance.random() < 0.4)
    zombies = chance.random() < 0.6
    return Choice(
        traffic.WATCHING if watching else traffic.PLAIN, chance.randrange(traffic.LOGS), known, coming, zombies
    )


class Worker:
    """One process. ``doomed``: partitions that it has lost without noticing yet, with the steps until it notices."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.observer = traffic.observer(world.choice.settings, world.references)
        self.known = len(world.references)
        self.outbox: list[Profile | tuple[int, int]] = []
        self.saving: Iterator[None] | None = None
        self.saved_place: Partition | None = None
        self.doomed: dict[Partition, int] = {}
        self.frozen = 0

    def take(self, place: Partition) -> None:
        self.follow_references()
        self.observer.assign(place, dict(self.world.saved[place]), 0)
        self._hasten()

    def lose(self, place: Partition) -> None:
        self.doomed.pop(place, None)
        self.observer.drop(place)

    def follow_references(self) -> None:
        for at in self.world.references[self.known :]:
            self.outbox += self.observer.set_reference(traffic.references()[at])
        self.known = len(self.world.references)
        self._hasten()

    def poll(self, place: Partition, count: int) -> bool:
        """Whether there was anything to read."""
        begin = self.observer.next_offset(place) or 0
        records = self.world.log(place)[begin : min(begin + count, self.world.written[place])]
        if not records:
            return False
        effects = Effects()
        for _ in self.observer.steps(place, records, effects):
            """Rows that are not due wait for more."""
        self._hasten()
        self.outbox += self.observer.drain_aside().profiles
        self.outbox += effects.profiles
        self.outbox += [(place.partition, letter.record.offset) for letter in effects.dead_letters]
        return True

    def look(self, *, force: bool) -> None:
        self.outbox += self.observer.profiles_due(self.world.now_ms, force=force)

    def flush(self, count: int) -> None:
        sent, self.outbox = self.outbox[:count], self.outbox[count:]
        self.world.publish(sent)

    def save(self, place: Partition) -> Iterator[None]:
        """Writes a checkpoint. Every ``yield`` is a wait for the broker, during which anything may happen."""
        scheme = self.world.scheme
        run = self.observer.checkpoint(place)
        outputs = list(self.outbox)
        if scheme.outputs_first:
            while any(output in self.outbox for output in outputs):
                yield
                self.flush(self.world.chance.randint(1, 4))
        early = {unit: run.encode(unit) for unit in run.dirty} if not scheme.stamps_what_is_encoded else {}
        manifest = None
        if not scheme.units_first:
            for unit in run.dirty:
                run.encode(unit)
            manifest = run.manifest()
            yield
            self.world.write(self, place, *manifest)
        waiting = list(run.dirty)
        while waiting:
            batch, waiting = waiting[:2], waiting[2:]
            records = [self._encoded(run, unit, place, early) for unit in batch]
            yield
            for record in records:
                self.world.write(self, place, *record)
        yield
        self.world.write(self, place, *(manifest or run.manifest()))
        yield
        if not scheme.marks_clean_when_encoded:
            for unit in run.dirty:
                self.observer._partitions[place].units[unit].dirty = False
        run.acknowledged()

    def _encoded(
        self, run: object, unit: UnitKey, place: Partition, early: dict[UnitKey, tuple[bytes, bytes]]
    ) -> tuple[bytes, bytes]:
        key, value = run.encode(unit)  # type: ignore[attr-defined]
        if not early:
            return key, value
        old, new = (traffic.checkpoints.decode_unit(v, "") for v in (early[unit][1], value))
        blob = traffic.checkpoints.unit_blob(new, "")
        return key, traffic.checkpoints.encode_unit(old.stamp, new.settings, new.reference, blob, "", 1 << 22)

    def _hasten(self) -> None:
        """Publishes an epoch before its checkpoint, under the scheme that is broken in this way."""
        if not self.world.scheme.waits_for_switch:
            for assigned in self.observer._partitions.values():
                for unit in assigned.units.values():
                    unit.durable = True


class World:
    """The logs, the saved and the published records, and the workers."""

    def __init__(self, seed: int, scheme: Scheme) -> None:
        self.choice, self.scheme = choose(seed), scheme
        self.chance = random.Random(seed * 2 + 1)
        self.places = [Partition(traffic.TOPIC, number) for number in range(PARTITIONS)]
        self.written = dict.fromkeys(self.places, 0)
        self.saved: dict[Partition, dict[bytes, bytes]] = {place: {} for place in self.places}
        self.references = list(self.choice.known)
        self.coming = list(self.choice.coming)
        self.available, self.slow, self.now_ms = True, 0, 0
        self.published: list[Profile] = []
        self.letters: set[tuple[int, int]] = set()
        self.delivered: list[list[tuple[bytes, Profile]]] = [[] for _ in range(JUDGES)]
        self.read = [0] * JUDGES
        self.judged: dict[bytes, Shard] = {}
        self.merged: Counter[bytes] = Counter()  # events by differences, from which evidence is computed
        self.troubles: Counter[str] = Counter()
        self.workers = [Worker(self) for _ in range(2)]
        self.owners: dict[Partition, Worker] = {}
        for place in self.places:
            self.give(place)

    def log(self, place: Partition) -> tuple:  # type: ignore[type-arg]
        return traffic.log(self.choice.logs, place.partition)

    def give(self, place: Partition) -> None:
        able = [worker for worker in self.workers if not worker.doomed and not worker.frozen]
        if not able:
            able = [Worker(self)]
            self.workers += able
        self.owners[place] = self.chance.choice(able)
        self.owners[place].take(place)

    @property
    def moves(self) -> int:
        """How often a partition moved to another worker."""
        return self.troubles["crash"] + self.troubles["move"]

    def write(self, worker: Worker, place: Partition, key: bytes, value: bytes) -> None:
        """Writes to the checkpoint topic, which accepts records of every worker."""
        self.troubles["zombie write"] += place in worker.doomed
        self.saved[place][key] = value

    def publish(self, outputs: list[Profile | tuple[int, int]]) -> None:
        """Writes to the profiles topic. A batch whose acknowledgement was lost is written again as a whole."""
        repeated = self.chance.random() < 0.1
        self.troubles["repeated batch"] += repeated and bool(outputs)
        for output in outputs * (1 + repeated):
            if isinstance(output, tuple):
                self.letters.add(output)
                continue
            self.published.append(output)
            key = keys.profile_key(output.unit, Partition(output.topic, output.partition))
            self.delivered[keys.model_partition(output.unit.model, JUDGES)].append((key, output))

    def judge(self, number: int, count: int) -> None:
        """Judges the next profiles of a partition of the profiles topic."""
        begin = self.read[number]
        for key, profile in self.delivered[number][begin : begin + count]:
            held = self.judged.get(key)
            how = held.step(profile, self.newest(profile)) if held else Step.FULL
            if how is Step.IGNORED:
                continue
            counted = held.profile.epoch_events if held and how is Step.NEXT else 0
            self.merged[key] += 0 if how is Step.BASE else profile.epoch_events - counted
            if held:
                held.hold(profile)
            else:
                self.judged[key] = Shard(profile, [])
        self.read[number] = min(begin + count, len(self.delivered[number]))

    def newest(self, profile: Profile) -> str | None:
        """Digest of the newest reference that is published for its model."""
        found = [traffic.references()[at] for at in self.references]
        own = [one for one in found if one.model_key == profile.unit.model_key]
        return own[-1].digest if own else None

    def run(self) -> None:
        for _ in range(STEPS):
            self.now_ms += self.chance.randint(0, 900)
            for place in self.places:
                self.written[place] = min(self.written[place] + self.chance.randint(0, 2), traffic.LENGTH)
            self._fault()
            self.slow = max(0, self.slow - 1)
            self.judge(self.chance.randrange(JUDGES), self.chance.randint(0, 9))
            awake = [worker for worker in self.workers if worker.observer.partitions and not worker.frozen]
            zombies = [worker for worker in awake if worker.doomed]
            if awake:
                self._work(self.chance.choice(zombies if zombies and self.chance.random() < 0.6 else awake))
            for worker in self.workers:
                worker.frozen = max(0, worker.frozen - 1)
                for place in list(worker.doomed):
                    worker.doomed[place] -= 1
                    if not worker.doomed[place]:
                        self._told(worker, place)
        self._settle()

    def _fault(self) -> None:
        what = self.chance.random()
        if what < 0.05:
            self._crash(self.chance.choice(self.workers))
        elif what < 0.1:
            self.troubles["move"] += 1
            self._move(self.chance.choice(self.places))
        elif what < 0.13:
            self.available = not self.available
            self.troubles["outage"] += not self.available
        elif what < 0.16 and self.coming:
            self.references.append(self.coming.pop(0))
            self.troubles["late reference"] += 1
        elif what < 0.18:
            self.slow = self.chance.randint(1, SLOW)
            self.troubles["slow disk"] += 1
        elif what < 0.2:
            number = self.chance.randrange(JUDGES)
            self.read[number] = max(0, self.read[number] - self.chance.randint(1, REREAD))
            self.troubles["judge restarted"] += 1

    def _crash(self, worker: Worker) -> None:
        """Crashes a worker at any point: everything that it had not written is lost, and half of a batch may be
        lost."""
        self.troubles["crash"] += 1
        self.troubles["torn checkpoint"] += worker.saving is not None
        worker.flush(self.chance.randint(0, len(worker.outbox)) if self.available else 0)
        self.workers.remove(worker)
        self.workers.append(Worker(self))
        for place in [place for place, owner in self.owners.items() if owner is worker]:
            self.give(place)

    def _move(self, place: Partition) -> None:
        """Moves a partition to another worker. The old one notices at once, or continues as a zombie."""
        old = self.owners[place]
        if not self.choice.zombies:
            self._told(old, place)
            self.give(place)
            return
        old.frozen = self.chance.randint(0, FROZEN)
        for lost in [lost for lost, owner in self.owners.items() if owner is old]:
            old.doomed[lost] = old.frozen + self.chance.randint(1, AFTERLIFE)
            self.give(lost)

    def _told(self, worker: Worker, place: Partition) -> None:
        if worker.saved_place == place:
            worker.saving = None  # abandoned, as the saver does when it does not hold the partition any more
        worker.lose(place)

    def _work(self, worker: Worker) -> None:
        places = worker.observer.partitions
        what = self.chance.random()
        if worker.saving is not None and what < 0.5:
            if self.available and (not self.slow or self.chance.random() < 0.2):
                for _ in worker.saving:
                    break
                else:
                    worker.saving = None
        elif what < 0.75:
            for place in self.chance.sample(places, len(places)):
                worker.poll(place, self.chance.randint(1, 7))
        elif what < 0.85 and self.available:
            worker.look(force=self.chance.random() < 0.3)
            worker.flush(self.chance.randint(0, 1 if self.slow else 8))
        elif what < 0.88:
            worker.follow_references()
        elif worker.saving is None:
            ready = [place for place in places if worker.observer.next_offset(place) is not None]
            if ready:
                worker.saved_place = self.chance.choice(ready)
                worker.saving = worker.save(worker.saved_place)

    def _settle(self) -> None:
        """Ends all faults; then everything is read, saved and published."""
        self.available = True
        self.written = dict.fromkeys(self.places, traffic.LENGTH)
        for worker in list(self.workers):
            for place in list(worker.doomed):
                self._told(worker, place)
        if self.chance.random() < 0.5:
            self._crash(self.chance.choice(self.workers))
        for place, worker in self.owners.items():
            worker.follow_references()
            while worker.poll(place, 9):
                pass
            if worker.saving is not None:
                list(worker.saving)
                worker.saving = None
            list(worker.save(place))
        for worker in dict.fromkeys(self.owners.values()):
            worker.look(force=True)
            worker.flush(len(worker.outbox))
        for number in range(JUDGES):
            self.judge(number, len(self.delivered[number]))
