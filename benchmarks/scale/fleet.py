"""The cost of a fleet, computed from the measurements. ``python -m benchmarks.scale.fleet`` writes docs/scale.md."""

# ruff: noqa: E501 - the page's own text

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stream.judge.shell.app import TICK_SECONDS, VIEWS_PER_TICK
from stream.judge.shell.rows import ROW_INTERVAL_MS
from stream.observe.publishing import UNITS_PER_LOOK
from stream.observe.shell.settings import observe_settings
from stream.settings.settings import Settings
from tests.kafka.server import ROOT

EVENTS_PER_SECOND = 1_000_000
UTILISED = 0.6
"""Share of a core that is used. The rest is for catching up after a restart, and for the peak of the day."""
REPLICAS, RETENTION_DAYS = 3, 7
BROKER_BYTES_PER_SECOND = 150e6
"""Bytes that a broker writes, replicas included. Three disks or a 10 Gb/s network carry more than that."""
BROKER_DISK_BYTES = 16e12
DISK_FILLED = 0.7
ENOUGH = 10
"""Fewest models per worker. With fewer, models with one partition each are not spread evenly."""
MODELS = (10, 100, 1_000, 10_000)


class Fleet(NamedTuple):
    """A fleet for 1 M events a second. ``spread``: the events of a model go to all partitions; otherwise to one."""

    models: int
    spread: bool
    workers: int
    partitions: int
    units: int
    profiles_per_second: float
    judge_cores: float
    memory_bytes: float
    checkpoint_bytes_per_second: float
    profile_bytes_per_second: float


def fleet(measured: Mapping[str, float], faust_micros: float, models: int, *, spread: bool) -> Fleet:
    """Computes a fleet. ``faust_micros``: Faust's time for a record. Memory is per worker, for units; the rest per fleet."""
    settings = Settings()
    observe = observe_settings(settings)
    workers = math.ceil(EVENTS_PER_SECOND * measured["models_cpu_micros"] / 1e6 / UTILISED)
    partitions = 2 * workers
    units = models * (partitions if spread else 1)
    own = units / workers
    # a unit publishes after 256 events and one second of event time; of the others the worker publishes 200 a second
    by_events = min(units * 1_000 / observe.look_ms, EVENTS_PER_SECOND / observe.look_events)
    profiles = by_events + workers * min(own, UNITS_PER_LOOK)
    rows = min(models * 1_000 / ROW_INTERVAL_MS, profiles)
    views = min(models, workers * VIEWS_PER_TICK / TICK_SECONDS, profiles)
    judged = profiles * (measured["profile_micros"] + faust_micros)
    judged += rows * measured["row_micros"] + views * measured["view_micros"]
    kept = own * measured["shard_bytes"] + min(models, own) * measured["reference_bytes"]
    return Fleet(
        models=models,
        spread=spread,
        workers=workers,
        partitions=partitions,
        units=units,
        profiles_per_second=profiles,
        judge_cores=judged / 1e6,
        memory_bytes=kept * measured["features"],
        checkpoint_bytes_per_second=units * measured["checkpoint_bytes"] / settings.checkpoint_interval_seconds,
        profile_bytes_per_second=profiles * measured["profile_bytes"],
    )


def page(document: Mapping[str, Any], faust_micros: float) -> str:
    """docs/scale.md."""
    measured = document["measured"]
    every = [fleet(measured, faust_micros, models, spread=spread) for models in MODELS for spread in (False, True)]
    fleets = [one for one in every if one.spread or one.models >= ENOUGH * one.workers]
    return (
        "\n".join([HEAD, *_figures(document), "", *_events(measured, fleets[0]), "", *_models(fleets, measured)]) + "\n"
    )


HEAD = """# Scale and cost

`make bench-scale` starts a real Kafka, measures on your machine the cost of workers, features and models, and writes this page. The figures
are in [scale.json](scale.json). `make bench-throughput` compares the throughput of one process with alternatives.

![each figure as a multiple of its first target](scale.png)
"""


def _figures(document: Mapping[str, Any]) -> Iterator[str]:
    yield f"Measured on {document['cpus']} processors ({document['machine']}, Python {document['python']}) with Kafka {document['kafka']} on the"
    yield f"same machine, load average {document['load_average']}; 20 numeric features,"
    yield f"{document['partitions']} partitions, default settings for checkpoints and profiles.\n"
    if document["load_average"] > document["cpus"]:
        yield "**Provisional**: other programs used the processors at the same time. This affects all wall-clock figures (two workers, restore, delay), the"
        yield "periodic work of 1,000 models (profiles, checkpoints), and the fleet below. By how much was not measured. Measure again on an idle"
        yield "machine.\n"
    yield "| | measured | first target | goal | reached | |\n|---|---|---|---|---|---|"
    for row in document["rows"]:
        value = "-" if row["value"] is None else f"{row['value']:.3g}"
        targets = f"{row['first']:g} {row['unit']} | {row['goal']:g} {row['unit']}"
        yield f"| {row['title']} | {value} {row['unit']} | {targets} | {row['reached']} | {row['note']} |"


def _events(measured: Mapping[str, float], one: Fleet) -> Iterator[str]:
    size, stored = measured["event_bytes"], measured["stored_bytes"]
    per_second = EVENTS_PER_SECOND * stored
    disk = per_second * REPLICAS * RETENTION_DAYS * 86_400
    by_traffic = math.ceil(per_second * REPLICAS / BROKER_BYTES_PER_SECOND)
    by_disk = math.ceil(disk / (BROKER_DISK_BYTES * DISK_FILLED))
    yield "## A fleet for a million events a second\n"
    yield "The cost of the events, for any number of models:\n"
    yield "| | | based on |\n|---|---|---|"
    micros = measured["models_cpu_micros"]
    yield (
        f"| workers | {one.workers} processes with one core each | {micros:.1f} us of CPU an event, as measured with "
        f"{measured['models']:,.0f} models ({measured['cpu_micros']:.1f} with one), cores used to {UTILISED:.0%} |"
    )
    yield f"| partitions | {one.partitions} | two a worker, so that workers can be added |"
    yield f"| events in | {_rate(per_second)} | {stored:.0f} bytes an event: {size:.0f} of JSON, in batches of 200 as the publisher compresses them (lz4) |"
    yield f"| broker network | in {_rate(per_second * REPLICAS)}, out {_rate(per_second * REPLICAS)} | {REPLICAS} replicas; out: one reader and {REPLICAS - 1} followers |"
    yield f"| broker disk | {disk / 1e12:,.0f} TB | {RETENTION_DAYS} days, {REPLICAS} replicas |"
    yield (
        f"| brokers | {max(by_traffic, by_disk)} | {by_traffic} by traffic ({_rate(BROKER_BYTES_PER_SECOND)} written by each), "
        f"{by_disk} by disk ({BROKER_DISK_BYTES / 1e12:.0f} TB each, {DISK_FILLED:.0%} full) |\n"
    )
    yield "Keeping the events for a day instead of a week divides the disk by seven. driftline needs an event only until a checkpoint covers"
    yield "it."


def _models(fleets: list[Fleet], measured: Mapping[str, float]) -> Iterator[str]:
    yield "## What the number of models adds\n"
    yield "The table is for the same million events a second, with 20 features each. `all`: the events of a model are in all partitions, as"
    yield f"`InferencePublisher` sends them. `one`: publishers use the model as the key. That needs at least {ENOUGH} models per worker for an even load,"
    yield "and no model may send more events than one worker can process.\n"
    yield (
        "| models | partitions of each | units per worker | memory for them | profiles | judge | checkpoints | profiles' traffic |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    for one in fleets:
        yield (
            f"| {one.models:,} | {'all' if one.spread else 'one'} | {one.units / one.workers:,.0f} | "
            f"{one.memory_bytes / 1e9:.2f} GB | {one.profiles_per_second:,.0f} /s | {one.judge_cores:.1f} cores | "
            f"{_rate(one.checkpoint_bytes_per_second)} | {_rate(one.profile_bytes_per_second)} |"
        )
    yield ""
    yield f"* Memory of a feature: {measured['shard_bytes'] / 1024:.1f} KB per shard and {measured['reference_bytes'] / 1024:.1f} KB per reference."
    yield (
        f"* A profile is {measured['profile_bytes'] / 1e3:.0f} KB and costs the judge {measured['profile_micros']:.0f} us in addition to Faust; a "
        f"row of its table {measured['row_micros']:.0f} us and {measured['row_bytes'] / 1e3:.0f} KB, at most one per model in five seconds; "
        f"a view {measured['view_micros']:.0f} us, at most 200 per second and worker."
    )
    yield (
        f"* Preparing the bets of a reference costs the judge {measured['begin_micros'] / 1e3:.0f} ms per model. A start with "
        f"1,000 models needs {measured['begin_micros'] / 1e3:.0f} s of a core, divided among the workers."
    )
    yield f"* A checkpoint is {measured['checkpoint_bytes'] / 1e3:.0f} KB per unit, written every 30 seconds if it changed. The traffic is before replication."
    yield "* The default limits are 1,000 models and 2,000 units in one partition. For more, raise them in the [settings](settings.md)."


def _rate(per_second: float) -> str:
    return f"{per_second / 1e6:,.0f} MB/s" if per_second >= 1e6 else f"{per_second / 1e3:,.0f} KB/s"


def text(folder: Path) -> str:
    """Writes the page from the folder's scale.json and throughput.json."""
    programs = json.loads((ROOT / "docs" / "throughput.json").read_text())["programs"]
    faust = next(program for program in programs if program["title"] == "Faust agent, orjson, nothing else")
    return page(json.loads((folder / "scale.json").read_text()), faust["cpu_us_per_event"])


def write(folder: Path) -> None:
    (folder / "scale.md").write_text(text(folder), encoding="utf-8")


if __name__ == "__main__":
    write(ROOT / "docs")
