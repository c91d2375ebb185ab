"""How long functions and classes may be, and which attributes a function may assign to."""

import ast
from functools import cache
from typing import NamedTuple

from tests.architecture.sources import Source

FUNCTION_LINES = 50
CLASS_LINES = 250
CLASS_ATTRIBUTES = 15

RATCHET: dict[str, tuple[int, int]] = {
    "detectors.bank.bank.Bank": (284, 26),
    "detectors.evidence.e_detector.Evidence": (178, 18),
    "stream.observe.shell.runner.Runner": (234, 19),
    "stream.publisher.InferencePublisher": (173, 16),
}
"""Classes above the limit on the day it was made, with lines and attributes. They may shrink and never grow."""

OF_LIBRARIES = ("console.width",)
"""Attributes of a library's object that a class of ours has by the same name."""


class Class(NamedTuple):
    """One class: dotted name, lines, attributes that its methods assign or its slots name."""

    name: str
    lines: int
    attributes: frozenset[str]


def lines(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int:
    """Lines of a definition below its first."""
    return (node.end_lineno or node.lineno) - node.lineno


@cache
def classes(source: Source) -> tuple[Class, ...]:
    """Every class of a module."""
    found = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef):
            attributes = {
                target.attr
                for target in _targets(node)
                if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self"
            }
            found.append(Class(f"{source.name}.{node.name}", lines(node), frozenset(attributes | _slots(node))))
    return tuple(found)


@cache
def _fields(source: Source) -> frozenset[str]:
    """Names of attributes that the classes of a module define: assigned, in slots, or annotated."""
    found: set[str] = set()
    for one in classes(source):
        found |= one.attributes
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef):
            found |= {n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    return frozenset(found)


def foreign_assignments(source: Source, product: tuple[Source, ...]) -> list[tuple[int, str]]:
    """Lines that assign to an attribute of an object whose class another module defines.

    An argument's annotation names the class. Where there is none, the attribute's name decides: no class of this
    module defines it, and a class of another module does.
    """
    others = frozenset().union(*(_fields(other) for other in product))
    own = {node.name for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef)}
    classes_of_others = {one.name.rsplit(".", 1)[1] for other in product for one in classes(other)} - own
    found: dict[int, str] = {}
    for node in ast.walk(source.tree):
        arguments = _arguments(node) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else {}
        for target in _targets(node) if arguments or node is source.tree else ():
            if not isinstance(target, ast.Attribute) or ast.unparse(target.value) in ("self", "cls"):
                continue
            if ast.unparse(target) in OF_LIBRARIES:
                continue
            by_type = arguments.get(ast.unparse(target.value)) in classes_of_others
            by_name = target.attr not in _fields(source) and target.attr in others
            if by_type or by_name:
                found[target.lineno] = ast.unparse(target)
    return sorted(found.items())


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, str]:
    """Arguments of a function with the last word of their annotation."""
    return {
        argument.arg: ast.unparse(argument.annotation).strip("'").rsplit(".", 1)[-1]
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        if argument.annotation is not None
    }


def _targets(tree: ast.AST) -> list[ast.expr]:
    """What a tree assigns to, one by one."""
    found: list[ast.expr] = []
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            found.extend(target.elts if isinstance(target, ast.Tuple | ast.List) else [target])
    return found


def _slots(node: ast.ClassDef) -> set[str]:
    for statement in node.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__slots__":
            value = ast.literal_eval(statement.value)
            return {value} if isinstance(value, str) else set(value)
    return set()
