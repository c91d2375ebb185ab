"""Every example in a docstring gives the shown result."""

import doctest
import importlib
import pkgutil

import pytest

import detectors
import stream

MODULES = [
    module.name
    for package in (detectors, stream)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0
