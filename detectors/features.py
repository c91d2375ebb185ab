"""What is monitored: units, features and their kinds. No statistics here.

Every monitored column is a *feature*, whatever part of the event it comes from. Its key is its name. What a model emits
beside its inputs has a key that begins with ``@``, so that it never has the name of an input: ``@prediction``,
``@score.NAME``, ``@latency_ms``, ``@error``.
"""

from enum import StrEnum
from typing import NamedTuple

import msgspec

PREDICTION = "@prediction"
SCORE_PREFIX = "@score."
LATENCY_MS = "@latency_ms"
ERROR = "@error"


class Kind(StrEnum):
    """How the values of a feature are read. BOOLEAN is categorical with the categories ``false`` and ``true``.

    VECTOR is a list of numbers; it is monitored only through numeric features derived from it.
    """

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"
    VECTOR = "vector"


class ModelKey(NamedTuple):
    """A model version, which a reference belongs to."""

    model: str
    version: str

    def __str__(self) -> str:
        return f"{self.model}/{self.version}"


class UnitKey(NamedTuple):
    """What is judged as one: a model version, or one segment of it. ``segment`` None is the whole model version."""

    model: str
    version: str
    segment: str | None

    @property
    def model_key(self) -> ModelKey:
        return ModelKey(self.model, self.version)

    def __str__(self) -> str:
        return "/".join((self.model, self.version, self.segment or ""))


class FeatureSpec(msgspec.Struct, frozen=True):
    """A feature of one unit: its key and kind."""

    feature: str
    kind: Kind
