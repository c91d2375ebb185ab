"""``python -m tests.fuzz [--inputs N] [--seed N] [--target NAME]``: exit status 1 when something was found.

Half of the inputs are mutated at random; the other half is chosen by atheris by the code they reach, where that is
installed (the extra ``fuzz``).
"""

import argparse
import faulthandler
import importlib.util
import logging
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.run import all_targets, fuzz, table

HANG_SECONDS = 3_600.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=None, help="random when not given")
    parser.add_argument("--target", default=None, help="one of: decoder, checkpoints, references, settings, http, ...")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    sys.stdout.write(f"seed {seed}\n")
    guided = importlib.util.find_spec("atheris") is not None
    inputs = options.inputs // 2 if guided else options.inputs
    with all_targets() as targets:
        shares = {target.name: target.share for target in targets if options.target in (None, target.name)}
    failed = False
    for name, share in shares.items() if guided else ():
        failed |= not run_guided(name, round(inputs * share / sum(shares.values())), seed)
    reports = fuzz(inputs, seed, options.target)
    sys.stdout.write(table(reports) + "\n")
    if not guided:
        sys.stdout.write("nothing was guided by coverage: atheris is not installed (pip install 'driftline[fuzz]')\n")
    return int(failed or any(report.findings for report in reports))


def run_guided(name: str, inputs: int, seed: int) -> bool:
    """Runs atheris. Returns whether nothing was found; otherwise prints the folder with the output of atheris."""
    began, folder = time.monotonic(), Path(tempfile.mkdtemp(prefix="driftline-fuzz-"))
    command = [sys.executable, "-m", "tests.fuzz.guided", name, str(inputs), str(seed % (1 << 31))]
    with (folder / "said").open("wb") as said:
        environ = {**os.environ, "TMPDIR": str(folder)}
        good = subprocess.run(command, stdout=said, stderr=said, env=environ, check=False).returncode == 0
    outcome = "nothing found" if good else f"FOUND, see {folder}/said"
    sys.stdout.write(f"guided: {name}: {inputs} inputs in {time.monotonic() - began:.0f} s: {outcome}\n")
    sys.stdout.flush()
    if good:
        shutil.rmtree(folder)
    return good


if __name__ == "__main__":
    sys.exit(main())
