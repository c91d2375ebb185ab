"""``python -m tests.chaos [--short] [--seed N]``: exit status 1 when a number is wrong."""

import argparse
import asyncio
import logging
import secrets
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import chaos, table
from tests.kafka.server import Server

PAGE = """# Chaos

This page lists the faults that two workers and a real Apache Kafka were put through, and the counts afterwards. The
run writes this page: `make chaos ARGS="--seed {seed} --page docs/chaos.md"`.

Two workers (session timeout 6 s, a checkpoint every 2 s) read four partitions of a broker with one node. A supervisor
restarts each process that ends. The topic is keyed: the means of neighbouring partitions are .8 standard deviations
apart, and each has countries of its own. One producer is steady, and its input changes half-way. Another sends 600
events at once every six seconds. One event in a hundred is sent twice under one id.

Afterwards everything is computed again: the input by plain code that is no part of the service, each published
profile by one observer over its partition's log, and the published incidents by one judge over the same profiles. Every
event about an incident of the model with a reference is also compared with a run over the same log without any fault.

{table}

## Without a broker

`tests/simulation/test_whole.py` runs whole workers, both stages of them, over a broker in memory. A seed decides who
crashes in the middle of a write, who is replaced without noticing, and when the broker is away or slow. Evidence,
incidents, requests to retrain, profiles, views and dead letters must be those of a run without faults. The judge's
state of each unit must also be that of both cores alone, which read the log in the order of event time.

`make mutants` shows that the tests would find a bug. It plants bugs in a copy of the code, one at a time: in reading,
counting, saving, restoring, merging, judging, committing and showing. It prints the test that catches each one, and
how fast. Each must be caught within a minute by an everyday test that the list names (`tests/mutants`).
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--short", action="store_true", help="five faults instead of twenty-three")
    parser.add_argument("--seed", type=int, default=None, help="the order of the faults; random when not given")
    parser.add_argument("--page", type=Path, default=None, help="writes the table as a page of the documentation")
    options = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    sys.stdout.write(f"seed {seed}\n")
    with tempfile.TemporaryDirectory(prefix="driftline-chaos-") as folder:
        broker = Server(Path(folder) / "kafka")
        broker.start()
        try:
            outcome = asyncio.run(chaos(broker, Path(folder), short=options.short, seed=seed))
        finally:
            broker.stop()
    sys.stdout.write(table(outcome) + "\n")
    if options.page is not None:
        options.page.write_text(PAGE.format(table=table(outcome), seed=outcome.seed), encoding="utf-8")
    for text in outcome.logs:
        sys.stderr.write(f"--- a worker:\n{text}\n")
    return 0 if outcome.verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
