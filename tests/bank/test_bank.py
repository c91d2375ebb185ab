"""A bank's numbers compared with plain ones, kinds that change, limits, and custom detectors."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from detectors.bank.bank import Bank
from detectors.column_batches import sliced
from detectors.columns import INVALID, MISSING, PRESENT, Columns
from detectors.errors import CheckpointError, SettingsError
from detectors.features import FeatureSpec, Kind, UnitKey
from detectors.profiles import FeatureProfile, Profile
from detectors.reference.builder import build_reference
from detectors.reference.reference import Reference
from detectors.reference.transform import centre_and_scale
from detectors.sketches.categories import estimate_distinct
from detectors.sketches.moments import mean_and_std
from detectors.sketches.quantiles import QuantileSketch
from tests.settings.defaults import bank_settings

UNIT = UnitKey("m", "1", None)


def batch(
    numbers: dict[str, Sequence[float | None]] | None = None,
    categories: dict[str, Sequence[str | None]] | None = None,
    first: int = 0,
    invalid: Sequence[tuple[str, int]] = (),
) -> Columns:
    """Columns of the given values, None missing, ``invalid`` places marked."""
    numbers, categories = numbers or {}, categories or {}
    rows = len(next(iter([*numbers.values(), *categories.values()])))
    table = np.array([list(v) for v in numbers.values()], np.float64).reshape(len(numbers), rows).T.copy()
    status = np.where(np.isnan(table), MISSING, PRESENT).astype(np.uint8)
    table[status == MISSING] = 0.0
    category_status = np.array([[MISSING if x is None else PRESENT for x in v] for v in categories.values()], np.uint8)
    category_status = category_status.reshape(len(categories), rows).T.copy()
    for name, row in invalid:
        if name in numbers:
            status[row, list(numbers).index(name)] = INVALID
        else:
            category_status[row, list(categories).index(name)] = INVALID
    told = [[x if ok == PRESENT else None for x, ok in zip(v, category_status[:, at], strict=True)]
            for at, v in enumerate(categories.values())]  # fmt: skip
    return Columns(
        UNIT,
        np.arange(first + 1, first + rows + 1),
        np.arange(first, first + rows) * 10 + 1_763_700_000_000,
        tuple(numbers),
        table,
        status if status.any() else None,
        tuple(FeatureSpec(name, Kind.CATEGORICAL) for name in categories),
        told,
        category_status if category_status.any() else None,
    )


def bank(reference: Reference | None = None, **settings: Any) -> Bank:
    return Bank(UNIT, "t", 0, bank_settings(**settings), reference, 0)


def feature(profile: Profile, name: str) -> FeatureProfile:
    return next(f for f in profile.features if f.feature == name)


def test_under_a_reference_counts_moments_and_extremes_are_those_of_the_values() -> None:
    rng = np.random.default_rng(0)
    reference = build_reference("m", "1", {"x": rng.normal(5, 2, 3000), "c": [*"abca"] * 750})
    values: list[float | None] = rng.normal(6, 3, 5000).tolist()
    values[7] = values[4000] = None
    categories = [str(c) for c in rng.choice(list("abz"), 5000)]
    made = bank(reference)
    made.update(batch({"x": values}, {"c": categories}, invalid=[("x", 9), ("c", 9)]))
    profile = made.profile()
    x, c = feature(profile, "x"), feature(profile, "c")
    kept = np.array([v for i, v in enumerate(values) if v is not None and i != 9])
    assert (x.count, x.missing, x.invalid, x.minimum, x.maximum) == (4997, 2, 1, kept.min(), kept.max())
    known = reference.feature("x")
    assert known is not None
    counted = np.bincount(np.searchsorted(known.edges, kept, side="right"), minlength=len(known.edges) + 1)
    assert np.frombuffer(x.cells, np.int64).tolist() == counted.tolist()
    assert x.sum1 is not None
    assert x.sum2 is not None
    mean, std = mean_and_std(x.count, x.sum1, x.sum2, *centre_and_scale(known))
    assert mean == pytest.approx(kept.mean(), abs=1e-8)
    assert std == pytest.approx(kept.std(), rel=1e-6)
    outside = (kept < known.edges[0]) | (kept >= known.edges[-1])
    assert QuantileSketch.from_bytes(x.sketch).count == outside.sum() > 0
    told = [category for i, category in enumerate(categories) if i != 9]
    known_c = reference.feature("c")
    assert known_c is not None
    cells = np.frombuffer(c.cells, np.int64).tolist()
    assert cells == [*(told.count(name) for name in known_c.categories), 0, told.count("z")]
    assert c.categories == {"z": told.count("z")}
    assert round(estimate_distinct([c.distinct])) == 3


def test_while_learning_moments_sketch_and_categories_are_those_of_the_values() -> None:
    rng = np.random.default_rng(1)
    values = rng.lognormal(size=9000)
    categories = [f"k{int(k)}" for k in rng.integers(0, 50, 9000)]
    made = bank()
    for start in range(0, 9000, 700):
        made.update(sliced(batch({"x": values.tolist()}, {"c": categories}), start, start + 700))
    x, c = feature(made.profile(), "x"), feature(made.profile(), "c")
    assert x.mean == pytest.approx(values.mean())
    assert x.m2 == pytest.approx(((values - values.mean()) ** 2).sum())
    sketch = QuantileSketch.from_bytes(x.sketch)
    assert sketch.count == 9000
    assert c.categories == {name: categories.count(name) for name in c.categories}
    assert sum(c.categories.values()) == 9000


def test_a_feature_that_shows_up_later_was_missing_before() -> None:
    made = bank()
    made.update(batch({"a": [1.0] * 600}))
    made.update(batch({"a": [1.0] * 3, "b": [None, 2.0, 3.0]}, first=600))
    profile = made.profile()
    assert (feature(profile, "b").count, feature(profile, "b").missing) == (2, 601)
    assert profile.epoch_events == 603


def test_a_type_that_changes_is_invalid_whoever_came_first() -> None:
    made = bank()
    made.update(batch({"f": [None, 1.0, None, 2.0]}, {"f": ["text", None, "more", None]}))
    (f,) = made.profile().features
    assert (f.kind, f.count, f.invalid, f.missing) == (Kind.CATEGORICAL, 2, 2, 0)
    made = bank()
    made.update(batch({"f": [1.0, None]}, {"f": [None, "text"]}))
    (f,) = made.profile().features
    assert (f.kind, f.count, f.invalid) == (Kind.NUMERIC, 1, 1)


def test_the_reference_and_the_settings_say_a_kind_before_the_first_value_does() -> None:
    reference = build_reference("m", "1", {"f": [1.0, 2.0, 3.0]})
    made = bank(reference)
    made.update(batch(categories={"f": ["a", "b"]}))
    (f,) = made.profile().features
    assert (f.kind, f.count, f.invalid) == (Kind.NUMERIC, 0, 2)
    made = Bank(UNIT, "t", 0, bank_settings(), None, 0, kinds={"f": Kind.CATEGORICAL})
    made.update(batch({"f": [1.0, 2.0]}))
    (f,) = made.profile().features
    assert (f.kind, f.invalid) == (Kind.CATEGORICAL, 2)


def test_limits_on_features_categories_and_lengths_are_counted() -> None:
    made = bank(max_features=2, max_categories=10, category_length=5)
    categories = [f"category {i}" if i % 2 else f"c{i}" for i in range(10_000)]
    made.update(batch({"a": [1.0] * 10_000, "z": [2.0] * 10_000}, {"c": categories}))
    profile = made.profile()
    assert [f.feature for f in profile.features] == ["a", "c"]
    c = feature(profile, "c")
    assert len(c.categories) == 10
    assert sum(c.categories.values()) + c.category_overflow == c.count == 10_000
    assert max(map(len, c.categories)) == 5
    assert profile.suppressed == {"features": 1, "categories": c.category_overflow}


def test_a_shift_is_signalled_with_the_event_it_was_seen_at() -> None:
    rng = np.random.default_rng(2)
    made = bank(build_reference("m", "1", {"x": rng.normal(size=5000)}))
    stream = np.concatenate((rng.normal(size=3000), rng.normal(1, 1, 3000)))
    made.update(batch({"x": stream.tolist()}, first=100))
    profile = made.profile()
    assert {(s.detector, s.channel) for s in profile.signals} >= {("adwin", "u"), ("page_hinkley", "z.up")}
    first = profile.signals[0]
    assert 3000 < first.event < 3200
    assert first.next_offset == 100 + first.event
    assert profile.signal_count == len(profile.signals)


class EveryHundredth:
    """A custom detector: fires at every hundredth value over one half."""

    channel = "u"

    def __init__(self) -> None:
        self.seen = 0

    def update_many(self, values: list[float]) -> list[int]:
        fired = []
        for row, value in enumerate(values):
            self.seen += value > 0.5
            if value > 0.5 and self.seen % 100 == 0:
                fired.append(row)
        return fired

    def snapshot(self) -> bytes:
        return struct.pack("<q", self.seen)

    def restore(self, data: bytes) -> None:
        (self.seen,) = struct.unpack("<q", data)


def test_a_detector_of_a_users_own_is_fed_and_survives_a_snapshot() -> None:
    rng = np.random.default_rng(3)
    reference = build_reference("m", "1", {"x": rng.normal(size=2000)})
    settings = bank_settings(detectors=("adwin", f"{__name__}:EveryHundredth"))
    whole = Bank(UNIT, "t", 0, settings, reference, 0)
    cut = Bank(UNIT, "t", 0, settings, reference, 0)
    everything = batch({"x": rng.normal(size=1500).tolist()})
    whole.update(everything)
    for start in range(0, 1500, 170):
        cut.update(sliced(everything, start, start + 170))
        cut = Bank(UNIT, "t", 0, settings, reference, 0, snapshot=cut.snapshot())
    assert cut.cold == 0
    assert [s.detector for s in whole.profile().signals].count(f"{__name__}:EveryHundredth") >= 6
    assert whole.snapshot() == cut.snapshot()


def test_a_river_detector_by_name_works_and_starts_cold_after_a_restore() -> None:
    rng = np.random.default_rng(4)
    reference = build_reference("m", "1", {"x": rng.normal(size=2000)})
    settings = bank_settings(detectors=("river.drift.KSWIN",))
    made = Bank(UNIT, "t", 0, settings, reference, 0)
    made.update(batch({"x": np.concatenate((rng.normal(size=300), rng.normal(3, 1, 300))).tolist()}))
    assert any(s.detector == "river.drift.KSWIN" for s in made.profile().signals)
    assert Bank(UNIT, "t", 0, settings, reference, 0, snapshot=made.snapshot()).cold == 1
    with pytest.raises(SettingsError, match="NOPE"):
        Bank(UNIT, "t", 0, bank_settings(detectors=("river.drift.NOPE",)), None, 0)


def test_a_snapshot_of_another_reference_or_other_settings_is_refused() -> None:
    reference = build_reference("m", "1", {"x": [1.0, 2.0, 3.0]})
    data = bank(reference).snapshot()
    with pytest.raises(CheckpointError):
        Bank(UNIT, "t", 0, bank_settings(), None, 0, snapshot=data)
    with pytest.raises(CheckpointError):
        Bank(UNIT, "t", 0, bank_settings(max_features=7), reference, 0, snapshot=data)
    with pytest.raises(CheckpointError):
        Bank(UNIT, "t", 0, bank_settings(), reference, 0, snapshot=data[:-3])


def test_extreme_values_raise_no_warning_and_stay_finite() -> None:
    values = [1e308, -1e308, 5e-324, 0.0, -0.0, 1e308]
    reference = build_reference("m", "1", {"x": [1.0, 2.0, 3.0]})
    for made in (bank(reference), bank()):
        made.update(batch({"x": values}))
        (x,) = made.profile().features
        assert (x.count, x.minimum, x.maximum) == (6, -1e308, 1e308)
        assert made.snapshot()


@pytest.mark.parametrize("cuts", [(), (1,), (70,), (137, 138, 139), tuple(range(1, 300, 7))])
def test_texts_of_categories_are_kept_up_to_a_number_of_bytes_however_rows_are_split(cuts: tuple[int, ...]) -> None:
    """Texts of several features count together, in the order of the rows, and restores go on with the same bits."""
    rows = 300
    rng = np.random.default_rng(5)
    texts = {f: [f"{f}{v}" + "ü" * int(v % 9) for v in rng.integers(0, 200, rows)] for f in ("a", "b", "c")}
    whole = batch(categories=dict(texts))
    settings = bank_settings(max_text_bytes=1_500)
    made = Bank(UNIT, "t", 0, settings, None, 0)
    for start, end in zip((0, *cuts), (*cuts, rows), strict=True):
        made.update(sliced(whole, start, end))
        made = Bank(UNIT, "t", 0, settings, None, 0, snapshot=made.snapshot())
    once = Bank(UNIT, "t", 0, settings, None, 0)
    once.update(whole)
    assert made.snapshot() == once.snapshot()

    kept = {f.feature: f for f in made.profile().features}
    size, expected = 0, {f: dict[str, int]() for f in texts}
    for row in range(rows):
        new = [(f, texts[f][row]) for f in texts if texts[f][row] not in expected[f]]
        size += sum(len(text.encode()) for _, text in new)
        if size > 1_500:
            break
        for f, text in new:
            expected[f][text] = texts[f].count(text)
    assert {f: kept[f].categories for f in texts} == expected
    for f in texts:
        assert kept[f].count == rows
        assert kept[f].category_overflow == rows - sum(expected[f].values())
        assert abs(estimate_distinct([kept[f].distinct]) - len(set(texts[f]))) < 0.15 * rows
    assert made.suppressed["category_texts"] == 1


def test_the_bound_on_texts_is_no_part_of_an_epoch() -> None:
    assert bank_settings(max_text_bytes=1).digest == bank_settings().digest
