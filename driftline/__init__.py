"""The public imports of driftline: ``from driftline import InferencePublisher``.

This package only names things that other modules define, and loads such a module when one of its names is first used.
``import driftline`` itself therefore loads no library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream.publisher import InferencePublisher
    from stream.references.artefact import read_reference

__all__ = ["InferencePublisher", "read_reference"]

_MODULES = {"InferencePublisher": "stream.publisher", "read_reference": "stream.references.artefact"}
"""The module that defines each public name."""


if not TYPE_CHECKING:  # a type checker reads the imports above: with __getattr__ it would accept every name

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_MODULES[name]), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
