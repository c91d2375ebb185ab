"""The parts of the benchmark. Each measures one thing and returns its rows."""

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.scale import judge_restore, judging, latency, memory, runs
from benchmarks.scale import load as loads
from benchmarks.scale.load import Load
from benchmarks.scale.report import Row
from benchmarks.scale.runs import Cost
from tests.kafka.server import ROOT, Cluster


class Sizes(NamedTuple):
    """``each``: events of each of ``models``, enough for half of them to last as long as a checkpoint's turn.
    ``moved``: models that change where the delay is measured."""

    events: int
    wide_events: int
    models: int
    each: int
    moved: int
    calls: int
    rounds: int


FULL = Sizes(events=400_000, wide_events=60_000, models=1_000, each=3_200, moved=16, calls=100_000, rounds=2)
QUICK = Sizes(events=60_000, wide_events=12_000, models=100, each=200, moved=6, calls=10_000, rounds=1)
PLAIN = Load("scale-plain")


class Bench:
    """Measures on one broker. ``measured``: the figures behind the rows, by name, for the page of costs."""

    def __init__(self, cluster: Cluster, sizes: Sizes) -> None:
        self._cluster, self._sizes = cluster, sizes
        self._plain: list[Cost] = []
        self._numbers, self._mark = itertools.count(), ""  # numbers of deployments; the newest mark
        self._sizes_of: dict[Load, float] = {}
        self.measured: dict[str, float] = {"features": PLAIN.features, "stored_bytes": loads.stored_bytes(PLAIN)}

    def workers(self) -> list[Row]:
        """Two workers on the same partitions against one worker.

        The events were written before. The broker uses the same processors to send them, so the note also gives the
        best that is left for the workers.
        """
        ones, twos = self._beside_one(PLAIN, self._sizes.events, workers=2)
        one, two, arithmetic = (*(min(costs, key=_wall) for costs in (ones, twos)), runs.arithmetic_ratio())
        self.measured |= {
            "micros": one.micros,
            "cpu_micros": one.cpu_micros,
            "event_bytes": self._sizes_of[PLAIN],
            "broker_cpu_micros": two.broker_micros,
            "arithmetic_ratio": arithmetic,
        }
        processors = os.cpu_count() or 1
        best = min(2.0, processors * one.micros / (two.cpu_micros + two.broker_micros))
        note = (
            f"the broker takes {two.broker_micros:.1f} us of CPU an event and the workers {two.cpu_micros:.1f}: on "
            f"{processors} processors at most {best:.2f}; {two.busy:.0%} of all busy"
        )
        by_cpu = f"{one.cpu_micros:.1f} us of CPU an event by one, {two.cpu_micros:.1f} by two: had each a core"
        by_cpu += f"; two processes with nothing but arithmetic: {arithmetic:.2f} x one here and then"
        title = "two workers against one"
        return [
            Row("workers", f"{title}, by the wall", one.micros / two.micros, "x", 1.7, 1.9, more=True, note=note),
            Row("workers_cpu", f"{title}, by CPU", 2 * one.cpu_micros / two.cpu_micros, "x", 1.7, 1.9, True, by_cpu),
        ]

    def features(self) -> list[Row]:
        load = Load("scale-wide", features=200)
        ones, wides = self._beside_one(load, self._sizes.wide_events)
        one, wide = (min(costs, key=_cpu) for costs in (ones, wides))
        self.measured |= {"wide_cpu_micros": wide.cpu_micros, "wide_bytes": self._sizes_of[load]}
        ratio = wide.cpu_micros / one.cpu_micros * PLAIN.features / load.features
        note = f"{wide.cpu_micros:.1f} us of CPU an event, by the wall {wide.micros:.1f}"
        return [Row("features", "200 features against 20, CPU of a value", ratio, "x", 1.1, 0.9, note=note)]

    def models(self) -> list[Row]:
        """Many models, and the restore of what that run left."""
        sizes = self._sizes
        load = Load("scale-models", models=sizes.models, spread=False)
        ones, fleets = self._beside_one(load, sizes.models * sizes.each, skip=0.5)
        one, many = (min(costs, key=_cpu) for costs in (ones, fleets))
        found = [runs.restore(self._cluster, load, self._mark) for _ in range(sizes.rounds)]
        ready = min(found, key=lambda one: one.seconds)
        assert ready.units == load.units, f"{ready.units} of {load.units} units restored"
        done = many.done[0]
        self.measured |= {
            "models": sizes.models,
            "models_cpu_micros": many.cpu_micros,
            "restore_seconds": ready.seconds,
        }
        note = f"{many.cpu_micros:.1f} us of CPU an event; {done.resident_bytes / 2**20:,.0f} MB resident"
        title, ratio = f"{sizes.models:,} models against one, CPU of an event", many.cpu_micros / one.cpu_micros
        reading = f"of it reading checkpoints and building units {ready.restore_seconds:.1f} s"
        return [
            Row("models", title, ratio, "x", 2, 1.2, note=note),
            Row("restore", f"restore of {sizes.models:,} models", ready.seconds, "s", 10, 3, note=reading),
        ]

    def judge(self) -> list[Row]:
        """The restore of a judge. It has no target of its own, so it has that of the observe stage."""
        models = self._sizes.models
        with tempfile.TemporaryDirectory() as folder:
            found = judge_restore.measure(self._cluster, Path(folder), models)
        self.measured |= {"judge_restore_seconds": found.seconds, "judge_empty_seconds": found.empty_seconds}
        note = (
            f"of a process, {found.cpu_seconds:.1f} s of CPU; with an empty table {found.empty_seconds:.1f} s; "
            f"rows of {found.row_bytes / 1e6:.0f} MB"
        )
        return [Row("judge_restore", f"restore of a judge of {models:,} models", found.seconds, "s", 10, 3, note=note)]

    def delay(self) -> list[Row]:
        """Delay at a fifth of the rate that one worker reaches on the plain load.

        Broker, publisher and both roles share the processors, and half of that rate would fill two of them.
        """
        sizes, per_second = self._sizes, 0.2e6 / self._one().micros
        with tempfile.TemporaryDirectory() as folder:
            found = latency.measure(self._cluster, Path(folder), sizes.moved, per_second)
        self.measured |= {"delay_events_per_second": per_second, "worker_cpu_micros": found.worker_cpu_micros}
        note = (
            f"{len(found.incident)} of {found.models} incidents, {found.early} before their change, at "
            f"{per_second:,.0f} events/s; {found.busy:.0%} busy"
        )
        said = f"{len(found.signal)} of {found.models} signals of a detector"
        signal, incident = (latency.percentiles(one, found.models) for one in (found.signal, found.incident))
        return [
            *_delays("signal", "event in to drift event out", signal, said),
            *_delays("delay", "event in to incident out", incident, note),
        ]

    def memory(self) -> list[Row]:
        kept, judged = memory.measure(), judging.measure(self._sizes.moved)
        self.measured |= {**kept._asdict(), **judged._asdict()}
        note = f"and its reference {kept.reference_bytes / 1024:.1f} KB, once a worker"
        return [Row("memory", "memory of a feature and shard", kept.shard_bytes / 1024, "KB", 16, 8, note=note)]

    def publisher(self) -> list[Row]:
        command = [sys.executable, "-m", "benchmarks.publisher", "--json", "--events", str(self._sizes.calls)]
        command += ["--bootstrap-servers", self._cluster.bootstrap_servers]
        done = subprocess.run(command, stdout=subprocess.PIPE, cwd=ROOT, timeout=600, check=True)
        ours = next(row for row in json.loads(done.stdout) if row["what"] == "driftline log, 20 numbers")
        return [
            Row("log_p50", "InferencePublisher.log in the caller, p50", ours["p50_us"], "us", 10, 3),
            Row("log_p99", "InferencePublisher.log in the caller, p99", ours["p99_us"], "us", 50, 20),
        ]

    @property
    def parts(self) -> tuple[Callable[[], list[Row]], ...]:
        return self.workers, self.features, self.models, self.judge, self.delay, self.memory, self.publisher

    def _one(self) -> Cost:
        """The best cost of one worker on the plain load, of all rounds so far."""
        if not self._plain:
            self._plain.append(self._observed(PLAIN, self._sizes.events))
        return min(self._plain, key=_wall)

    def _beside_one(
        self, load: Load, events: int, workers: int = 1, skip: float = runs.SKIPPED
    ) -> tuple[list[Cost], list[Cost]]:
        """Runs one worker on the plain load, and what is compared with it, in turn: the machine's speed changes."""
        ones, others = [], []
        for _ in range(self._sizes.rounds):
            ones.append(self._observed(PLAIN, self._sizes.events))
            others.append(self._observed(load, events, workers, skip))
        self._plain += ones
        return ones, others

    def _observed(self, load: Load, events: int, workers: int = 1, skip: float = runs.SKIPPED) -> Cost:
        if load not in self._sizes_of:
            self._sizes_of[load] = runs.prepare(self._cluster, load, events)
        self._mark = runs.deploy(self._cluster, load, str(next(self._numbers)))
        cost = runs.observe(self._cluster, load, self._mark, events, workers, skip)
        print(
            f"  {load.topic}, workers {workers}: {cost.micros:.1f} us an event, {cost.cpu_micros:.1f} of CPU, "
            f"{cost.busy:.0%} busy",
            flush=True,
        )
        return cost


def _wall(cost: Cost) -> float:
    return cost.micros


def _cpu(cost: Cost) -> float:
    return cost.cpu_micros


def _delays(name: str, title: str, seconds: tuple[float, float], note: str) -> list[Row]:
    return [
        Row(f"{name}_p50", f"{title}, p50", seconds[0], "s", 1, 0.3, note=note),
        Row(f"{name}_p99", f"{title}, p99", seconds[1], "s", 2, 0.8),
    ]
