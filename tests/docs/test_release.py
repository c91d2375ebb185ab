"""The wheel: it contains everything that is needed, and runs in a fresh environment."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT

BUILT_FROM = ("detectors/", "driftline/", "stream/", "pyproject", "README", "LICENSE", "NOTICE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in names:  # a build in the checkout would leave its folders there
        if name.startswith(BUILT_FROM) and (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "pip", "wheel", str(source), "--no-deps", "--quiet", "-w", str(folder))
    (found,) = folder.glob("driftline-*.whl")
    return found


def run(*command: str, cwd: Path | None = None, seconds: float = 300) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("DRIFTLINE_", "PYTHON"))}
    answer = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=cwd, timeout=seconds, env={**environ, "NO_COLOR": "1"}
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_holds_every_module_and_what_the_page_needs(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    listed = subprocess.run(
        ["git", "ls-files", "detectors", "driftline", "stream"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not [name for name in listed if (ROOT / name).exists() and name not in held]
    assert {
        "stream/http/static/page.css",
        "stream/http/static/page.js",
        "stream/py.typed",
        "detectors/py.typed",
        "driftline/py.typed",
    } <= held
    licences = {name.rsplit("/", 1)[1] for name in held if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}
    assert not [name for name in held if name.startswith(("tests/", "docs/", "benchmarks/"))]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_installed_into_a_fresh_environment_the_demo_finds_its_changes(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", str(tmp_path / "venv"))
    python = str(tmp_path / "venv" / "bin" / "python")
    run(python, "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(wheel), seconds=400)
    assert run(python, "-c", "from driftline import InferencePublisher as P; print(P.__name__)", cwd=tmp_path).strip()
    program = str(tmp_path / "venv" / "bin" / "driftline")
    printed = run(program, "demo", "--headless", "--seconds", "25", "--port", "0", cwd=tmp_path, seconds=150)
    assert "3 of 3 injected changes found, no false reports" in printed
