"""Memory of a shard, measured in a process of its own and without a broker: ``python -m benchmarks.scale.memory``.

The growth of the process's resident set, divided by the features, over 200 models of 20 features: first their
references are read and each counts 2,000 events in one partition, then 2,000 more in a second one. What the second adds
is a shard's: counts, sketches, river's windows, rows that wait for a block, and the ids by which repeats are known.
What the first took beyond that is the reference's, which the shards of a worker share.
"""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.scale import load as loads
from benchmarks.scale.load import Load
from benchmarks.throughput.traffic import START_MS
from detectors.profiles import Profile
from detectors.reference import reference
from stream.observe.effects import Effects
from stream.observe.observer import Observer
from stream.observe.shell import settings
from stream.settings.settings import Settings
from stream.topics.record import Partition, Record
from tests.kafka.server import ROOT

LOAD, EVENTS = Load("", models=200), 2_000
HERE, THERE = Partition("inference-events", 0), Partition("inference-events", 1)
LOOK_EVENTS = 300
"""Events of a model per second of event time."""


class Kept(NamedTuple):
    """Bytes per feature; ``checkpoint_bytes``: of the record of a whole shard."""

    shard_bytes: float
    reference_bytes: float
    checkpoint_bytes: float


def measure() -> Kept:
    """Measures in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale.memory"]
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=ROOT, timeout=600, check=True)
    return Kept(**json.loads(done.stdout))


def resident_bytes() -> int:
    """Resident bytes of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def observing(load: Load) -> Observer:
    """An observer that has read the load's references as from Kafka, each from a record of its own."""
    encoded = map(reference.encode, loads.references(load))
    return Observer(settings.observe_settings(Settings()), (reference.decode(one, "") for one in encoded))


def fold(observer: Observer, place: Partition, load: Load, events: int) -> Iterator[list[Profile]]:
    """Assigns a partition and reads ``count`` events of every model, look by look. Yields the profiles of each look."""
    rows = loads.bodies(load.features, 7)
    observer.assign(place)
    _fold(observer, place, load, rows, range(1))
    checkpoint = observer.checkpoint(place)
    for unit in checkpoint.dirty:
        checkpoint.encode(unit)
    checkpoint.acknowledged()
    for first in range(1, events, LOOK_EVENTS):
        yield _fold(observer, place, load, rows, range(first, first + LOOK_EVENTS))


def _fold(observer: Observer, place: Partition, load: Load, rows: list[bytes], numbers: range) -> list[Profile]:
    """Reads events as a worker does: the models take turns, and rows that are not due wait."""
    profiles = []
    for number in numbers:
        records, effects = [], Effects()
        for model in range(load.models):
            at_ms, offset = START_MS + 1_000 * number // LOOK_EVENTS, number * load.models + model
            value = loads.event(offset, model, at_ms, rows[offset % len(rows)])
            records.append(Record(offset, at_ms, None, value))
        for _ in observer.steps(place, records, effects):
            """Every step follows the last one at once."""
        profiles += effects.profiles
    return profiles


def _grown(observer: Observer, place: Partition, load: Load, events: int, before: int) -> int:
    """Resident bytes that reading adds."""
    for _ in fold(observer, place, load, events):
        """The profiles are not needed."""
    gc.collect()
    return resident_bytes() - before


def _run() -> Kept:
    one = Load("", models=1)
    _grown(observing(one), HERE, one, LOOK_EVENTS, 0)  # makes what is made only once
    gc.collect()
    before = resident_bytes()
    observer = observing(LOAD)
    first = _grown(observer, HERE, LOAD, EVENTS, before)
    second = _grown(observer, THERE, LOAD, EVENTS, before + first)
    checkpoint, features = observer.checkpoint(THERE), LOAD.models * LOAD.features
    stored = [len(checkpoint.encode(unit)[1]) for unit in checkpoint.dirty]
    return Kept(second / features, (first - second) / features, sum(stored) / len(stored))


if __name__ == "__main__":
    print(json.dumps(_run()._asdict()))
