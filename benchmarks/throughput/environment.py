"""A virtual environment for the frameworks: they pin versions that conflict with ours. It is made once and kept."""

import subprocess
import sys
from pathlib import Path

REQUIREMENTS = ("quixstreams==3.28.1", "bytewax[kafka]==0.21.1", "river==0.26.1", "orjson==3.13.0")


def python(folder: Path) -> Path | None:
    """The interpreter of the environment; None, with a message, when it cannot be made."""
    made = folder / "bin" / "python"
    stamp = folder / ".installed"
    if stamp.exists() and stamp.read_text() == _wanted():
        return made
    print(f"setting up {folder.name} for Quix Streams and Bytewax ...", flush=True)
    pip = [str(made), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([*pip, *REQUIREMENTS], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{folder.name}: {error}", file=sys.stderr)
        return None
    stamp.write_text(_wanted())
    return made


def _wanted() -> str:
    return "\n".join((sys.version, *REQUIREMENTS))
