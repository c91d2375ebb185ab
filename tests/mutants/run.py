"""Applies planted bugs one at a time in a copy of the tree, and finds the test that catches each."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.mutants.mutant import Mutant

ROOT = Path(__file__).parents[2]

LIMIT_SECONDS = 60
"""The tests that a mutant names must catch it within this time."""

FOLDER_SECONDS = 300
"""Time for the everyday tests of the folders, where the named tests do not catch a mutant."""

LEFT_OUT = (".*", "__pycache__", "*.egg-info", "build", "dist")

EVERYDAY = "not slow and not kafka"

OPTIONS = ("-x", "-q", "--tb=no", "--no-header", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib")


class Found(NamedTuple):
    """The test that failed, None where none did, and how long it took to find it. ``named``: the mutant names it."""

    test: str | None
    seconds: float
    named: bool


class Copy:
    """A copy of the tree, in which one file at a time is changed. ``folder``: an empty one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
        self._changes = time.time() + 1

    def check(self, tests: Iterable[str]) -> str | None:
        """The first of these tests that fails without a bug; None where all pass, as they must."""
        return self._failing(sorted(set(tests)), FOLDER_SECONDS * 4)

    def find(self, mutant: Mutant, *, named_only: bool = False) -> Found:
        """Plants a bug, runs the named tests and then those of their folders, and takes the bug out again."""
        path, before = self.folder / mutant.file, (ROOT / mutant.file).read_text()
        self._write(path, before.replace(mutant.old, mutant.new))
        try:
            began = time.monotonic()
            test = self._failing(mutant.tests, LIMIT_SECONDS)
            if test is not None or named_only:
                return Found(test, time.monotonic() - began, named=True)
            folders = sorted({str(Path(test.split("::")[0]).parent) for test in mutant.tests})
            return Found(self._failing(folders, FOLDER_SECONDS), time.monotonic() - began, named=False)
        finally:
            self._write(path, before)

    def _write(self, path: Path, text: str) -> None:
        """Each change has a time of its own: otherwise Python could take the bytecode of the change before."""
        path.write_text(text)
        self._changes += 2
        os.utime(path, (self._changes, self._changes))

    def _failing(self, tests: Sequence[str], seconds: float) -> str | None:
        """The name of the first of the everyday ``tests`` that fails; None where all pass or time is up."""
        command = [sys.executable, "-m", "pytest", *OPTIONS, "-rfE", "-m", EVERYDAY, *tests]
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        try:
            ran = subprocess.run(
                command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            return None
        if ran.returncode == 0:
            return None
        found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", ran.stdout, re.MULTILINE)
        assert found, f"pytest ended with {ran.returncode}:\n{ran.stdout[-2_000:]}{ran.stderr[-2_000:]}"
        return found[1]
