"""``python -m benchmarks.scale [--quick] [--only PART]``: what grows with workers, features and models, on real Kafka.

Two workers, 200 features, 1,000 models, the delay from event to drift event, memory, restore, and the publisher, each
beside what it is held to. Checkpoints and profiles come as the settings have them.
"""

import argparse
import os
import platform
import sys
from pathlib import Path

from benchmarks.broker import on_kafka
from benchmarks.scale import fleet, report
from benchmarks.scale.parts import FULL, QUICK, Bench, Sizes
from benchmarks.throughput.traffic import PARTITIONS
from tests.kafka.server import ROOT, Cluster


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small loads and one round, to see that it runs")
    parser.add_argument("--rounds", type=int, help="how often each load is read; the best round counts")
    parser.add_argument("--bootstrap-servers", help="an existing Kafka; default: one is started for the run")
    parser.add_argument("--only", default="", help="only parts with this in their name; no file is written")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of scale.json, .svg, .png and scale.md")
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    sizes = sizes._replace(rounds=options.rounds or sizes.rounds)
    return on_kafka(options.bootstrap_servers, lambda cluster: measure(cluster, sizes, options.only, options.out))


def measure(cluster: Cluster, sizes: Sizes, only: str, out: Path) -> int:
    bench, rows = Bench(cluster, sizes), []
    for part in bench.parts:
        if only in part.__name__:
            print(f"{part.__name__} ...", flush=True)
            found = part()
            print("\n".join(f"  {row.title}: {row.value:.3g} {row.unit} ({row.note})" for row in found), flush=True)
            rows += found
    report.show(rows)
    load = os.getloadavg()[1]
    print(f"load average of five minutes: {load:.1f} on {os.cpu_count()} processors")
    if not only:
        about = {
            "sizes": sizes._asdict(),
            "partitions": PARTITIONS,
            "cpus": os.cpu_count(),
            "load_average": round(load, 1),
            "machine": platform.machine(),
            "python": platform.python_version(),
            "kafka": "4.1.0",
        }
        report.write(rows, about, bench.measured, out)
        fleet.write(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
