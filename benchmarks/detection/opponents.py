"""The libraries that a user could choose instead, each run in a process of its own."""

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from benchmarks.detection import environments
from benchmarks.detection.environments import LeftOut
from detectors.columns import Floats


class Opponent(NamedTuple):
    """One detector of a library. ``strict`` to ``loose``: the range of its parameter, fewest alarms first.

    ``cost``: how many times slower than the fastest detector it is. It gets as many times fewer runs.
    """

    title: str
    library: str
    worker: str
    method: str
    parameter: str
    strict: float
    loose: float
    cost: int = 1
    quick: bool = False  # whether the quick form has it


OPPONENTS = (
    Opponent("ADWIN, raw", "river", "river_raw", "adwin", "delta", 1e-12, 0.5, quick=True),
    Opponent("Page-Hinkley, raw", "river", "river_raw", "page_hinkley", "threshold", 1e4, 5.0, quick=True),
    Opponent("KSWIN, raw", "river", "river_raw", "kswin", "-log10 alpha", 18.0, 1.0, cost=10),
    Opponent(
        "Evidently, its choice", "evidently", "evidently_windows", "default", "distance", 2.0, 0.005, 4, quick=True
    ),
    Opponent("Evidently, KS", "evidently", "evidently_windows", "ks", "-log10 p", 50.0, 0.1, 4),
    Opponent("Evidently, PSI", "evidently", "evidently_windows", "psi", "PSI", 5.0, 0.001, 4),
    Opponent("Evidently, Jensen-Shannon", "evidently", "evidently_windows", "jensenshannon", "distance", 1.0, 0.005, 4),
    Opponent(
        "NannyML, Jensen-Shannon", "nannyml", "nannyml_chunks", "jensen_shannon", "distance", 1.0, 0.005, quick=True
    ),
    Opponent("NannyML, KS", "nannyml", "nannyml_chunks", "kolmogorov_smirnov", "distance", 1.0, 0.005),
    Opponent("NannyML, Wasserstein", "nannyml", "nannyml_chunks", "wasserstein", "distance", 2.0, 0.005),
    Opponent("NannyML, Hellinger", "nannyml", "nannyml_chunks", "hellinger", "distance", 1.0, 0.005),
    Opponent("alibi-detect, CvM online", "alibi-detect", "alibi_online", "cvm", "times the threshold", 20.0, 0.5, 20),
)

NOT_COMPARED = {
    "alibi-detect, MMD and LSDD online": "need TensorFlow or PyTorch, and judge all features together",
    "alibi-detect, FET online": "is for streams of zeros and ones only",
}
"""Detectors of the libraries that are not compared, each with the reason."""

THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


class Asked:
    """The process of an opponent, which runs inside the ``with`` block. Raises LeftOut when it cannot be started."""

    one_by_one = True

    def __init__(self, opponent: Opponent, python: Path | None = None) -> None:
        self._opponent = opponent
        self._python = python or environments.python_of(opponent.library)
        self._folder = tempfile.TemporaryDirectory()
        self._errors = (Path(self._folder.name) / "stderr").open("w+")
        self._files: dict[str, str] = {}
        self._process = subprocess.Popen(
            [str(self._python), "-W", "ignore", "-m", f"benchmarks.detection.workers.{opponent.worker}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=environments.ROOT,
            env={**os.environ, **THREADS, "DO_NOT_TRACK": "1"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()
        self._folder.cleanup()

    def alarms(self, parameter: float | None, reference: Floats, streams: Floats) -> list[list[int]]:
        """Events at which the detector alarms in each of ``streams``, shape (runs, events). None: the default."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        question = {
            "method": self._opponent.method,
            "parameter": parameter,
            "reference": self._file(reference),
            "streams": self._file(streams),
        }
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._errors.seek(0)
            lines = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
            raise LeftOut(f"its process ended: {lines[-1][:200] if lines else 'without output'}")
        found: list[list[int]] = json.loads(answer)["alarms"]
        return found

    def named(self, parameter: float | None, reference: Floats, streams: Floats, after: int) -> list[int]:
        """Features that alarm after event ``after``. ``streams``: features of one model, shape (F, events)."""
        found = self.alarms(parameter, reference, streams)
        return [feature for feature, events in enumerate(found) for event in events if event > after]

    def _file(self, values: Floats) -> str:
        key = hashlib.blake2b(values.tobytes() + str(values.shape).encode()).hexdigest()
        if key not in self._files:
            path = Path(self._folder.name) / f"{len(self._files)}.npy"
            np.save(path, values)
            self._files[key] = str(path)
        return self._files[key]


def by_library(opponents: Sequence[Opponent] = OPPONENTS) -> list[list[Opponent]]:
    """The opponents by library. Those of one library run one after the other in one environment."""
    names = dict.fromkeys(opponent.library for opponent in opponents)
    return [[o for o in opponents if o.library == name] for name in names]
