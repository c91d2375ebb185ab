"""A small model of judging by event time: shards cut their counts at slot ends, a judge merges them slot by slot.

The model is the scheme without numbers, sketches and Kafka: a count stands for all that a shard counts. It was made
before the product's code, to find out which rules are needed. ``Rules`` switches them off one by one, and a test shows
that each is needed: without it some seed gives looks that differ from those of the ordered run.

    log of a partition --> Shards (clock, slots, marks, checkpoints) --> profiles topic --> Judge (buffer, frontier)

Times are integers in ticks. A slot of level k is 2^k ticks long and begins at a multiple of its length.
"""

import random
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

MOST_LEVEL = 6
FEW, MANY = 4, 16
"""A slot with fewer events is followed by one twice as long, a slot with as many by one half as long."""

SHARE = 16
"""A shard with less than a sixteenth of a unit's recent events does not lengthen the unit's looks."""


class Event(NamedTuple):
    """One record of a partition. ``at``: when the broker got it."""

    unit: int
    time: int
    at: int


class Cut(NamedTuple):
    """A shard's profile at the end of a slot: everything up to there, counted since the beginning."""

    unit: int
    partition: int
    end: int
    level: int
    count: int


class Mark(NamedTuple):
    """Of a partition: every slot that ends at or before ``clock`` is published. ``read_to_end_at``: when the reader
    had read all there was, by the wall clock; None: not now."""

    partition: int
    clock: int
    wall: int
    read_to_end_at: int | None


@dataclass(frozen=True)
class Rules:
    """The rules of the scheme. Each can be switched off, to see what it is good for."""

    by_slots: bool = True
    """The judge waits for the frontier; else it looks at whatever has arrived."""
    marks_after_profiles: bool = True
    """Whoever sends a mark sends all that it stands for before."""
    idle_as_of: bool = True
    """A partition that was read to its end counts as having reached what others showed by then, and no more."""
    idle_waits: bool = True
    """Less the disorder that is allowed."""
    no_future: bool = True
    """A time beyond that at which the broker got the event does not move the partition's clock."""
    clock_of_partition: bool = True
    """An event counts in the slot of its partition's clock; else of its own time."""
    level_from_log: bool = True
    """The length of slots follows from the events; else from how much is read at once."""
    commit_judged: bool = True
    """What the judge has read and not judged is read again after a restart."""
    open_slots: bool = True
    """Who has read to the end publishes the slots that are open, too."""
    every_partition: bool = True
    """The frontier is of all partitions; else of those from which the unit was seen."""


@dataclass
class Shard:
    """One unit in one partition: all counts, and the slot that is open."""

    count: int = 0
    in_slot: int = 0
    end: int = 0  # of the open slot
    level: int = 0
    shown: int = 0  # the count that was published before its slot ended


@dataclass(eq=False)
class Reader:
    """Whoever owns a partition: its clock, its shards, where it reads on."""

    partition: int
    rules: Rules
    offset: int = 0
    clock: int = -1
    shards: dict[int, Shard] = field(default_factory=dict)

    def copy(self) -> "Reader":
        shards = {unit: replace(shard) for unit, shard in self.shards.items()}
        return replace(self, shards=shards)

    def read(self, event: Event, at_once: int) -> list[Cut]:
        """Counts one event; the slots that it ends in its own unit."""
        self.offset += 1
        self.clock = max(self.clock, min(event.time, event.at) if self.rules.no_future else event.time)
        time = self.clock if self.rules.clock_of_partition else event.time
        shard = self.shards.setdefault(event.unit, Shard())
        cuts = []
        if shard.in_slot and time >= shard.end:
            cuts.append(self.cut(event.unit, at_once))
        if not shard.in_slot:
            shard.end = _end(time, shard.level)
        shard.count += 1
        shard.in_slot += 1
        return cuts

    def cut(self, unit: int, at_once: int) -> Cut:
        """Ends the unit's open slot. How long the next one is follows from how much was in it."""
        shard = self.shards[unit]
        done = Cut(unit, self.partition, shard.end, shard.level, shard.count)
        seen = shard.in_slot if self.rules.level_from_log else at_once
        if seen >= MANY and shard.level > 0:
            shard.level -= 1
        elif seen < FEW and shard.level < MOST_LEVEL and shard.end % (2 << shard.level) == 0:
            shard.level += 1
        shard.in_slot = 0
        return done

    def open_slots(self) -> list[Cut]:
        """What is in the slots that are open. Later cuts with the same end hold it too."""
        found = []
        for unit, shard in sorted(self.shards.items()):
            if shard.in_slot and shard.count != shard.shown:
                shard.shown = shard.count
                found.append(Cut(unit, self.partition, shard.end, shard.level, shard.count))
        return found

    def closed(self, at_once: int) -> list[Cut]:
        """Slots that the partition's clock has passed."""
        return [self.cut(u, at_once) for u, s in sorted(self.shards.items()) if s.in_slot and s.end <= self.clock]


def _end(time: int, level: int) -> int:
    return ((time >> level) + 1) << level


class Look(NamedTuple):
    """What the judge looked at: the slot end and what of each partition was new."""

    end: int
    arrived: tuple[tuple[int, int], ...]


@dataclass
class UnitJudge:
    """What the judge keeps of a unit in its row."""

    looked: int = 0
    level: int = 0
    merged: dict[int, int] = field(default_factory=dict)  # partition -> count
    recent: dict[int, tuple[int, int]] = field(default_factory=dict)  # partition -> level, recent events
    looks: list[Look] = field(default_factory=list)

    def copy(self) -> "UnitJudge":
        return replace(self, merged=dict(self.merged), recent=dict(self.recent), looks=list(self.looks))


class Judge:
    """Reads cuts and marks in the order of their topic and looks at each unit slot by slot."""

    def __init__(self, partitions: int, disorder: int, rules: Rules) -> None:
        self.partitions, self.disorder, self.rules = partitions, disorder, rules
        self.units: dict[int, UnitJudge] = {}
        self.buffer: dict[int, dict[tuple[int, int], tuple[Cut, int]]] = {}  # unit -> (end, partition) -> cut, place
        self.clocks: dict[int, int] = {}
        self.newest: list[tuple[int, int]] = []  # wall, newest time of any partition by then
        self.idle: dict[int, int] = {}

    def take(self, record: Cut | Mark, place: int) -> None:
        """The record at ``place`` of the topic."""
        if isinstance(record, Mark):
            self._mark(record)
        else:
            self.keep(record, place)
            if not self.rules.by_slots:
                self._look(record.unit, record.end)
                return
        for unit in list(self.buffer):
            self.advance(unit)

    def keep(self, cut: Cut, place: int) -> None:
        """The cut waits for the frontier; of two with the same end the one that holds more."""
        waiting = self.buffer.setdefault(cut.unit, {})
        before, first = waiting.get((cut.end, cut.partition), (cut, place))
        waiting[cut.end, cut.partition] = max(cut, before, key=lambda one: one.count), first

    def _mark(self, mark: Mark) -> None:
        self.clocks[mark.partition] = max(self.clocks.get(mark.partition, -1), mark.clock)
        newest = max(mark.clock, self.newest[-1][1] if self.newest else -1)
        if not self.newest or newest > self.newest[-1][1]:
            self.newest.append((max(mark.wall, self.newest[-1][0] if self.newest else 0), newest))
        if mark.read_to_end_at is not None:
            self.idle[mark.partition] = max(self.idle.get(mark.partition, -1), mark.read_to_end_at)

    def bound(self, partition: int) -> int:
        """The time that a partition has reached: nothing more of it counts before."""
        own, idle = self.clocks.get(partition, -1), self.idle.get(partition)
        if idle is None:
            return own
        if not self.rules.idle_as_of:
            return max(own, self.newest[-1][1] if self.newest else -1)
        wait = self.disorder if self.rules.idle_waits else 0
        at = bisect_right(self.newest, (idle, 1 << 60))
        begin = max(bisect_right(self.newest, (idle - wait, 1 << 60)) - 1, 0)
        return max([own, *(newest + idle - wall - wait for wall, newest in self.newest[begin:at])])

    def frontier(self, unit: int) -> int:
        """Up to where all partitions have been read."""
        of = range(self.partitions) if self.rules.every_partition else {p for _, p in self.buffer[unit]}
        return min((self.bound(partition) for partition in of), default=-1)

    def advance(self, unit: int) -> None:
        """Looks at every slot of the unit that the frontier has passed, in order."""
        frontier = self.frontier(unit)
        while self.buffer.get(unit):
            first = min(self.buffer[unit])[0]
            state = self.units.setdefault(unit, UnitJudge())
            end = _end(max(first, state.looked + 1) - 1, state.level)
            if end > frontier:
                return
            self._look(unit, end)

    def _look(self, unit: int, end: int) -> None:
        """Takes everything that ends by ``end``, once."""
        state = self.units.setdefault(unit, UnitJudge())
        waiting = self.buffer[unit]
        due = [waiting.pop(key)[0] for key in sorted(waiting) if key[0] <= end]
        arrived: dict[int, int] = {}
        for cut in sorted(due, key=lambda cut: (cut.partition, cut.count)):
            count = state.merged.get(cut.partition, 0)
            if cut.count <= count:
                continue
            state.merged[cut.partition] = cut.count
            arrived[cut.partition] = arrived.get(cut.partition, 0) + cut.count - count
            state.recent[cut.partition] = cut.level, state.recent.get(cut.partition, (0, 0))[1]
        if not arrived:
            return
        state.looked = max(end, state.looked)
        state.looks.append(Look(end, tuple(sorted(arrived.items()))))
        for partition, (level, recent) in state.recent.items():
            state.recent[partition] = level, recent // 2 + 16 * arrived.get(partition, 0)
        total = sum(recent for _, recent in state.recent.values())
        state.level = max(level for level, recent in state.recent.values() if SHARE * recent >= total)

    def committed(self, place: int) -> int:
        """Where to read on after a restart from a row that is written now, ``place`` being read next."""
        if not self.rules.commit_judged:
            return place
        places = [at for waiting in self.buffer.values() for _, at in waiting.values()]
        return min([place, *places])

    def row(self) -> dict[int, UnitJudge]:
        """What is stored: the units without what waits."""
        return {unit: state.copy() for unit, state in self.units.items()}


def ordered(logs: list[list[Event]], disorder: int) -> dict[int, list[Look]]:
    """The looks of the run in the order of event time: every partition cut whole, the cuts by their slots' ends."""
    rules = Rules()
    cuts: list[Cut] = []
    for partition, log in enumerate(logs):
        reader = Reader(partition, rules)
        for event in log:
            cuts += reader.read(event, 1) + reader.closed(1)
        cuts += [reader.cut(unit, 1) for unit, shard in sorted(reader.shards.items()) if shard.in_slot]
    judge = Judge(len(logs), disorder, rules)
    for cut in sorted(cuts, key=lambda cut: (cut.end, cut.partition, cut.count)):
        judge.keep(cut, 0)
    judge.clocks = dict.fromkeys(range(len(logs)), 1 << 40)
    for unit in list(judge.buffer):
        judge.advance(unit)
    return {unit: state.looks for unit, state in judge.units.items()}


def logs(chance: random.Random, disorder: int, *, wild: bool) -> list[list[Event]]:
    """Partitions with rates and units of their own: empty ones, gaps, disorder within the bound, perhaps wild times."""
    found = []
    length = chance.choice((200, 600, 1500))
    for _ in range(chance.randrange(2, 6)):
        events: list[Event] = []
        rate = chance.choice((0, 0.02, 0.2, 1, 4))
        units = chance.sample(range(3), chance.randrange(1, 4))
        gaps = [(at, at + chance.randrange(length)) for at in (chance.randrange(length) for _ in range(2))]
        for now in range(length):
            if any(begin <= now < end for begin, end in gaps[: chance.choice((2, 2, 0))]):
                continue
            for _ in range(int(rate) + (chance.random() < rate % 1)):
                time = now
                if wild and chance.random() < 0.002:
                    time = now + chance.choice((500, 5000, -3000))
                events.append(Event(chance.choice(units), max(0, time), now + chance.randrange(disorder // 2)))
        events.sort(key=lambda event: event.at)
        found.append(events)
    return found


class World:
    """Readers and judges of a profiles topic, under one seed: lag, crashes, zombies, restarts of the judge."""

    def __init__(self, logs: list[list[Event]], seed: int, disorder: int, rules: Rules, *, failures: bool) -> None:
        self.chance = random.Random(seed)
        self.logs, self.disorder, self.rules, self.failures = logs, disorder, rules, failures
        self.topic: list[Cut | Mark] = []
        self.now = 0
        self.readers = [Reader(partition, rules) for partition in range(len(logs))]
        self.zombies: list[Reader] = []
        self.saved = [reader.copy() for reader in self.readers]
        self.judge = Judge(len(logs), disorder, rules)
        self.place = 0
        self.row: tuple[dict[int, UnitJudge], int] = ({}, 0)
        self.speed = [self.chance.choice((1, 3, 50)) for _ in logs]
        self.frozen = {p: self.chance.randrange(400) for p in range(len(logs)) if self.chance.random() < 0.3}
        self.late: list[tuple[int, list[Cut | Mark]]] = []  # what a frozen process sends when it wakes

    def run(self) -> dict[int, list[Look]]:
        """Until everything is read and judged."""
        end = max((log[-1].at for log in self.logs if log), default=0)
        while self.now <= end + 4 * self.disorder + 450:
            self.now += 1
            self._turn()
        self.failures, self.zombies = False, []
        self.late = [(0, records) for _, records in self.late]
        for reader in self.readers:
            self._read(reader, len(self.logs[reader.partition]))
        self._turn()
        for reader in self.readers:  # the stream has ended: what is open is cut
            self.topic += [reader.cut(unit, 1) for unit, shard in sorted(reader.shards.items()) if shard.in_slot]
        self.topic += [Mark(p, 1 << 40, 1 << 40, None) for p in range(len(self.logs))]
        self._judge(len(self.topic))
        return {unit: state.looks for unit, state in self.judge.units.items()}

    def _turn(self) -> None:
        self.topic += [record for at, records in self.late if at <= self.now for record in records]
        self.late = [(at, records) for at, records in self.late if at > self.now]
        for reader in [*self.readers, *self.zombies]:
            p = reader.partition
            if self.chance.random() < 0.5:
                frozen = self.frozen.get(p, 0) > self.now and reader in self.readers
                self._read(reader, 0 if frozen else self.chance.randrange(2 * self.speed[p] + 1))
            if self.failures and reader in self.readers and self.chance.random() < 0.02:
                self.saved[p] = reader.copy()
            if self.failures and reader in self.readers and self.chance.random() < 0.004:
                self.zombies = [reader] if self.chance.random() < 0.5 else []
                self.readers[p] = self.saved[p].copy()
        if self.zombies and self.chance.random() < 0.05:
            self.zombies = []
        self._judge(self.chance.choice((0, 1, 3, 100)))

    def _read(self, reader: Reader, most: int) -> None:
        log = self.logs[reader.partition]
        sent: list[Cut | Mark] = []
        there = [event for event in log[reader.offset : reader.offset + most] if event.at <= self.now]
        for event in there:
            sent += reader.read(event, len(there))
        at_end = reader.offset == len(log) or log[reader.offset].at > self.now
        marked = self.chance.random() < 0.3
        mark = Mark(reader.partition, reader.clock, self.now, self.now if at_end else None)
        if marked and self.rules.marks_after_profiles:
            sent += reader.closed(len(there))
            if at_end and self.rules.open_slots:
                sent += reader.open_slots()
            sent.append(mark)
        elif marked:
            sent = [mark, *sent, *reader.closed(len(there))]
        if self.failures and self.chance.random() < 0.01:
            self.late.append((self.now + self.chance.randrange(100), sent))
            if reader in self.readers:  # it will not go on: another one takes over from what was saved
                self.readers[reader.partition] = self.saved[reader.partition].copy()
            self.zombies = [zombie for zombie in self.zombies if zombie is not reader]
            return
        self.topic += sent

    def _judge(self, most: int) -> None:
        for _ in range(most):
            if self.place >= len(self.topic):
                break
            self.judge.take(self.topic[self.place], self.place)
            self.place += 1
        if not self.failures:
            return
        if self.chance.random() < 0.05:
            self.row = self.judge.row(), self.judge.committed(self.place)
        if self.chance.random() < 0.01:
            self.judge = Judge(len(self.logs), self.disorder, self.rules)
            self.judge.units, self.place = {u: s.copy() for u, s in self.row[0].items()}, self.row[1]


def differing(seeds: Iterable[int], rules: Rules | None = None, interleavings: int = 3) -> Iterator[tuple[int, int]]:
    """Seeds of logs and of interleavings whose looks are not those of the ordered run."""
    rules = rules or Rules()
    for seed in seeds:
        chance = random.Random(seed)
        disorder = chance.choice((4, 10, 20))
        log = logs(chance, disorder, wild=seed % 4 == 0)
        wanted = ordered(log, disorder)
        for number in range(interleavings):
            world = World(log, 1000 * seed + number, disorder, rules, failures=number > 0)
            if world.run() != wanted:
                yield seed, number
