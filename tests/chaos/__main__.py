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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--short", action="store_true", help="five faults instead of twenty-three")
    parser.add_argument("--seed", type=int, default=None, help="the order of the faults; random when not given")
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
    for text in outcome.logs:
        sys.stderr.write(f"--- a worker:\n{text}\n")
    return 0 if outcome.verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
