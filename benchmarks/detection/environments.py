"""Makes one environment for each library to compare with, because they pin old packages. Kept under build/."""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
PINS = Path(__file__).parent / "environments"
KEPT = ROOT / "build" / "benchmark-environments"
OWN = "river"
"""The library that driftline's own environment has."""

ALSO = {"nannyml": ["statsmodels"]}
"""Packages that a library imports without requiring them."""


class LeftOut(Exception):
    """A library cannot be compared with on this machine. The text is the reason."""


def python_of(library: str) -> Path:
    """The interpreter that can import ``library``; makes its environment when there is none. Raises LeftOut."""
    if library == OWN:
        return Path(sys.executable)
    pins = PINS / f"{library}.txt"
    digest = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = KEPT / f"{library}-{digest}"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = folder / ".installed"
    if not done.exists():
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(pins)]
        made = subprocess.run([*command, library, *ALSO.get(library, ())], capture_output=True, text=True, check=False)
        if made.returncode:
            raise LeftOut(f"does not install: {_last_line(made.stderr)}")
        done.touch()
    return python


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no reason given"
