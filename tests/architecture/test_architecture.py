"""The architecture as a test: who may import whom, what may be called where, and how long things may be."""

import ast
import re
import subprocess
import sys

import pytest

from tests.architecture import layers
from tests.architecture.sources import ROOT, Source, calls_and_reads, functions, sources

PRODUCT = sources("detectors") + sources("stream")
DETECTORS = [source for source in sources("detectors") if source.path.name != "__init__.py"]
STREAM = [source for source in sources("stream") if source.path.name != "__init__.py"]


def in_home(name: str, homes: tuple[str, ...]) -> bool:
    return any(name.startswith(home) if home.endswith(".") else name == home for home in homes)


def by_name(found: tuple[Source, ...] | list[Source]) -> dict[str, list[Source]]:
    return {"argvalues": list(found), "ids": [source.name for source in found]}  # type: ignore[dict-item]


@pytest.mark.parametrize("source", **by_name(DETECTORS))
def test_detectors_import_nothing_of_stream_and_no_edge_of_the_world(source: Source) -> None:
    banned = {"stream", "asyncio", "logging", "time", "os", "io", "pathlib", "random", "threading", "socket", "sys"}
    roots = {name.split(".")[0] for name in source.imports()}
    assert not roots & banned


@pytest.mark.parametrize("source", **by_name(PRODUCT))
def test_each_library_is_imported_in_its_one_home(source: Source) -> None:
    for name in source.imports():
        homes = layers.HOMES.get(name.split(".")[0])
        assert homes is None or in_home(source.name, homes), f"{source.name} imports {name}, at home in {homes}"


WALL_CLOCK = re.compile(r"^(time\.(time|time_ns|sleep)|(datetime\.)*(datetime|date)\.(now|utcnow|today))$")
CLOCK_HOMES = (
    "stream.backends.",  # the system clock is a backend
    "stream.publisher",  # stamps the event
    "stream.demo.command",  # a person watches it
    "stream.terminal.live",
)
"""Who may ask what time it is. Everybody else is told: ``now_ms`` is an argument."""


@pytest.mark.parametrize("source", **by_name(PRODUCT))
def test_only_the_edges_read_the_wall_clock(source: Source) -> None:
    if in_home(source.name, CLOCK_HOMES):
        return
    read = [(line, text) for line, text in calls_and_reads(source) if WALL_CLOCK.match(text)]
    assert not read


@pytest.mark.parametrize("source", **by_name(DETECTORS))
def test_detectors_measure_no_time(source: Source) -> None:
    assert not [text for _, text in calls_and_reads(source) if text.startswith(("time.", "datetime.datetime.now"))]


@pytest.mark.parametrize("source", **by_name(PRODUCT))
def test_only_the_settings_read_the_environment(source: Source) -> None:
    if source.name == "stream.settings.settings":
        return
    read = [(line, text) for line, text in calls_and_reads(source) if re.match(r"^os\.(environ|getenv|putenv)", text)]
    assert not read


@pytest.mark.parametrize("source", **by_name(PRODUCT))
def test_nothing_prints_past_the_consoles(source: Source) -> None:
    assert not [line for line, text in calls_and_reads(source) if text in ("print", "sys.stdout.write")]


@pytest.mark.parametrize("source", **by_name(PRODUCT))
def test_randomness_is_handed_in_or_seeded(source: Source) -> None:
    bare = re.compile(
        r"^(random\.(random|randint|choice|choices|shuffle|uniform|gauss|sample)|np\.random\.(?!default_rng|Generator).*)$"
    )
    assert not [(line, text) for line, text in calls_and_reads(source) if bare.match(text)]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("default_rng"):
            assert node.args or node.keywords, f"{source.name}:{node.lineno}: default_rng without a seed"


@pytest.mark.parametrize("source", **by_name(PRODUCT))
def test_nothing_received_can_run_code(source: Source) -> None:
    banned = re.compile(
        r"^(pickle\.loads?|cPickle\..*|eval|exec|yaml\.(unsafe_load|full_load)|marshal\.loads?|dill\..*)$"
    )
    assert not [(line, text) for line, text in calls_and_reads(source) if banned.match(text)]


@pytest.mark.parametrize("source", **by_name(PRODUCT))
def test_modules_have_at_most_400_lines_and_functions_at_most_50(source: Source) -> None:
    assert len(source.text.splitlines()) <= 400
    long = [
        (f.name, f.end_lineno - f.lineno) for f in functions(source) if f.end_lineno and f.end_lineno - f.lineno > 50
    ]
    assert not long


@pytest.mark.parametrize("source", **by_name(PRODUCT))
def test_a_module_says_what_lives_in_it_and_a_package_holds_nothing(source: Source) -> None:
    if source.path.name == "__init__.py":
        assert source.text == ""
    else:
        assert ast.get_docstring(source.tree)


def test_the_command_line_starts_without_a_heavy_library() -> None:
    heavy = (
        "faust aiokafka river numpy pyarrow pandas matplotlib datasketches aiohttp prometheus_client confluent_kafka"
    )
    program = f"import sys, stream.commands.cli; print(*sorted(set(sys.modules) & set({heavy.split()!r})))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == ""


def test_the_sources_name_no_host_of_a_package_index() -> None:
    indexes = re.compile(r"pypi\.org|files\.pythonhosted|repo1?\.maven\.org|registry\.npmjs|index-url")
    files = [*ROOT.glob("*.toml"), *ROOT.glob("*.txt"), ROOT / "Makefile", *(ROOT / ".ci").glob("*")]
    texts = {str(path): path.read_text(encoding="utf-8") for path in files if path.is_file()}
    texts.update({source.name: source.text for source in PRODUCT})
    assert not [name for name, text in texts.items() if indexes.search(text)]
