"""Logs of keyed partitions that the real cores read: every partition has its own means, categories, rates and season.

All events come within the disorder that is allowed, except wild times in the future and events older than ``late_ms``,
which count in no slot of their own. So the looks at a log are those of the ordered run, whatever happens.
"""

import json
import math
import random
from functools import cache
from typing import NamedTuple

import numpy as np

from detectors.features import UnitKey
from detectors.reference.builder import build_reference
from detectors.reference.reference import Reference
from stream.judge.settings import JudgeSettings, SlotRules
from stream.observe.settings import ObserveSettings
from stream.topics.record import Record
from tests.settings.defaults import bank_settings, evidence_settings, judge_settings, observe_settings

TOPIC = "inference-events"
START_MS = 1_763_700_000_000
UNITS = (UnitKey("m0", "1", None), UnitKey("m0", "2", None), UnitKey("m1", "1", None))
PHASE_MS = 1_000_000
"""Event time between the first phase, from which references are learned, and the second one."""

MEANS = (0.0, 0.8, -0.8)
"""Of partitions, one after the other."""

SHARES = {"a": 0.5, "b": 0.3, "c": 0.2}


class Log(NamedTuple):
    """``records``: by phase and partition. ``added_ms``: when the partitions beyond the first ones are added; 0: at the
    beginning. ``known``: units whose reference is known from the beginning; the others learn theirs. ``old``: all of it
    is there before it is read, and its events are old by then."""

    records: tuple[tuple[tuple[Record, ...], ...], ...]
    first_partitions: int
    added_ms: int
    known: frozenset[UnitKey]
    old: bool
    observe: ObserveSettings
    judge: JudgeSettings

    @property
    def partitions(self) -> int:
        return len(self.records[0])

    @property
    def references(self) -> list[Reference]:
        """Those that are known from the beginning."""
        return [reference(unit) for unit in UNITS if unit in self.known]

    def begin_ms(self, phase: int) -> int:
        """The time of the oldest record of a phase."""
        return min((own[0].timestamp_ms for own in self.records[phase] if own), default=START_MS + phase * PHASE_MS)

    def end_ms(self, phase: int) -> int:
        """The time of the newest record of a phase."""
        return max((own[-1].timestamp_ms for own in self.records[phase] if own), default=START_MS + phase * PHASE_MS)


@cache
def reference(unit: UnitKey) -> Reference:
    """That of all partitions together, as far as one can know before."""
    rng = np.random.default_rng(UNITS.index(unit))
    x = rng.normal(rng.choice(MEANS, 3_000), 1.0)
    c = rng.choice(list(SHARES), 3_000, p=list(SHARES.values()))
    return build_reference(unit.model, unit.version, {"x": x, "c": [str(one) for one in c]})


class Change(NamedTuple):
    """A shift of the numbers, in standard deviations, between two times; ``partition`` None: in all partitions."""

    shift: float
    begin_ms: int
    end_ms: int
    partition: int | None
    unit: UnitKey

    def at(self, partition: int, unit: UnitKey, time_ms: int) -> float:
        here = self.partition in (None, partition) and unit == self.unit and self.begin_ms <= time_ms < self.end_ms
        return self.shift if here else 0.0


class Traffic:
    """Makes the records of one partition after the other."""

    def __init__(self, chance: random.Random, length_ms: int, disorder_ms: int) -> None:
        self.chance, self.length_ms, self.disorder_ms = chance, length_ms, disorder_ms
        self.units = chance.sample(UNITS, chance.randrange(1, 4))
        unit = chance.choice(self.units)
        self.changes = [self._change(phase, unit) for phase in (0, 0, 1, 1) if chance.random() < 0.5]
        self.total = chance.choice((60, 150, 300, 300))

    def _change(self, phase: int, unit: UnitKey) -> Change:
        chance, start_ms = self.chance, START_MS + phase * PHASE_MS
        begin_ms = start_ms + int(self.length_ms * chance.uniform(0.05, 0.6))
        lasts_ms = int(self.length_ms * chance.choice((0.15, 0.3, 2.0)))
        partition = chance.choice((None, None, 0))
        return Change(chance.choice((2.5, 4.0)), begin_ms, begin_ms + lasts_ms, partition, unit)

    def partition(self, number: int, phase: int, from_ms: int, offset: int) -> tuple[Record, ...]:
        """The records of a partition in one phase, none before ``from_ms``; the first one has ``offset``."""
        chance, start_ms = self.chance, START_MS + phase * PHASE_MS
        units = chance.sample(self.units, chance.randrange(1, len(self.units) + 1))
        share = chance.choice((0.0, 0.01, 0.1, 0.5, 1.0))
        gap = sorted(chance.randrange(self.length_ms) for _ in range(2)) if chance.random() < 0.5 else (0, 0)
        arrivals = sorted(chance.randrange(self.length_ms) for _ in range(int(share * self.total)))
        arrivals = [start_ms + at for at in arrivals if not gap[0] <= at < gap[1] and start_ms + at >= from_ms]
        records: list[Record] = []
        seen: list[dict[str, object]] = []
        for at_ms in arrivals:
            unit = chance.choice(units)
            time_ms = max(at_ms - chance.choice((0, 0, chance.randrange(self.disorder_ms + 1))), from_ms)
            event = self._event(number, offset + len(records), unit, time_ms)
            if seen and chance.random() < 0.04:
                event = chance.choice(seen)  # is repeated
            elif chance.random() < 0.01:
                event["ts"] = at_ms + chance.choice((700, 3_600_000))  # a clock that is ahead
            elif chance.random() < 0.02 and any(one["version"] == unit.version and one["model"] == unit.model
                                                for one in seen):  # fmt: skip
                event["ts"] = at_ms - 200_000_000
            else:
                seen.append(event)
            data = b"rubbish" if chance.random() < 0.01 else json.dumps(event).encode()
            records.append(Record(offset + len(records), at_ms, None, data))
        return tuple(records)

    def _event(self, number: int, offset: int, unit: UnitKey, time_ms: int) -> dict[str, object]:
        chance = self.chance
        season = 0.4 * math.sin((time_ms - START_MS) / self.length_ms * 6.0 + number)
        shift = sum(change.at(number, unit, time_ms) for change in self.changes)
        names = list(SHARES)
        weights = [*SHARES.values()][number % 3 :] + [*SHARES.values()][: number % 3]
        features: dict[str, object] = {"x": round(chance.gauss(MEANS[number % 3] + season + shift, 1.0), 3)}
        if chance.random() < 0.95:
            features["c"] = chance.choices(names, weights)[0]
        return {"id": f"{number}-{offset}", "model": unit.model, "version": unit.version, "ts": time_ms,
                "features": features}  # fmt: skip


def log(seed: int) -> Log:
    """The log of one seed."""
    chance = random.Random(f"log {seed}")
    length_ms, disorder_ms = chance.choice((4_000, 12_000, 40_000)), chance.choice((200, 1_000, 1_000, 3_000))
    partitions, traffic = chance.randrange(1, 5), Traffic(chance, length_ms, disorder_ms)
    first_partitions = chance.randrange(1, partitions + 1) if chance.random() < 0.3 else partitions
    added_ms = START_MS + chance.randrange(length_ms) if first_partitions < partitions else 0
    known = frozenset(unit for unit in traffic.units if chance.random() < 0.75)
    phases = 1 if known == frozenset(traffic.units) else 2
    offsets = [0] * partitions
    records = []
    for phase in range(phases):
        own = []
        for number in range(partitions):
            from_ms = added_ms + disorder_ms if number >= first_partitions else 0
            own.append(traffic.partition(number, phase, from_ms, offsets[number]))
            offsets[number] += len(own[-1])
        records.append(tuple(own))
    look_ms, look_events = chance.choice((400, 1_000, 1_000)), chance.choice((16, 32, 64))
    return Log(tuple(records), first_partitions, added_ms, known, chance.random() < 0.2,
               _observe(look_ms, look_events), _judge(look_ms, disorder_ms, seed % 3 == 2))  # fmt: skip


@cache
def _observe(look_ms: int, look_events: int) -> ObserveSettings:
    return observe_settings(bank=bank_settings(detectors=()), look_ms=look_ms, look_events=look_events)


@cache
def _judge(look_ms: int, disorder_ms: int, season: bool) -> JudgeSettings:
    """A third of the logs learn their season. The others are judged against the reference alone: a few hundred
    events of some seconds then open and resolve more incidents."""
    blind = judge_settings().blind
    rules = type(blind)(**{**{f: getattr(blind, f) for f in blind.__struct_fields__}, "lag_ms": 2_500})
    return judge_settings(
        learning_events=60, resolve_after_events=25, reopen_ms=10_000, blind=rules,
        slots=SlotRules((TOPIC,), disorder_ms, look_ms),
        evidence=evidence_settings(event_times="slots" if season else "none"),
    )  # fmt: skip
