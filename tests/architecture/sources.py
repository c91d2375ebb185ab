"""The project's modules as syntax trees."""

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Source(NamedTuple):
    """One module: its dotted name, path, text and tree."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def folder(self) -> str:
        """The folder of the module, relative to the checkout."""
        return self.path.parent.relative_to(ROOT).as_posix()

    @cache  # noqa: B019 - sources live as long as the tests
    def imports(self, *, top_level: bool = False) -> set[str]:
        """Dotted names of the modules imported; with ``top_level`` only those at import time."""
        nodes = list(_at_import(self.tree)) if top_level else list(ast.walk(self.tree))
        found: set[str] = set()
        for node in nodes:
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.update(_from(node.module, [alias.name for alias in node.names]))
        return found


def _from(module: str, names: list[str]) -> set[str]:
    """``from stream.topics import keys`` and ``from stream.topics.keys import Key`` both import stream.topics.keys."""
    inner = {f"{module}.{name}" for name in names if _is_module(f"{module}.{name}")}
    return inner if inner and len(inner) == len(names) else inner | {module}


def _is_module(name: str) -> bool:
    path = ROOT / Path(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def _at_import(tree: ast.AST) -> list[ast.AST]:
    found: list[ast.AST] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        found.append(node)
        found.extend(_at_import(node))
    return found


@cache
def sources(folder: str) -> tuple[Source, ...]:
    """Every module under ``folder``, sorted by name."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Source(name, path, text, ast.parse(text)))
    return tuple(found)


def functions(source: Source) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a module, inner ones included."""
    return [node for node in ast.walk(source.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@cache
def calls_and_reads(source: Source) -> list[tuple[int, str]]:
    """Line and dotted text of every call's target and every attribute read."""
    found = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            found.append((node.lineno, ast.unparse(node.func)))
        elif isinstance(node, ast.Attribute):
            found.append((node.lineno, ast.unparse(node)))
    return found


PACKAGES = ("detectors", "stream", "driftline", "benchmarks", "tests")


@cache
def modules_imported(source: Source) -> tuple[tuple[str, str], ...]:
    """The project's modules that a module imports anywhere, type checking included: name and folder of each."""
    found = set()
    for name in source.imports():
        if name.split(".")[0] not in PACKAGES:
            continue
        while not _is_module(name):
            name = name.rsplit(".", 1)[0]
        path = ROOT / Path(*name.split("."))
        found.add((name, (path if path.is_dir() else path.parent).relative_to(ROOT).as_posix()))
    return tuple(sorted(found))
