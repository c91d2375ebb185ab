"""The architecture as a test: who may import whom, what may be called where, and how long things may be."""

import ast
import re
import subprocess
import sys

import pytest

from tests.architecture import folders, limits
from tests.architecture.sources import ROOT, Source, calls_and_reads, functions, modules_imported, sources

PRODUCT = sources("detectors") + sources("stream") + sources("driftline")
MODULES = [source for source in PRODUCT if source.path.name != "__init__.py"]
CODE = PRODUCT + sources("benchmarks") + sources("tests")
DETECTORS = [source for source in sources("detectors") if source.path.name != "__init__.py"]

_NOWHERE = folders.Folder("", ())


def in_home(name: str, homes: tuple[str, ...]) -> bool:
    return any(name.startswith(home) if home.endswith(".") else name == home for home in homes)


def by_name(found: tuple[Source, ...] | list[Source]) -> dict[str, list[Source]]:
    return {"argvalues": list(found), "ids": [source.name for source in found]}  # type: ignore[dict-item]


@pytest.mark.parametrize("source", **by_name(DETECTORS))
def test_detectors_import_nothing_of_stream_and_no_edge_of_the_world(source: Source) -> None:
    banned = {"stream", "asyncio", "logging", "time", "os", "io", "pathlib", "random", "threading", "socket", "sys"}
    roots = {name.split(".")[0] for name in source.imports()}
    assert not roots & banned


@pytest.mark.parametrize("source", **by_name(MODULES))
def test_a_folder_is_on_the_map_and_imports_only_what_the_map_allows(source: Source) -> None:
    assert source.folder in folders.FOLDERS, f"{source.folder} is not on the map in tests/architecture/folders.py"
    public = folders.PUBLIC_NAMES.get(source.name, ())
    wrong = [
        name
        for name, folder in modules_imported(source)
        if name not in public and not folders.may_import(source.folder, folder)
    ]
    assert not wrong, f"{source.folder} may not import these: {wrong}"


def test_the_map_names_only_folders_that_exist() -> None:
    assert {source.folder for source in MODULES} == set(folders.FOLDERS)


def test_the_house_has_at_most_30_rooms_at_its_top_two_levels() -> None:
    assert len({"/".join(folder.split("/")[:2]) for folder in folders.FOLDERS}) <= 30


def test_no_module_imports_itself_through_others() -> None:
    graph = {source.name: {name for name, _ in modules_imported(source)} - {source.name} for source in CODE}
    assert not cycles(graph)


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of two modules or more (Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(graph.get(name, ())):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            component = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(component) > 1:
                found.append(component)

    for name in sorted(graph):
        if name not in order:
            visit(name)
    return found


def test_the_search_for_cycles_finds_one() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


@pytest.mark.parametrize("source", **by_name([s for s in MODULES if folders.FOLDERS.get(s.folder, _NOWHERE).pure]))
def test_a_pure_folder_uses_no_loop_clock_file_or_log(source: Source) -> None:
    banned = {"asyncio", "logging", "time", "os", "io", "pathlib", "threading", "socket", "random", "tempfile", "sys"}
    used = {name.split(".")[0] for name in source.imports()} & banned
    assert used == folders.EDGES_IN_PURE_FOLDERS.get(source.name, set())


def test_a_core_never_imports_its_shell() -> None:
    shells = {folder for folder in folders.FOLDERS if folder.endswith("/shell")}
    assert not [
        (source.name, name)
        for source in MODULES
        for name, folder in modules_imported(source)
        if folder in shells and source.folder == folder.removesuffix("/shell")
    ]


@pytest.mark.parametrize("source", **by_name(PRODUCT))
def test_a_function_has_at_most_50_lines(source: Source) -> None:
    assert not [(f.name, limits.lines(f)) for f in functions(source) if limits.lines(f) > limits.FUNCTION_LINES]


@pytest.mark.parametrize("source", **by_name(PRODUCT))
def test_a_class_has_at_most_250_lines_and_15_attributes(source: Source) -> None:
    for found in limits.classes(source):
        lines, attributes = limits.RATCHET.get(found.name, (limits.CLASS_LINES, limits.CLASS_ATTRIBUTES))
        assert found.lines <= max(lines, limits.CLASS_LINES), found
        assert len(found.attributes) <= max(attributes, limits.CLASS_ATTRIBUTES), found


def test_the_ratchet_names_only_classes_that_are_above_the_limit() -> None:
    sizes = {found.name: found for source in PRODUCT for found in limits.classes(source)}
    for name in limits.RATCHET:
        assert name in sizes, f"{name} is gone: remove it from the ratchet"
        found = sizes[name]
        assert found.lines > limits.CLASS_LINES or len(found.attributes) > limits.CLASS_ATTRIBUTES, found


@pytest.mark.parametrize("source", **by_name(PRODUCT))
def test_no_function_assigns_to_an_attribute_of_another_files_class(source: Source) -> None:
    assert not limits.foreign_assignments(source, PRODUCT)


def test_tests_mirror_the_tree() -> None:
    mirrored = {"tests/" + folder.split("/", 1)[1] for folder in folders.FOLDERS if "/" in folder}
    found = {source.folder for source in sources("tests")} - {"tests"}
    assert not found - mirrored - set(folders.TEST_SUITES)


@pytest.mark.parametrize("source", **by_name(PRODUCT))
def test_each_library_is_imported_in_its_one_home(source: Source) -> None:
    for name in source.imports():
        homes = folders.HOMES.get(name.split(".")[0])
        assert homes is None or in_home(source.name, homes), f"{source.name} imports {name}, at home in {homes}"


WALL_CLOCK = re.compile(r"^(time\.(time|time_ns|sleep)|(datetime\.)*(datetime|date)\.(now|utcnow|today))$")


@pytest.mark.parametrize("source", **by_name(PRODUCT))
def test_only_the_edges_read_the_wall_clock(source: Source) -> None:
    if in_home(source.name, folders.CLOCK_HOMES):
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
def test_a_module_says_what_lives_in_it_and_a_package_holds_nothing(source: Source) -> None:
    if source.name == "driftline":  # the public imports: names of other modules and no code of its own
        assert ast.get_docstring(source.tree)
        assert not [node for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef)]
    elif source.path.name == "__init__.py" and source.name not in folders.PUBLIC_NAMES:
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
