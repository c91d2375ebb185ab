"""``python -m tests.fuzz [--inputs N] [--seed N] [--target NAME]``: exit status 1 when something was found.

``--guided`` lets atheris choose the inputs of one target by coverage; it is no dependency (``pip install atheris``).
"""

import argparse
import faulthandler
import logging
import secrets
import sys

from tests.fuzz.run import fuzz, table
from tests.fuzz.targets import all_targets

HANG_SECONDS = 3_600.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=None, help="random when not given")
    parser.add_argument("--target", default=None, help="one of: decoder, checkpoints, references, settings, http, ...")
    parser.add_argument("--guided", action="store_true", help="by coverage, with atheris; needs --target")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.guided:
        return guided(options.target or "decoder", options.inputs)
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    sys.stdout.write(f"seed {seed}\n")
    reports = fuzz(options.inputs, seed, options.target)
    sys.stdout.write(table(reports) + "\n")
    return int(any(report.findings for report in reports))


def guided(name: str, inputs: int) -> int:
    """Ends the process with atheris' own status."""
    try:
        import atheris
    except ImportError:
        sys.stderr.write("atheris is not installed: pip install atheris\n")
        return 2
    with atheris.instrument_imports(include=["detectors", "stream"]):
        target = next(target for target in all_targets() if target.name == name)
    atheris.instrument_all()
    atheris.Setup(
        [sys.argv[0], f"-runs={inputs}", "-timeout=10", "-max_len=65536"], lambda data: target.run(data) and None
    )
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
