"""Microseconds per event of the hot path and its pieces, in one process and without a broker.

``python -m benchmarks.hotpath [--events N]``
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from river.drift import ADWIN

from detectors.bank.bank import Bank
from detectors.features import UnitKey
from detectors.reference.builder import build_reference
from detectors.reference.reference import Reference
from stream.formats.decoder import Decoder
from stream.observe.observer import Observer
from stream.observe.shell.settings import observe_settings
from stream.settings.settings import Settings
from stream.topics.record import Partition, Record

HERE = Partition("inference-events", 0)
START_MS = 1_763_700_000_000
POLL = 5_000
KINDS = ("numbers", "with-missing", "categorical", "mixed-shape")


def features(kind: str, rng: np.random.Generator, count: int) -> dict[str, Any]:
    """One event's features."""
    numbers = [round(float(v), 6) for v in rng.normal(size=count)]
    values: dict[str, Any] = {f"feature_{i}": v for i, v in enumerate(numbers)}
    if kind == "with-missing":
        for name in rng.choice(count, 2, replace=False):
            values[f"feature_{name}"] = None
    elif kind == "categorical":
        for i in range(count // 2):
            values[f"feature_{i}"] = f"c{int(rng.integers(50))}" if i % 2 else bool(rng.integers(2))
    elif kind == "mixed-shape" and rng.random() < 0.3:
        for name in rng.choice(count, 3, replace=False):
            del values[f"feature_{name}"]
    return values


def log(kind: str, rows: int, count: int = 20, models: int = 1) -> list[Record]:
    """Events as a publisher writes them; the models take turns."""
    rng = np.random.default_rng(0)
    records = []
    for offset in range(rows):
        event = {
            "id": f"5f3759df-{offset:x}",
            "model": f"model_{offset % models}",
            "version": "3",
            "ts": START_MS + offset // 100,
            "features": features(kind, rng, count),
            "prediction": round(float(rng.random()), 6),
        }
        records.append(Record(offset, START_MS + offset // 100, None, json.dumps(event).encode()))
    return records


def reference(kind: str, model: str, count: int = 20) -> Reference:
    """A reference of 3,000 rows of the same kind."""
    rng = np.random.default_rng(1)
    rows = [features(kind, rng, count) for _ in range(3_000)]
    columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in rows[0]}
    return build_reference(model, "3", {**columns, "@prediction": rng.random(3_000)})


def timed(rows: int, run: Callable[[], Any]) -> float:
    """Microseconds per row, the best of three."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best / rows * 1e6


def whole(records: list[Record], references: list[Reference], poll: int) -> Callable[[], None]:
    """The whole path from records to effects, in polls of ``poll`` records."""

    def run() -> None:
        observer = Observer(observe_settings(Settings()), references)
        observer.assign(HERE)
        for at in range(0, len(records), poll):
            observer.process(HERE, records[at : at + poll])
        for model in observer.units(HERE):
            observer._partitions[HERE].units[model].bank.flush()

    return run


def steady(records: list[Record], references: list[Reference]) -> float:
    """Microseconds per event for the second half of the records, when every unit and shape is known."""
    observer = Observer(observe_settings(Settings()), references)
    observer.assign(HERE)
    middle = len(records) // 2
    observer.process(HERE, records[:middle])
    for unit in observer._partitions[HERE].units.values():
        unit.bank.flush()
    start = time.process_time()
    for at in range(middle, len(records), POLL):
        observer.process(HERE, records[at : at + POLL])
    for unit in observer._partitions[HERE].units.values():
        unit.bank.flush()
    return (time.process_time() - start) / (len(records) - middle) * 1e6


def pieces(records: list[Record], known: Reference) -> dict[str, float]:
    """Microseconds per event of each piece of the path, for one model."""
    decoder = Decoder({}, observe_settings(Settings()).message)
    polls = [records[at : at + POLL] for at in range(0, len(records), POLL)]
    for poll in polls[:2]:
        decoder.decode(HERE, poll)

    def bank(detectors: tuple[str, ...]) -> Callable[[], None]:
        batches = [decoder.decode(HERE, poll).batches[0].columns for poll in polls]
        settings = msgspec.structs.replace(observe_settings(Settings()).bank, detectors=detectors)

        def run() -> None:
            made = Bank(UnitKey(known.model, "3", None), *HERE, settings, known, 0)
            for batch in batches:
                made.update(batch)
            made.flush()

        return run

    rows = len(records)
    return {
        "decode, known shape": timed(rows, lambda: [decoder.decode(HERE, poll) for poll in polls]),
        "decode, general path": timed(rows, lambda: [decoder.decode(HERE, poll, fast=False) for poll in polls]),
        "bank without detectors": timed(rows, bank(())),
        "bank with ADWIN": timed(rows, bank(("adwin",))),
        "bank with Page-Hinkley": timed(rows, bank(("page_hinkley",))),
        "bank with both": timed(rows, bank(("adwin", "page_hinkley"))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50_000)
    events = parser.parse_args().events
    print("| 20 features | us/event |\n|---|---|")
    values = np.random.default_rng(0).random(events).tolist()
    core = ADWIN(delta=2e-4)._helper
    print(f"| river's ADWIN core alone, 42 of them | {42 * timed(events, lambda: any(map(core.update, values))):.2f} |")
    for name, figure in pieces(log("numbers", events), reference("numbers", "model_0")).items():
        print(f"| {name} | {figure:.2f} |")
    for kind in KINDS:
        records, known = log(kind, events), reference(kind, "model_0")
        print(f"| whole path, {kind} | {timed(events, whole(records, [known], POLL)):.2f} |")
    learning = log("numbers", events)
    print(f"| whole path, numbers, no reference | {timed(events, whole(learning, [], POLL)):.2f} |")
    many = log("numbers", 300_000, models=1_000)
    base = reference("numbers", "model_0")
    known_many = [msgspec.structs.replace(base, model=f"model_{i}") for i in range(1_000)]
    print(f"| whole path, numbers, 1,000 models, 150 rows each between flushes | {steady(many, known_many):.2f} |")


if __name__ == "__main__":
    main()
