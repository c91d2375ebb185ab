"""Every kind of column through the product: no incident without a change, and one that names the change with one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from detectors.calibration.synthetic import autoregressive
from stream.settings.settings import Settings
from tests.judge.streams import opened, reference_of, replayed

Rng = np.random.Generator
Draw = Callable[[Rng, int], Any]
BEFORE, AFTER = 1_500, 1_600


def categories(names: str, *shares: float) -> Draw:
    return lambda rng, n: rng.choice(list(names), n, p=shares).tolist()


def uniform(categories: int) -> Draw:
    return lambda rng, n: [f"c{i}" for i in rng.integers(0, categories, n)]


def zipf(rng: Rng, n: int) -> list[str]:
    weights = 1 / np.arange(1, 20_001) ** 1.1
    return [f"c{i}" for i in rng.choice(20_000, n, p=weights / weights.sum())]


def ids(rng: Rng, n: int) -> list[str]:
    return [f"{x:016x}" for x in rng.integers(0, 1 << 62, n)]


def sessions(rng: Rng, n: int) -> list[str]:
    start = int(rng.integers(1 << 40))
    return [f"s{start + k // 20}" for k in range(n)]


def some(rng: Rng, values: Any, share: float, other: Any) -> list[Any]:
    plain = values.tolist() if isinstance(values, np.ndarray) else values
    return [other if hit else value for hit, value in zip(rng.random(len(plain)) < share, plain, strict=True)]


def mostly_zero(rng: Rng, n: int) -> Any:
    return np.where(rng.random(n) < 0.9, 0.0, rng.lognormal(1, 1, n))


COLUMNS: dict[str, Draw] = {
    "numeric": lambda rng, n: rng.normal(40, 9, n),
    "autoregressive": lambda rng, n: 40 + 9 * autoregressive(0.8)(rng, n, 0),
    "heavy-tailed": lambda rng, n: rng.standard_cauchy(n),
    "lognormal": lambda rng, n: rng.lognormal(0, 2, n),
    "atoms": lambda rng, n: rng.choice([0.0, 1.0, 2.0, 5.0, 10.0], n, p=[0.4, 0.3, 0.15, 0.1, 0.05]),
    "mostly-zero": mostly_zero,
    "constant": lambda rng, n: np.full(n, 7.0),
    "clipped": lambda rng, n: np.clip(rng.normal(size=n), -1.0, 1.0),
    "boolean": lambda rng, n: (rng.random(n) < 0.3).tolist(),
    "rare-boolean": lambda rng, n: (rng.random(n) < 0.002).tolist(),
    "categorical": categories("abcd", 0.4, 0.3, 0.2, 0.1),
    "rare-categories": categories("abcd", 0.6, 0.39, 0.008, 0.002),
    "300-categories": uniform(300),
    "800-categories": uniform(800),
    "5000-categories": uniform(5_000),
    "long-tail": zipf,
    "id": ids,
    "session": sessions,
    "random-number": lambda rng, n: rng.integers(0, 10**9, n).astype(float),
    "missing": lambda rng, n: some(rng, rng.normal(size=n), 0.2, None),
    "invalid": lambda rng, n: some(rng, rng.normal(size=n), 0.05, "x"),
}


@pytest.mark.parametrize("rows", [500, 5_000])
def test_no_kind_of_column_raises_an_incident_while_nothing_changes(rows: int) -> None:
    rng = np.random.default_rng(rows)
    reference = reference_of({name: draw(rng, rows) for name, draw in COLUMNS.items()})
    report = replayed(reference, {name: draw(rng, 3_000) for name, draw in COLUMNS.items()})
    assert opened(report) == []
    ids_found = {f["feature"] for f in report["features"] if f["identifier"]}
    assert {"id", *(["session"] if rows > 2_000 else [])} <= ids_found
    assert ids_found <= {"id", "session", "5000-categories", "800-categories", "long-tail"}


@pytest.mark.parametrize("partitions", [1, 4])
def test_learning_from_the_stream_is_as_safe_as_a_file_and_finds_the_ids(partitions: int) -> None:
    rng = np.random.default_rng(7)
    columns = {name: draw(rng, 6_000) for name, draw in COLUMNS.items() if name != "session"}
    columns["row"] = np.arange(6_000.0)
    report = replayed(None, columns, settings=Settings(learning_events=3_000), partitions=partitions)
    assert (report["state"], opened(report)) == ("stable", [])
    assert {"id", "row"} <= {f["feature"] for f in report["features"] if f["identifier"]}


CHANGES: list[tuple[str, str, Draw | Callable[[Rng, Any], Any], str]] = [
    ("numeric", "shift", lambda rng, v: v + 9, "distribution-change"),
    ("numeric", "spread", lambda rng, v: 40 + (v - 40) * 2, "distribution-change"),
    ("numeric", "clipped", lambda rng, v: np.minimum(v, 49.0), "distribution-change"),
    ("autoregressive", "shift", lambda rng, v: v + 18, "distribution-change"),
    ("heavy-tailed", "shift", lambda rng, v: v + 2, "distribution-change"),
    ("heavy-tailed", "scale", lambda rng, v: v * 3, "distribution-change"),
    ("lognormal", "shift", lambda rng, v: v * 7, "distribution-change"),
    ("lognormal", "unit", lambda rng, v: v * 1_000, "unit-change"),
    ("atoms", "mix", lambda rng, v: rng.choice([0.0, 1, 2, 5, 10], len(v), p=[0.2, 0.3, 0.15, 0.1, 0.25]),
     "distribution-change"),
    ("atoms", "between", lambda rng, v: v + 0.5, "distribution-change"),
    ("mostly-zero", "more", lambda rng, v: np.where(rng.random(len(v)) < 0.7, 0.0, 3.0), "distribution-change"),
    ("mostly-zero", "all", lambda rng, v: v * 0, "stuck-value"),
    ("constant", "another", lambda rng, v: v + 1, "distribution-change"),
    ("constant", "varies", lambda rng, v: v + rng.normal(size=len(v)), "distribution-change"),
    ("boolean", "share", lambda rng, v: (rng.random(len(v)) < 0.6).tolist(), "distribution-change"),
    ("boolean", "stuck", lambda rng, v: [True] * len(v), "stuck-value"),
    ("categorical", "mix", lambda rng, v: categories("abcd", 0.1, 0.2, 0.3, 0.4)(rng, len(v)), "distribution-change"),
    ("categorical", "new", lambda rng, v: some(rng, v, 0.2, "new"), "distribution-change"),
    ("categorical", "gone", lambda rng, v: ["a" if x == "b" else x for x in v], "distribution-change"),
    ("rare-categories", "rare becomes frequent", lambda rng, v: some(rng, v, 0.1, "d"), "distribution-change"),
    ("800-categories", "rare becomes frequent", lambda rng, v: some(rng, v, 0.5, "c7"), "distribution-change"),
    ("long-tail", "all new", lambda rng, v: [f"new {x}" for x in v], "distribution-change"),
    ("id", "missing", lambda rng, v: some(rng, v, 0.3, None), "missing-values"),
    ("id", "a number", lambda rng, v: some(rng, v, 0.3, 5.0), "wrong-type"),
    ("missing", "more of it", lambda rng, v: some(rng, v, 0.3, None), "missing-values"),
    ("missing", "none", lambda rng, v: [0.0 if x is None else x for x in v], "distribution-change"),
    ("invalid", "more of it", lambda rng, v: some(rng, v, 0.3, "x"), "wrong-type"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "what", "change", "reason"), CHANGES, ids=[f"{n}-{w}" for n, w, _, _ in CHANGES])
def test_a_change_of_any_kind_of_column_is_one_incident_that_says_what(
    name: str, what: str, change: Callable[[Rng, Any], Any], reason: str
) -> None:
    rng, draw = np.random.default_rng(11), COLUMNS[name]
    reference = reference_of({"x": draw(rng, 10_000), "other": rng.normal(size=10_000)})
    before, after = draw(rng, BEFORE), change(rng, draw(rng, AFTER))
    report = replayed(reference, {"x": [*before, *after], "other": rng.normal(size=BEFORE + AFTER)})
    assert opened(report) == [("feature", ["x"], reason)], report["incidents"]
    assert report["incidents"][0]["opened_at_event"] > BEFORE


@pytest.mark.parametrize("key", ["@prediction", "@score.fraud", "@latency_ms"])
def test_what_a_model_emits_is_watched_like_its_inputs(key: str) -> None:
    rng = np.random.default_rng(12)
    reference = reference_of({"x": rng.normal(size=5_000), key: rng.gamma(2, 10, 5_000)})
    emitted = np.concatenate((rng.gamma(2, 10, BEFORE), rng.gamma(4, 10, AFTER)))
    report = replayed(reference, {"x": rng.normal(size=len(emitted)), key: emitted})
    assert opened(report) == [("feature", [key], "distribution-change")]


def test_a_predicted_class_that_the_reference_never_saw_is_found() -> None:
    rng = np.random.default_rng(13)
    reference = reference_of({"@prediction": categories("ab", 0.7, 0.3)(rng, 5_000)})
    report = replayed(reference, {"@prediction": categories("abc", 0.6, 0.25, 0.15)(rng, 1_000)})
    (incident,) = report["incidents"]
    row = incident["features"][0]
    assert row["unexpected_share"] == pytest.approx(0.15, abs=0.12)
    assert row["reference_unexpected_share"] == 0.0
    assert row["histogram"]["labels"] == ["a", "b", "(unseen)"]


COUNTERS: dict[str, Callable[[Rng, int], Any]] = {
    "row number": lambda rng, n: np.arange(float(n)),
    "clock": lambda rng, n: 1.7e9 + np.cumsum(rng.exponential(size=n)),
    "clock out of order": lambda rng, n: np.arange(float(n)) + rng.normal(0, 20, n),
    "countdown": lambda rng, n: -np.arange(float(n)),
}


@pytest.mark.parametrize("name", list(COUNTERS))
def test_a_counter_is_an_id_that_raises_nothing_by_counting_on(name: str) -> None:
    rng = np.random.default_rng(3)
    values = COUNTERS[name](rng, 8_000)
    reference = reference_of({"x": values[:4_000], "y": rng.normal(size=4_000)})
    assert [f.identifier for f in reference.features] == [True, False]
    gone = [None] * 500
    report = replayed(reference, {"x": [*values[4_000:].tolist(), *gone], "y": rng.normal(size=4_500)})
    assert opened(report) == [("feature", ["x"], "missing-values")]


def test_a_trend_with_noise_is_no_counter() -> None:
    rng = np.random.default_rng(4)
    trend = np.linspace(0, 3, 5_000) + rng.normal(0, 0.5, 5_000)
    assert not reference_of({"x": trend}).features[0].identifier
