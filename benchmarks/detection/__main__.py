"""``make bench-detection``: false alarms on null streams, delay and misses on changes, cost; beside others.

    python -m benchmarks.detection [--quick] [--seed N] [--json FILE]

Prints tables; ``--json`` also writes them. Every number follows from the seed.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.detection import looks
from benchmarks.detection.opponents import OPPONENTS
from detectors import evaluation, synthetic
from detectors.features import UnitKey
from stream.judge import Judge
from stream.judge_settings import JudgeSettings
from tests.judge.shards import MiniShard

SEASONAL = ("daily-sine", "day-effects")
TARGETS = {".5 sigma": 400, "1 sigma": 100, "variance x2": 400, "shape": 700}
OPPONENT_EVENTS = 20_000
LOOK_TARGET_US = 200.0


def null_suites(console: Console, quick: bool, seed: int) -> list[dict[str, Any]]:
    """Every null stream against references of several sizes: 1.5e6 feature-events each, a tenth of it when quick."""
    rows = []
    for size in (10_000, 100_000) if quick else (1_000, 10_000, 100_000, 1_000_000):
        for name, null in synthetic.NULLS.items():
            seasonal = name in SEASONAL and size >= 15 * synthetic.DAY_EVENTS
            if name == "day-effects" and not seasonal:
                continue  # days differ: a reference of a few days cannot say by how much, and driftline says so
            features = 20 if size < 1_000_000 else 5
            events = (150_000 if quick else 1_500_000) // features
            bench = looks.Bench(null, size, features, seed, seasonal)
            found = looks.alarms(bench, events)
            bound = evaluation.false_alarms(found, events * features)
            row = {
                "stream": name,
                "reference": size,
                "feature_events": events * features,
                "alarms": found,
                "at_least": bound.mean_time_at_least,
                "tau": max(f.tau for f in bench.reference.features),
                "strata": len(bench.reference.features[0].strata),
            }
            rows.append(row)
            console.print(f"  null {name} against {size:,} rows: {found} alarms", highlight=False)
    return rows


def change_suites(quick: bool, seed: int) -> list[dict[str, Any]]:
    """Delay on the independent normal stream, at the guarantee of one in 1e10 feature-events."""
    rows = []
    for size in (100_000,) if quick else (10_000, 20_000, 100_000, 1_000_000):
        bench = looks.Bench(synthetic.normal, size, 1, seed)
        for name, change in synthetic.CHANGES.items():
            runs = 20 if quick else 50
            found = evaluation.delays([looks.delay(bench, change, 10_000) for _ in range(runs)])
            rows.append(
                {
                    "change": name,
                    "reference": size,
                    "median": found.median,
                    "p90": found.p90,
                    "missed": found.missed,
                    "target": TARGETS.get(name),
                }
            )
    return rows


def dependent_changes(quick: bool, seed: int) -> list[dict[str, Any]]:
    """A change is found on dependent and seasonal streams too, later."""
    rows = []
    for name in ("ar1-.8", "daily-sine") if quick else ("ar1-.8", "ar1-.95", "daily-sine", "student-t3", "lognormal"):
        bench = looks.Bench(synthetic.NULLS[name], 40_000, 1, seed, name in SEASONAL)
        for change in (".5 sigma", "1 sigma"):
            runs = 6 if quick else 20
            delays = [looks.delay(bench, synthetic.CHANGES[change], 30_000) for _ in range(runs)]
            found = evaluation.delays(delays)
            rows.append({"stream": name, "change": change, "median": found.median, "missed": found.missed})
    return rows


def opponents(quick: bool, seed: int) -> list[dict[str, Any]]:
    """At their defaults: false alarms per 100,000 null events, delay and misses after a half-sigma shift."""
    rng = np.random.default_rng(seed)
    rows = []
    events = OPPONENT_EVENTS if quick else 5 * OPPONENT_EVENTS
    for name, run in OPPONENTS.items():
        row: dict[str, Any] = {"detector": name}
        for stream in ("normal", "ar1-.8", "daily-sine"):
            null = synthetic.NULLS[stream]
            few = events // 5 if "KSWIN" in name else events
            row[stream] = len(run(null(rng, 10_000, 0), null(rng, few, 10_000))) * 100_000 / few
        found = []
        for _ in range(5 if quick else 20):
            alarms = run(rng.normal(size=10_000), rng.normal(size=5_000) + 0.5)
            found.append(alarms[0] if alarms else None)
        row["delay_half_sigma"] = evaluation.delays(found).median
        rows.append(row)
    return rows


def cost(seed: int) -> dict[str, float]:
    """One look of a 20-feature model: the evidence alone, and the whole judge with a profile of one shard."""
    bench = looks.Bench(synthetic.normal, 20_000, 20, seed)
    counts = list(bench.looks(bench.stream(32_000, 0), 100))
    watch = bench.watch()
    start = time.perf_counter()
    for i, part in enumerate(counts):
        watch.look(part, i * 1_000, (i + 1) * 100)
    look_us = (time.perf_counter() - start) / len(counts) * 1e6
    judge, shard = Judge(JudgeSettings(), [bench.reference]), MiniShard(bench.reference)
    values = bench.stream(100, 0)
    profiles = [
        shard.add({f"x{f}": values[:, f].tolist() for f in range(20)}, i * 1_000)  # counted outside of what is timed
        for i in range(200)
    ]
    judge.on_profile(profiles.pop(0), 0)  # builds the bets, once a reference
    start = time.perf_counter()
    for i, profile in enumerate(profiles):
        judge.on_profile(profile, i * 1_000)
    profile_us = (time.perf_counter() - start) / len(profiles) * 1e6
    start = time.perf_counter()
    judge.model_view(UnitKey("bench", "1", None))
    view_us = (time.perf_counter() - start) * 1e6
    return {"look_us": look_us, "profile_us": profile_us, "view_us": view_us}


def table(title: str, rows: list[dict[str, Any]]) -> Table:
    """Any rows of equal keys."""
    shown = Table(title=title, header_style="bold", title_justify="left")
    for name in rows[0]:
        shown.add_column(name, justify="right" if isinstance(rows[0][name], int | float) else "left")
    for row in rows:
        shown.add_row(*("-" if v is None else f"{v:,.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    return shown


def main() -> int:
    """Exit status 1 where a target is missed or a null stream alarmed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of it, in about a minute")
    parser.add_argument("--seed", type=int, default=20_260)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    console = Console()
    console.print(
        f"seed {options.seed}; guarantee: one false alarm in {looks.GUARANTEE:.0e} feature-events", highlight=False
    )
    results = {
        "seed": options.seed,
        "changes": change_suites(options.quick, options.seed),
        "dependent": dependent_changes(options.quick, options.seed),
        "nulls": null_suites(console, options.quick, options.seed),
        "opponents": opponents(options.quick, options.seed),
        "cost": [cost(options.seed)],
    }
    for name in ("nulls", "changes", "dependent", "opponents", "cost"):
        console.print(table(name, results[name]))
    total = sum(row["feature_events"] for row in results["nulls"])
    bound = evaluation.false_alarms(sum(row["alarms"] for row in results["nulls"]), total)
    console.print(
        f"null streams: {bound.alarms} alarms in {total:.3g} feature-events, so one in at least "
        f"{bound.mean_time_at_least:.3g} with 95 % confidence",
        highlight=False,
    )
    late = [
        row["change"]
        for row in results["changes"]
        if row["reference"] >= 100_000 and row["target"] and (row["missed"] or (row["median"] or 1e9) > row["target"])
    ]
    if late:
        console.print(f"[red]missed targets: {', '.join(late)}[/]")
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    return 1 if late or bound.alarms else 0


if __name__ == "__main__":
    sys.exit(main())
