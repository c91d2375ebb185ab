"""Logs to simulate with, and the oracle: the state of one uninterrupted reader of them."""

import json
import random
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec
import numpy as np

from detectors.bank.prepared import PreparedReference
from detectors.features import UnitKey
from detectors.profiles import Profile
from detectors.reference.builder import build_reference
from detectors.reference.reference import Reference
from stream.formats.decoder import Decoded, Decoder
from stream.observe.observer import Observer
from stream.observe.prepared import PreparedReferences
from stream.observe.settings import ObserveSettings
from stream.topics import checkpoints
from stream.topics.record import Partition, Record
from tests.settings.defaults import bank_settings, observe_settings

TOPIC = "inference-events"
START_MS = 1_763_700_000_000
STEP_MS = 300
LENGTH = 28
"""Records of a partition."""
LOGS = 12
"""Different logs that the seeds choose from, so that their oracles are folded once."""
MODELS = ("m0", "m1", "m2")

PLAIN = observe_settings(bank=bank_settings(detectors=()), look_events=3, recent_ids=6, max_units=4)
"""Few units, few remembered ids, many looks: what is rare in production happens in every run here."""
WATCHING = msgspec.structs.replace(PLAIN, bank=bank_settings())
"""With the detectors, which cost ten times as much."""


@lru_cache(maxsize=1)
def references() -> tuple[Reference, ...]:
    """The references: three for the first model, one for the second; the third model learns."""
    rng = np.random.default_rng(5)
    made = [build_reference("m0", "1", {"x": rng.normal(shift, 1.0, 60)}) for shift in (0.0, 1.0, 2.0)]
    return (*made, build_reference("m1", "1", {"x": rng.normal(size=60), "c": ["a", "b"] * 30}))


@lru_cache(maxsize=4 * LOGS)
def log(seed: int, number: int) -> tuple[Record, ...]:
    """One log: missing and wrong values, repeats, late events, arrays, rubbish, and more units than there is room
    for."""
    chance, last = random.Random(f"{seed}/{number}"), 0
    records = []
    for offset in range(LENGTH):
        last = last if chance.random() < 0.1 else offset
        event = {
            "id": f"e{last}",
            "model": chance.choice(MODELS),
            "version": "1" if chance.random() < 0.9 else chance.choice("234"),
            "ts": START_MS + offset * STEP_MS - (200_000_000 if chance.random() < 0.03 else 0),
            "features": {"x": chance.choice([chance.gauss(0, 1), None, "text"]) if last % 5 == 0 else chance.random()},
        }
        if chance.random() < 0.4:
            event["features"]["c"] = chance.choice("abc")  # type: ignore[index]
        value: object = event
        if chance.random() < 0.1:
            value = [{**event, "id": f"e{last}.{row}", "ts": event["ts"] + row * 2_000} for row in range(4)]  # type: ignore[operator]
        data = b"rubbish" if chance.random() < 0.06 else json.dumps(value).encode()
        records.append(Record(offset, START_MS + offset * STEP_MS, None, data))
    return tuple(records)


def state_of(observer: Observer, place: Partition) -> dict[bytes, bytes]:
    """Every unit's whole state, unpacked, once all that may be published is and every slot that has ended is cut."""
    run = observer.checkpoint(place)
    for key in run.dirty:
        run.encode(key)
    run.acknowledged()
    for _ in observer.mark(place, 1, 0, read_to_end=False):
        """It is published."""
    for unit in observer._partitions[place].units.values():
        unit.dirty = True
    run = observer.checkpoint(place)
    records = dict(run.encode(unit) for unit in run.dirty)
    return {key: checkpoints.unit_blob(checkpoints.decode_unit(value, ""), "") for key, value in records.items()}


class RememberingDecoder(Decoder):
    """Reads a stretch of a log once for all seeds: reading is a function of the bytes alone and is tested elsewhere."""

    __slots__ = ()

    def steps(
        self, partition: Partition, records: Sequence[Record], decoded: Decoded, *, fast: bool = False
    ) -> Iterator[None]:
        found = _decoded(partition, tuple(records), decoded.clock_ms)
        decoded.clock_ms = found.clock_ms
        decoded.parts, decoded.rejects, decoded.limited = found.parts, found.rejects, found.limited
        yield


@lru_cache(maxsize=20_000)
def _decoded(partition: Partition, records: tuple[Record, ...], clock_ms: int | None) -> Decoded:
    """Decodes by the general path, which is faster for few records; other tests show that both paths give the same."""
    decoded = Decoded(clock_ms)
    for _ in Decoder(PLAIN.rules, PLAIN.message).steps(partition, records, decoded, fast=False):
        """Without a break."""
    return decoded


class PreparedOnce(dict[UnitKey | None, PreparedReference]):
    """What observers derive from a reference, shared by those of all seeds."""

    def __init__(self, known: PreparedReferences) -> None:
        super().__init__({None: _prepared(None)})
        self._known = known

    def get(self, target: UnitKey | None, default: object = None) -> PreparedReference:  # type: ignore[override]
        if target not in self:
            self[target] = _prepared(self._known._references[target].digest)  # type: ignore[index]
        return self[target]


@lru_cache
def _prepared(digest: str | None) -> PreparedReference:
    return PreparedReference(next((r for r in references() if r.digest == digest), None))


def observer(settings: ObserveSettings, known: Sequence[int]) -> Observer:
    made = Observer(settings, [references()[at] for at in known])
    made._references._prepared = PreparedOnce(made._references)
    if settings is PLAIN:
        made._decoder = RememberingDecoder(settings.rules, settings.message)
    return made


@lru_cache(maxsize=1_000)
def oracle_state(watching: bool, known: tuple[int, ...], seed: int, number: int) -> dict[bytes, bytes]:
    """State at the log's end under references that never change."""
    place = Partition(TOPIC, number)
    made = observer(WATCHING if watching else PLAIN, known)
    made.assign(place)
    made.process(place, log(seed, number))
    return state_of(made, place)


@lru_cache(maxsize=4 * LOGS)
def oracle_events(seed: int, number: int) -> dict[UnitKey, int]:
    """Events of each unit at the log's end, under any reference."""
    place, made = Partition(TOPIC, number), observer(PLAIN, ())
    made.assign(place)
    made.process(place, log(seed, number))
    return {key: unit.publish(0).events for key, unit in made._partitions[place].units.items()}


def unreadable(seed: int, number: int) -> set[tuple[int, int]]:
    return {(number, record.offset) for record in log(seed, number) if record.value == b"rubbish"}


def oracle_profiles(settings: ObserveSettings, seed: int, profile: Profile) -> list[Profile]:
    """All correct contents of the profile: as of its record with its slot open or ended, or an ended slot before it."""
    at = next((at for at, r in enumerate(references()) if r.digest == profile.epoch.reference), None)
    return _folded(settings is WATCHING, seed, profile.partition, profile.unit, at, profile.epoch.first_offset,
                   profile.next_offset)  # fmt: skip


@lru_cache(maxsize=50_000)
def _folded(
    watching: bool, seed: int, number: int, key: UnitKey, known: int | None, begin: int, end: int
) -> list[Profile]:
    """A unit folded in two pieces, switched once where its epoch begins."""
    place, records = Partition(TOPIC, number), log(seed, number)
    made = observer(WATCHING if watching else PLAIN, [] if begin or known is None else [known])
    made.assign(place)
    made.process(place, records[:begin])
    if known is not None:
        made.set_reference(references()[known])
    made.process(place, records[begin : end - 1])
    units = made._partitions[place].units
    for other in units.values():
        other.durable = True
    cuts = made.process(place, records[max(begin, end - 1) : end]).profiles
    opened = units[key].publish(0)
    units[key].cut_passed(1 << 62)
    ended = units[key].publish(0)
    return [opened, ended, msgspec.structs.replace(ended, slot_open=True), *cuts]
