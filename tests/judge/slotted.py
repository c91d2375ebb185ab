"""Keyed partitions with slots: each partition has its own mean; closed and open profiles and marks in log order."""

import random
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
import orjson

from detectors.features import UnitKey
from detectors.profiles import Profile
from detectors.reference.builder import build_reference
from detectors.reference.reference import Reference
from stream.judge.effects import DriftEvent, Effect, IncidentRecord, ReferenceBuilt
from stream.judge.judge import Judge
from stream.observe.slots import Cut, Slots
from stream.topics.marks import Mark
from tests.judge.shards import MiniShard
from tests.settings.defaults import judge_settings

TOPIC = "inference-events"
START_MS = 1_763_700_000_000
SPREAD = 0.8
UNIT = UnitKey("m", "1", None)
FAR_MS = 1 << 50

Item = Profile | Mark


def keyed(rng: np.random.Generator, partitions: int, rows: int, seconds: int) -> list[dict[str, Any]]:
    """The log of each partition: times in ms and values of two features."""
    logs = []
    for partition in range(partitions):
        times = START_MS + np.sort(rng.integers(0, 1000 * seconds, rows))
        logs.append({"at": times, "x": rng.normal(SPREAD * partition, 1.0, rows), "y": rng.normal(0.0, 1.0, rows)})
    return logs


def reference_of(partitions: int, seed: int = 1) -> Reference:
    """That of all partitions together."""
    logs = keyed(np.random.default_rng(seed), partitions, 20_000 // partitions, 60)
    return build_reference("m", "1", {n: np.concatenate([log[n] for log in logs]) for n in ("x", "y")})


def records_of(
    reference: Reference, partition: int, log: dict[str, Any], partitions: int, chance: random.Random | None = None
) -> list[Item]:
    """What the worker of a partition sends. ``chance``: when it looks beyond its rows, at open slots and marks."""
    shard, slots, sent = MiniShard(reference, partition), Slots(1_000, 256, 0), list[Item]()
    at, start = log["at"], 0
    while start < len(at):
        end = slots.split(at, start)
        if end == start:
            sent.append(_profile(shard.profile(), slots.cut(), is_open=False))
            continue
        stop = end if chance is None else min(end, start + chance.randrange(1, 200))
        shard.add({n: log[n][start:stop] for n in ("x", "y")}, int(at[stop - 1]))
        slots.count(int(at[start]), stop - start)
        start = stop
        clock_ms = int(at[start - 1])
        if chance is not None and chance.random() < 0.5:
            if slots.open is not None and chance.random() < 0.5:
                sent.append(_profile(shard.profile(), slots.open, is_open=True))
            sent.append(Mark(1, TOPIC, partition, partitions, clock_ms, clock_ms, False))
    if slots.open is not None:
        sent.append(_profile(shard.profile(), slots.cut(), is_open=False))
    return [*sent, last_mark(partition, partitions)]


def last_mark(partition: int, partitions: int) -> Mark:
    """The partition has been read beyond all of its events."""
    return Mark(1, TOPIC, partition, partitions, FAR_MS, FAR_MS, False)


def _profile(profile: Profile, cut: Cut, *, is_open: bool) -> Profile:
    return msgspec.structs.replace(profile, slot_end_ms=cut.end_ms, slot_level=cut.level, slot_open=is_open)


def in_order(sent: Sequence[Sequence[Item]]) -> list[Item]:
    """The run in the order of event time: closed profiles by slot end, then the marks."""
    every = [item for items in sent for item in items]
    profiles = [item for item in every if isinstance(item, Profile) and not item.slot_open]
    marks = [item for item in every if isinstance(item, Mark) and item.clock_ms == FAR_MS]
    return [*sorted(profiles, key=lambda p: (p.slot_end_ms or 0, p.partition, p.events)), *marks]


def mixed(sent: Sequence[Sequence[Item]], chance: random.Random) -> list[Item]:
    """The records of all partitions in some order that keeps those of each; partitions run at different speeds."""
    left, found = [list(items) for items in sent], list[Item]()
    speed = [chance.choice((1, 1, 5, 50)) for _ in sent]
    while any(left):
        at = chance.choices(range(len(left)), [s * bool(items) for s, items in zip(speed, left, strict=True)])[0]
        take = chance.randrange(1, 4)
        found += left[at][:take]
        del left[at][:take]
    return found


def new_judge(references: Iterable[Reference], **changes: Any) -> Judge:
    return Judge(judge_settings(**changes), references)


def give(judge: Judge, items: Iterable[Item], now_ms: int = START_MS, first_offset: int = 0) -> list[Effect]:
    """Gives records to the judge one after the other."""
    effects: list[Effect] = []
    for offset, item in enumerate(items, first_offset):
        if isinstance(item, Mark):
            effects += judge.on_mark(item)
        else:
            effects += judge.on_profile(item, now_ms, offset)
    return effects


def plain(effects: Iterable[Effect], unit: UnitKey = UNIT) -> list[bytes]:
    """The unit's effects as bytes."""
    return [orjson.dumps(_plain(e), option=orjson.OPT_SERIALIZE_NUMPY) for e in effects if e.unit == unit]


def _plain(effect: Effect) -> Any:
    if isinstance(effect, DriftEvent):
        return [effect.kind.value, effect.at_ms, effect.data, [str(one) for one in effect.what]]
    if isinstance(effect, IncidentRecord):
        return [effect.id, effect.data]
    return effect.reference.digest if isinstance(effect, ReferenceBuilt) else effect.outcome.value
