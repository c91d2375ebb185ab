"""Broken data is distinguished from a changed world, over independent and dependent rows; a likeness is no proof."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from detectors.calibration.synthetic import autoregressive, normal
from tests.judge.streams import opened, reference_of, replayed

BEFORE, AFTER = 1_000, 5_200
Columns = dict[str, Any]
Change = Callable[[np.random.Generator, Columns], Columns]


def drawn(rng: np.random.Generator, rows: int, dependent: bool) -> Columns:
    """Four numbers far apart in scale, two categories of like kind."""
    noise = autoregressive(0.7) if dependent else normal
    a, b, c, d = (noise(rng, rows, 0) for _ in range(4))
    town = rng.choice(["oslo", "bern", "rome"], rows, p=[0.5, 0.3, 0.2]).tolist()
    fruit = rng.choice(["fig", "pear", "lime"], rows, p=[0.5, 0.3, 0.2]).tolist()
    return {"age": 40 + 5 * a, "price": np.exp(3 + b), "degrees": 20 + c, "weight": 70 + 4 * d, "town": town,
            "fruit": fruit}  # fmt: skip


def missing(rng: np.random.Generator, values: Any) -> list[Any]:
    return [None if rng.random() < 0.4 else float(v) for v in values]


def swapped(one: str, other: str) -> Change:
    return lambda rng, c: {**c, one: c[other], other: c[one]}


def scaled(name: str, factor: float, offset: float = 0.0) -> Change:
    return lambda rng, c: {**c, name: c[name] * factor + offset}


CASES: list[tuple[str, Change, str, str, str]] = [
    ("missing", lambda rng, c: {**c, "age": missing(rng, c["age"])}, "age", "missing-values", "age is missing in"),
    ("stuck", lambda rng, c: {**c, "price": c["price"] * 0 + 25.5}, "price", "stuck-value", "price is stuck at 25.5"),
    ("stuck category", lambda rng, c: {**c, "town": ["bern"] * len(c["town"])}, "town", "stuck-value", "'bern'"),
    ("thousand", scaled("price", 1_000), "price", "unit-change", "price is 1000 times"),
    ("thousandth", scaled("price", 0.001), "price", "unit-change", "price is 0.001 times"),
    ("inch", scaled("weight", 1 / 2.54), "weight", "unit-change", "weight is 0.3937 times"),
    ("foot", scaled("age", 0.3048), "age", "unit-change", "age is 0.3048 times"),
    ("pound", scaled("weight", 1 / 0.4536), "weight", "unit-change", "weight is 2.205 times"),
    ("fahrenheit", scaled("degrees", 1.8, 32), "degrees", "unit-change", "degrees is 1.8 times what it was plus 32"),
    ("swapped", swapped("age", "weight"), "age", "swapped-columns", "have changed places"),
    ("swapped scales", swapped("age", "price"), "age", "swapped-columns", "have changed places"),
    ("swapped categories", swapped("town", "fruit"), "town", "swapped-columns", "have changed places"),
    ("doubled", scaled("price", 2.0), "price", "distribution-change", "distributed otherwise"),
    ("tripled", scaled("weight", 3.0), "weight", "distribution-change", "distributed otherwise"),
    ("half as much again", scaled("age", 1.5), "age", "distribution-change", "distributed otherwise"),
    ("five times", scaled("price", 5.0), "price", "distribution-change", "distributed otherwise"),
    ("shifted", scaled("age", 1.0, 10.0), "age", "distribution-change", "distributed otherwise"),
    ("alike by chance", lambda rng, c: {**c, "age": c["weight"] + 0.0}, "age", "distribution-change", "otherwise"),
    ("new town", lambda rng, c: {**c, "town": ["paris" if t == "oslo" else t for t in c["town"]]}, "town",
     "distribution-change", "otherwise"),
]  # fmt: skip


@pytest.mark.parametrize(
    "dependent", [pytest.param(False, id="independent"), pytest.param(True, id="dependent", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(("what", "change", "feature", "reason", "words"), CASES, ids=[case[0] for case in CASES])
def test_the_confirmed_verdict_names_what_was_broken(
    what: str, change: Change, feature: str, reason: str, words: str, dependent: bool
) -> None:
    rng = np.random.default_rng(5)
    reference = reference_of(drawn(rng, 8_000, dependent))
    before, after = drawn(rng, BEFORE, dependent), drawn(rng, AFTER, dependent)
    after = change(rng, after)
    report = replayed(reference, {name: [*before[name], *after[name]] for name in before}, step_ms=60_000)
    ((_, names, found),) = opened(report)
    incident = report["incidents"][0]
    assert (found, feature in names) == (reason, True), incident["summary"]
    assert words in incident["summary"]
    assert incident["verdict"] == ("world-changed" if reason == "distribution-change" else "broken-data")
    assert incident["verdict_events"] >= 4_096


def test_a_new_environment_explains_what_changed_with_it() -> None:
    rng = np.random.default_rng(6)
    trained = {"numpy": "1.26.4", "python": "3.11"}
    reference = reference_of(drawn(rng, 8_000, dependent=False), environment=trained)
    before, after = drawn(rng, BEFORE, dependent=False), drawn(rng, 1_500, dependent=False)
    after["age"] = after["age"] + 5
    serving = [trained] * BEFORE + [{**trained, "numpy": "2.1.0"}] * 1_500
    report = replayed(reference, {n: [*before[n], *after[n]] for n in before}, environments=serving)
    assert {(kind, reason) for kind, _, reason in opened(report)} == {
        ("environment", "new-environment"), ("feature", "new-environment")}  # fmt: skip


def test_features_that_move_together_are_one_incident_in_the_order_of_their_evidence_and_end_together() -> None:
    rng = np.random.default_rng(7)
    reference = reference_of(drawn(rng, 8_000, dependent=False))
    parts = [drawn(rng, rows, dependent=False) for rows in (BEFORE, 800, 8_000)]
    parts[1]["age"] = parts[1]["age"] + 10
    parts[1]["weight"] = parts[1]["weight"] + 3
    report = replayed(reference, {n: [v for part in parts for v in part[n]] for n in parts[0]})
    (incident,) = report["incidents"]
    assert [row["feature"] for row in incident["features"]] == ["age", "weight"]
    evidence = [row["evidence_log10"] for row in incident["features"]]
    assert evidence == sorted(evidence, reverse=True)
    assert (incident["status"], incident["resolution"]) == ("resolved", "back-to-reference")
    assert report["state"] == "stable"
    low, high = incident["began_interval"]
    assert low <= BEFORE <= high
    for row in incident["features"]:
        assert sum(row["reference_histogram"]["counts"]) == 8_000
        assert len(row["histogram"]["counts"]) == len(row["reference_histogram"]["counts"])
        assert {
            "psi",
            "wasserstein",
            "kolmogorov_smirnov",
            "jensen_shannon",
            "missing_share",
            "unexpected_share",
        } <= set(row)
