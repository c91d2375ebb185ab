"""The package ``driftline``: its names are those of the modules that define them, and importing it loads no library."""

import importlib
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import driftline
from detectors.errors import ReferenceError
from detectors.reference.reference import Reference, encode
from stream.publisher import InferencePublisher
from stream.training import build_reference

ROOT = Path(__file__).parents[2]


def python(program: str) -> str:
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return answer.stdout.strip()


def test_every_public_name_has_a_module_and_is_what_that_module_defines() -> None:
    assert set(driftline.__all__) == set(driftline._MODULES)
    for name, module in driftline._MODULES.items():
        assert getattr(driftline, name) is getattr(importlib.import_module(module), name)
        assert name in dir(driftline)


def test_the_import_paths_from_before_keep_working() -> None:
    assert driftline.InferencePublisher is InferencePublisher
    assert isinstance(build_reference("m", "1", {"x": [1.0, 2.0]}), Reference)


def test_a_reference_is_read_from_its_file(tmp_path: Path) -> None:
    reference = build_reference("m", "1", {"x": [1.0, 2.0]})
    file = tmp_path / "reference.json"
    file.write_bytes(encode(reference))
    assert driftline.read_reference(file) == reference
    with pytest.raises(ReferenceError, match=r"absent\.json: cannot be read"):
        driftline.read_reference(tmp_path / "absent.json")


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'driftline' has no attribute 'Absent'"):
        driftline.Absent  # noqa: B018
    with pytest.raises(ImportError, match="Absent"):
        exec("from driftline import Absent")


def test_importing_driftline_loads_neither_a_library_nor_its_other_packages() -> None:
    loaded = python(
        "import sys; before = set(sys.modules); import driftline; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    assert loaded == "driftline"


def test_the_publisher_loads_no_library_of_the_service() -> None:
    heavy = "faust aiokafka river numpy scipy pandas pyarrow numba datasketches aiohttp prometheus_client matplotlib"
    program = (
        f"import sys; from driftline import InferencePublisher; print(*sorted(set(sys.modules) & set({heavy.split()})))"
    )
    assert python(program) == ""


@pytest.mark.slow
def test_a_type_checker_knows_the_public_names_and_refuses_others(tmp_path: Path) -> None:
    file = tmp_path / "user.py"
    file.write_text(
        "from driftline import InferencePublisher\n"
        "reveal_type(InferencePublisher.stats)\n"
        "from driftline import Absent\n",
        encoding="utf-8",
    )
    answer = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(file)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert "InferencePublisher) -> stream.publisher.PublisherStats" in answer.stdout
    assert 'user.py:3: error: Module "driftline" has no attribute "Absent"' in answer.stdout
    assert answer.stdout.count("error:") == 1


def test_the_command_shows_its_version() -> None:
    answer = subprocess.run(
        [str(Path(sys.executable).parent / "driftline"), "--version"], capture_output=True, text=True, check=True
    )
    assert answer.stdout == f"driftline {metadata.version('driftline')}\n"
