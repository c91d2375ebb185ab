"""``python -m benchmarks.throughput [--quick]``: peers, limits and driftline on one real broker in one run.

Every program runs in a process of its own, one after the other, over the same records. The best round of each program
counts, because a disturbance can only make a round slower.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.broker import on_kafka
from benchmarks.throughput import environment, report, traffic
from benchmarks.throughput.report import Row
from benchmarks.throughput.spent import Spent
from tests.kafka.server import ROOT, Cluster


class Program(NamedTuple):
    """One program of the comparison.

    ``kind``: peer, limit or ours. ``share``: the share of the events that it reads; a slow program reads fewer.
    ``framework``: the program runs in the environment that is made for this framework.
    """

    name: str
    title: str
    kind: str
    topic: str = traffic.CLEAN
    share: float = 1.0
    framework: str = ""


PROGRAMS = (
    Program("faust_river", "Faust agent, orjson, river ADWIN + Page-Hinkley on 20 features", "peer", share=0.2),
    Program("faust_only", "Faust agent, orjson, nothing else", "peer", share=0.2),
    Program("quix_river", "Quix Streams, the same river detectors", "peer", share=0.5, framework="Quix Streams"),
    Program("bytewax_river", "Bytewax, orjson, the same river detectors", "peer", share=0.5, framework="Bytewax"),
    Program("aiokafka_river", "aiokafka getmany, orjson, the same river detectors", "peer", share=0.5),
    Program("confluent_river", "confluent-kafka consume, orjson, the same river detectors", "peer", share=0.5),
    Program("aiokafka_decode", "aiokafka getmany and msgspec typed decode, nothing else", "limit"),
    Program("aiokafka_count", "aiokafka getmany, count only", "limit"),
    Program("confluent_count", "confluent-kafka consume, count only", "limit"),
    Program("driftline", "driftline observe, everything on", "ours"),
    Program("driftline", "driftline, texts, booleans and nulls among the 20", "ours", topic=traffic.MIXED),
)
PEERS = ROOT / ".venv-peers"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="40,000 events and one round instead of 400,000 and three")
    parser.add_argument("--events", type=int, help="how many events")
    parser.add_argument("--rounds", type=int, help="how often each program runs")
    parser.add_argument("--bootstrap-servers", help="an existing Kafka; default: one is started for the run")
    parser.add_argument("--only", help="programs whose title contains this")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of throughput.json, .svg and .png")
    options = parser.parse_args()
    events = options.events or (40_000 if options.quick else 400_000)
    rounds = options.rounds or (1 if options.quick else 3)
    return on_kafka(
        options.bootstrap_servers,
        lambda cluster: measure(cluster, events, rounds, options.only or "", options.out),
    )


def measure(cluster: Cluster, events: int, rounds: int, only: str, out: Path) -> int:
    programs = [program for program in PROGRAMS if only in program.title]
    wanted = [program.framework for program in programs if program.framework]
    frameworks = environment.python(PEERS) if wanted else None
    left_out = [] if frameworks else [f"{framework} (not installed)" for framework in wanted]
    if not frameworks:
        programs = [program for program in programs if not program.framework]
    asyncio.run(cluster.create_topics({traffic.CLEAN: traffic.PARTITIONS, traffic.MIXED: traffic.PARTITIONS}))
    sizes = {}
    try:
        for topic in sorted({program.topic for program in programs}):
            sizes[topic] = traffic.publish(cluster.bootstrap_servers, topic, events)
            print(f"{events:,} events of {sizes[topic]:.0f} bytes in {topic}", flush=True)
        best: dict[Program, Spent] = {}
        for number in range(rounds):
            for program in programs:
                python = str(frameworks) if program.framework else sys.executable
                spent = run(python, cluster.bootstrap_servers, program, max(1_000, int(events * program.share)))
                best[program] = Spent(*map(min, spent, best.get(program, spent)))
                print(f"round {number + 1} of {rounds}: {program.title}: {spent.seconds:.1f} us an event", flush=True)
    finally:
        asyncio.run(cluster.delete_topics(traffic.CLEAN, traffic.MIXED))
    rows = [Row(program.title, program.kind, *best[program]) for program in programs]
    about = {
        "events": events,
        "rounds": rounds,
        "bytes_per_event": {topic: round(size) for topic, size in sizes.items()},
        "features": traffic.FEATURES,
        "partitions": traffic.PARTITIONS,
        "cpus": os.cpu_count(),
        "load_average": round(os.getloadavg()[1], 1),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "kafka": "4.1.0",
        "left_out": left_out,
    }
    report.show(rows, left_out)
    if not only:
        report.write(rows, about, out)
    return 0


def run(python: str, servers: str, program: Program, count: int) -> Spent:
    """Runs one program. Returns microseconds per event."""
    command = [python, "-m", "benchmarks.throughput.program", program.name, servers, program.topic, str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=600, check=False, cwd=ROOT)
    if done.returncode != 0:
        raise SystemExit(f"{program.title}: ended with status {done.returncode}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Spent(*(found[name] / count * 1e6 for name in Spent._fields))


if __name__ == "__main__":
    sys.exit(main())
