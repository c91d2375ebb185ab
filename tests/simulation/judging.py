"""Judges that come and go over the profiles of models with several versions and segments. One seed decides which units
there are, when each sends its first profile, when rows are written, who crashes and who takes over.
"""

import random
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import msgspec
import numpy as np

from detectors.features import UnitKey
from detectors.profiles import Profile
from detectors.reference.builder import build_reference
from detectors.reference.reference import Reference
from stream.judge.effects import DriftEvent, Effect
from stream.judge.judge import Judge
from stream.judge.shell.pending import Pending
from stream.topics import keys
from tests.judge.shards import MiniShard
from tests.settings.defaults import judge_settings
from tests.simulation.world import Diverged

PARTITIONS, WORKERS, MODELS, UNITS = 2, 2, 2, 4
LOOKS, ROWS = 20, 32
START_MS = 1_763_700_000_000
SETTINGS = judge_settings()

Published = dict[tuple[object, ...], bytes]
"""Contents of drift events, by what their ids are made of."""


class Record(NamedTuple):
    partition: int
    offset: int
    profile: Profile


@cache
def reference(model: str, version: str) -> Reference:
    return build_reference(model, version, {"x": np.random.default_rng(3).normal(size=2_000)})


def home(unit: UnitKey) -> int:
    """The partition that holds the profiles of a unit."""
    return keys.model_partition(unit.model, PARTITIONS)


def publish(seed: int) -> list[Record]:
    """The profiles of all units, in the order in which they were written. Some units slowly leave their reference."""
    chance, rng = random.Random(seed), np.random.default_rng(seed)
    shards: list[tuple[UnitKey, int, int, MiniShard]] = []
    for number in range(MODELS * UNITS):
        unit = UnitKey(f"m{number % MODELS}", chance.choice("12"), f"s{number}")
        first, moved = chance.randrange(LOOKS // 2), chance.choice((0, LOOKS // 3, LOOKS))
        shards.append((unit, first, moved, MiniShard(reference(unit.model, unit.version), chance.randrange(2))))
    written: list[Record] = []
    ends: Counter[int] = Counter()
    for look in range(LOOKS):
        chance.shuffle(shards)
        for unit, first, moved, shard in shards:
            if look < first:
                continue
            values = rng.normal(0.8 * (look >= moved), 1.0, ROWS)
            profile = shard.add({"x": values}, START_MS + 1_000 * look)
            profile = msgspec.structs.replace(profile, segment=unit.segment)
            written.append(Record(home(unit), ends[home(unit)], profile))
            ends[home(unit)] += 1
    return written


class Worker:
    """What JudgeApp does, without Faust: a judge, what is ahead of its rows, and where it reads."""

    def __init__(self) -> None:
        self.judge = judge()
        self.pending = Pending()
        self.reads: dict[int, int] = {}

    def start(self, world: "World", mine: set[int]) -> None:
        for unit in self.judge.units:
            self.judge.forget(unit)
        self.pending = Pending()
        self.reads = {place: world.committed.get(place, 0) for place in mine}
        for unit, (place, blob) in world.rows.items():
            if place in mine:
                self.judge.restore(unit, blob)
                self.pending.restore_unit(unit, place, (0, 0))


def judge() -> Judge:
    known = [reference(f"m{number}", version) for number in range(MODELS) for version in "12"]
    return Judge(SETTINGS, known)


class World:
    """The log, the rows, the drift events, and the workers."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed + 1)
        written = publish(seed)
        self.log = [[r for r in written if r.partition == place] for place in range(PARTITIONS)]
        self.rows: dict[UnitKey, tuple[int, bytes]] = {}
        self.committed: dict[int, int] = {}
        self.published: Published = {}
        self.troubles: Counter[str] = Counter()
        self.workers = [Worker() for _ in range(WORKERS)]
        self.deal()

    def deal(self) -> None:
        """A rebalance: everybody starts from the rows."""
        owners = [self.chance.randrange(WORKERS) for _ in range(PARTITIONS)]
        for number, worker in enumerate(self.workers):
            worker.start(self, {place for place, owner in enumerate(owners) if owner == number})

    def run(self) -> None:
        while any(worker.reads[place] < len(self.log[place]) for worker in self.workers for place in worker.reads):
            worker = self.chance.choice(self.workers)
            for place in worker.reads:
                for _ in range(self.chance.randint(0, 12)):
                    self.judge_next(worker, place)
            self.write(worker, self.chance.random())
            if self.chance.random() < 0.15:
                self.troubles["rebalance"] += 1
                self.deal()
            elif self.chance.random() < 0.1:
                self.troubles["crash"] += 1
                worker.judge = judge()
                worker.start(self, set(worker.reads))

    def judge_next(self, worker: Worker, place: int) -> None:
        if worker.reads[place] == len(self.log[place]):
            return
        record = self.log[place][worker.reads[place]]
        worker.reads[place] += 1
        unit = record.profile.unit
        worker.pending.start_offset(place, record.offset)
        effects = worker.judge.on_profile(record.profile, 0, record.offset)
        worker.pending.mark_changed(unit, place, 0, record.offset)
        remember(self.published, effects)
        look_of(self.published, worker.judge, record.profile)
        if effects and self.chance.random() < 0.8:  # else it crashes between the two
            self.write_row(worker, unit)

    def write(self, worker: Worker, share: float) -> None:
        """Some of the rows that are due, and a commit."""
        for unit in worker.pending.due(0, 1_000):
            if self.chance.random() < share:
                self.write_row(worker, unit)
        self.committed.update(worker.pending.committable)

    def write_row(self, worker: Worker, unit: UnitKey) -> None:
        place = worker.pending.partitions[unit]
        self.rows[unit] = place, worker.judge.snapshot(unit)
        worker.pending.finish_offsets(place, worker.pending.start_row(unit))


def remember(published: Published, effects: Sequence[Effect]) -> None:
    """Keeps drift events. Raises Diverged where one is published again with another content."""
    for effect in effects:
        if isinstance(effect, DriftEvent):
            name, content = (effect.kind, effect.unit, *effect.what), msgspec.json.encode(effect.data)
            if published.setdefault(name, content) != content:
                raise Diverged(f"{name} is published again and differs")


def look_of(published: Published, judge: Judge, profile: Profile) -> None:
    """Keeps the threshold of the unit's last look. Raises Diverged where the same look had another one."""
    unit = judge._units[profile.unit]
    assert unit.look.watch is not None
    name = (profile.unit, unit.shards.newest[profile.shard].next_offset)
    content = str(unit.look.watch.evidence.threshold_log10).encode()
    if published.setdefault(name, content) != content:
        raise Diverged(f"{name} has the threshold {content!r}, and had {published[name]!r}")


def undisturbed(seed: int) -> tuple[Published, Judge]:
    """One judge that holds every unit and reads everything once, in the order in which it was written."""
    published: Published = {}
    whole, ends = judge(), Counter[str]()
    for record in publish(seed):
        model = record.profile.model
        remember(published, whole.on_profile(record.profile, 0, ends[model]))
        look_of(published, whole, record.profile)
        ends[model] += 1
    return published, whole


def simulate(seed: int) -> World:
    """Raises Diverged."""
    world = World(seed)
    world.run()
    wanted, whole = undisturbed(seed)
    if world.published != wanted:
        names = sorted(map(str, {k for k in {*wanted, *world.published} if wanted.get(k) != world.published.get(k)}))
        raise Diverged(f"seed {seed}: {len(names)} of {len(wanted)} differ: {names[:3]}")
    for worker in world.workers:
        for unit in worker.judge.units:
            if worker.judge.model_view(unit) != whole.model_view(unit):
                raise Diverged(f"seed {seed}: {unit}: another view than the undisturbed judge's")
    return world
