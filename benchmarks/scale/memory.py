"""What a shard keeps in memory, in a process of its own and without a broker: ``python -m benchmarks.scale.memory``.

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
from stream.observe.observer import Effects, Observer
from stream.observe.shell import settings
from stream.settings.settings import Settings
from stream.topics.record import Partition, Record
from tests.kafka.server import ROOT

LOAD, EVENTS = Load("", models=200), 2_000
HERE, THERE = Partition("inference-events", 0), Partition("inference-events", 1)
LOOK_EVENTS = 300
"""In event time a model has so many a second."""


class Kept(NamedTuple):
    """For each feature; ``checkpoint_bytes`` of a whole shard's record."""

    shard_bytes: float
    reference_bytes: float
    checkpoint_bytes: float


def measure() -> Kept:
    """In a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale.memory"]
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=ROOT, timeout=600, check=True)
    return Kept(**json.loads(done.stdout))


def resident_bytes() -> int:
    """Of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def observing(load: Load) -> Observer:
    """That has read the load's references as they come from Kafka, each a record of its own."""
    encoded = map(reference.encode, loads.references(load))
    return Observer(settings.observe_settings(Settings()), (reference.decode(one, "") for one in encoded))


def fold(observer: Observer, place: Partition, load: Load, events: int) -> Iterator[list[Profile]]:
    """A new partition with so many events of every model, look by look; the profiles of each."""
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
    """As a worker does it: events of all models in turn, and rows that are not due wait."""
    profiles = []
    for number in numbers:
        records, effects = [], Effects()
        for model in range(load.models):
            at_ms, offset = START_MS + 1_000 * number // LOOK_EVENTS, number * load.models + model
            value = loads.event(offset, model, at_ms, rows[offset % len(rows)])
            records.append(Record(offset, at_ms, None, value))
        for _ in observer.steps(place, records, effects):
            """Without a break."""
        profiles += effects.profiles
    return profiles


def _grown(observer: Observer, place: Partition, load: Load, events: int, before: int) -> int:
    """Resident bytes above those before."""
    for _ in fold(observer, place, load, events):
        """The profiles are somebody else's matter."""
    gc.collect()
    return resident_bytes() - before


def _run() -> Kept:
    one = Load("", models=1)
    _grown(observing(one), HERE, one, LOOK_EVENTS, 0)  # what is made only once is made
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
