"""``python -m tests.fuzz.guided TARGET INPUTS [SEED]``: atheris chooses one target's inputs by the code they reach.

A process for each target: libFuzzer ends it. The exit status is its own, 0 when nothing was found.
"""

import logging
import os
import sys
import tempfile
from pathlib import Path

import atheris

os.environ["NUMBA_DISABLE_JIT"] = "1"  # it cannot compile instrumented functions, which run as Python instead

with atheris.instrument_imports(include=["detectors", "stream"]):
    from tests.fuzz.run import all_targets

HANG_SECONDS = 10
MEMORY_MEGABYTES = 2_048
LARGEST = 1 << 16


def main(name: str, inputs: int, seed: int) -> None:
    """Starts from the target's valid inputs."""
    logging.disable(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="driftline-corpus-"))
    options = [
        f"-runs={inputs}",
        f"-seed={seed}",
        f"-timeout={HANG_SECONDS}",
        f"-rss_limit_mb={MEMORY_MEGABYTES}",
        f"-max_len={LARGEST}",
        f"-artifact_prefix={folder}/found-",
        "-verbosity=1",
        "-print_final_stats=1",
    ]
    with all_targets() as targets:
        target = next(target for target in targets if target.name == name)
        for number, data in enumerate(target.corpus):
            (folder / str(number)).write_bytes(data)

        def one(data: bytes) -> None:
            target.run(data)

        atheris.Setup([sys.argv[0], *options, str(folder)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)
