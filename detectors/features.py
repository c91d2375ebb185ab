"""What is monitored: units, feature keys and kinds. No statistics here.

Every monitored column is a *feature*, whatever part of the event it came from. Its key is its name; what a model
emits beside its inputs has a key that begins with ``@`` so that it can never clash with an input's name:
``@prediction``, ``@score.NAME``, ``@latency_ms``, ``@error``.
"""

from enum import StrEnum
from typing import NamedTuple

import msgspec

PREDICTION = "@prediction"
SCORE_PREFIX = "@score."
LATENCY_MS = "@latency_ms"
ERROR = "@error"


class Kind(StrEnum):
    """How a feature's values are read. BOOLEAN is categorical with the categories ``false`` and ``true``.

    VECTOR is a list of numbers; it is monitored through numeric features derived from it, never itself.
    """

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"
    VECTOR = "vector"


class ModelKey(NamedTuple):
    """What a reference belongs to."""

    model: str
    version: str

    def __str__(self) -> str:
        return f"{self.model}/{self.version}"


class UnitKey(NamedTuple):
    """What is judged as one: a model version, or one segment of its population. ``segment`` None is the whole."""

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
