"""``make bench-detection``: false alarms on null streams, delay and misses on changes, cost; beside others.

    python -m benchmarks.detection [--quick] [--seed N] [--jobs N] [--data DIR] [--alone] [--out DIR]

Prints tables. ``--out DIR`` also writes DIR/benchmark-detection.json, DIR/benchmark-detection.md and two pictures into
DIR/images; ``--out docs`` makes the page of the documentation. Every number but the cost follows from the seed.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.detection import cost, looks, opponents, parts, pictures, report
from benchmarks.detection.nulls import Rows


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.detection", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of it")
    parser.add_argument("--seed", type=int, default=20_260)
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--data", type=Path, help="a folder with elec2, gas_sensor, insects_gradual and noaa")
    parser.add_argument("--alone", action="store_true", help="without the other libraries")
    parser.add_argument("--out", type=Path, help="a folder for JSON, page and pictures")
    return parser.parse_args()


def arguments(given: argparse.Namespace) -> str:
    """The command that gives these results again, without the path of the data."""
    flags = [name for name in ("quick", "alone") if getattr(given, name)]
    words = [*(f"--{flag}" for flag in flags), *(["--data DIR"] if given.data else []), f"--seed {given.seed}"]
    return " ".join(words)


def main() -> int:
    """Runs the benchmark. Exit status 1 when a target is missed or a null stream raised an alarm."""
    given, console = options(), Console(highlight=False)
    console.print(f"seed {given.seed}; guarantee: one false alarm in {looks.GUARANTEE:.0e} feature-events")
    rows: Rows = {"left_out": [{"detector": name, "reason": why} for name, why in opponents.NOT_COMPARED.items()]}
    if given.alone:
        rows["left_out"] = [{"detector": o.title, "reason": "--alone"} for o in opponents.OPPONENTS]
    if given.data is None:
        rows["left_out"].append({"detector": "real streams", "reason": "no --data"})
    chosen = parts.chosen(given.quick, given.seed, given.data, given.alone)
    for part, found, seconds in parts.run(chosen, given.jobs):
        console.print(f"  {seconds:5.0f} s  {part.name}")
        parts.merge(rows, found)
    results: dict[str, Any] = {"arguments": arguments(given), "seed": given.seed, "quick": given.quick}
    results |= {**parts.ordered(rows), "cost": [cost.measured(given.seed)]}
    report.show(console, results)
    told, failed = report.verdicts(results)
    console.print(told)
    for what in failed:
        console.print(f"[red]{what}[/]")
    if given.out is not None:
        write(given.out, results)
    return 1 if failed else 0


def write(folder: Path, results: dict[str, Any]) -> None:
    """Writes benchmark-detection.json, benchmark-detection.md and the pictures."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "benchmark-detection.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "benchmark-detection.md").write_text(report.page(results), encoding="utf-8")
    pictures.delay(results["comparison"], folder / "images" / "benchmark-delay.png")
    pictures.false_alarms(results["false_alarms"], folder / "images" / "benchmark-false-alarms.png")


if __name__ == "__main__":
    sys.exit(main())
