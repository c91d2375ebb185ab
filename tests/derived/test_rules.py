"""The table of derived features: a line in it reaches the decoder, the bank and references."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from detectors.columns import MISSING, PRESENT, Bytes8, Floats
from detectors.derived import rules
from detectors.derived.rules import RULES, Rule, derived, derived_names
from detectors.features import Kind
from tests.judge.streams import opened, reference_of, replayed


def length(values: Sequence[Any] | np.ndarray) -> tuple[Floats, Bytes8]:
    numbers = np.array([[float(len(v)) if v is not None else 0.0] for v in values])
    return numbers, np.array([MISSING if v is None else PRESENT for v in values], np.uint8)


def test_names_and_values_of_a_kind_are_those_of_all_its_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    before = derived("v", [[3.0, 4.0], None])
    monkeypatch.setitem(rules.RULES, Kind.VECTOR, (*RULES[Kind.VECTOR], Rule((".entries",), length)))
    found = derived("v", [[3.0, 4.0], None])
    assert found.names == (*before.names, "v.entries") == tuple(derived_names("v"))
    assert (found.numbers[:, :-1] == before.numbers).all()
    assert (found.numbers[0, -1], found.status[:, -1].tolist()) == (2.0, [PRESENT, MISSING])


def test_one_line_derives_a_feature_from_texts_in_references_and_in_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(rules.RULES, Kind.CATEGORICAL, (Rule((".characters",), length),))
    rng = np.random.default_rng(5)

    def texts(rows: int, longest: int) -> list[str | None]:
        lengths = rng.integers(1, longest, rows).tolist()
        return [None if n == 3 else "x" * n + str(row) for row, n in enumerate(lengths)]

    reference = reference_of({"note": texts(5_000, 20)})
    assert [f.feature for f in reference.features] == ["note", "note.characters"]
    report = replayed(reference, {"note": [*texts(1_000, 20), *texts(800, 60)]})
    ((_, features, reason),) = opened(report)
    assert (features, reason) == (["note.characters"], "distribution-change")
