"""``python -m tests.soak [--minutes N] [--rate N]``: exit status 1 if something grew, was lost, or was logged as a
warning."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.kafka.server import Server
from tests.soak.run import soak, table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=int, default=1_000, help="events a second")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="driftline-soak-") as folder:
        broker = Server(Path(folder) / "kafka")
        broker.start()
        try:
            result = asyncio.run(soak(broker, Path(folder), 60 * options.minutes, options.rate, options.seed))
        finally:
            broker.stop()
    sys.stdout.write(table(result) + "\n")
    return int(bool(result.faults))


if __name__ == "__main__":
    sys.exit(main())
