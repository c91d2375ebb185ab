"""References, and the values that are mapped by them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.derived import vectors as projections
from detectors.errors import ReferenceError as ReferenceProblem
from detectors.evidence import distances
from detectors.evidence.sheets import Sheets
from detectors.features import Kind
from detectors.reference.builder import build_reference
from detectors.reference.dependence import dependence_factor
from detectors.reference.reference import decode, encode
from detectors.reference.transform import Transform, coarse_bins
from tests.settings.defaults import evidence_settings

FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.lists(FINITE | st.sampled_from([0.0, -0.0, 1.0, 5e-324, 1e308]), min_size=1, max_size=80)
COUNTS = st.lists(st.integers(0, 50), min_size=3, max_size=3)


@given(VALUES, VALUES)
def test_ranks_and_scores_rise_with_the_value_whatever_the_batch(reference: list[float], values: list[float]) -> None:
    feature = build_reference("m", "1", {"x": reference}).features[0]
    transform = Transform([feature])
    column = np.sort(np.array(values))[:, None]
    cells = transform.cells(column)
    u, z = transform.ranks(column, cells)
    assert (np.diff(cells[:, 0]) >= 0).all()
    assert (u > 0).all()
    assert (u < 1).all()
    assert np.isfinite(z).all()
    assert (np.diff(u[:, 0]) >= -1e-12).all()
    assert (np.diff(z[:, 0]) >= -1e-9).all()
    for i in range(len(column)):
        alone = transform.ranks(column[i : i + 1], transform.cells(column[i : i + 1]))
        assert (alone[0][0, 0], alone[1][0, 0]) == (u[i, 0], z[i, 0])


@given(VALUES)
def test_cells_hold_every_row_once_and_coarse_bins_have_no_gap(reference: list[float]) -> None:
    feature = build_reference("m", "1", {"x": reference}).features[0]
    assert sum(feature.counts) == feature.present == len(reference)
    assert (np.array(feature.edges[1:]) > np.array(feature.edges[:-1])).all()
    assert len(feature.edges) <= 512
    bins = coarse_bins(feature)
    assert bins[0] == 0
    assert set(np.diff(bins).tolist()) <= {0, 1}


def test_a_constant_and_atoms_take_the_middle_of_their_jump() -> None:
    constant = build_reference("m", "1", {"x": [7.0] * 100}).features[0]
    value = np.array([[7.0]])
    transform = Transform([constant])
    assert transform.ranks(value, transform.cells(value))[0][0, 0] == pytest.approx(0.5)
    atoms = build_reference("m", "1", {"x": [0.0] * 60 + [1.0] * 40}).features[0]
    transform = Transform([atoms])
    both = np.array([[0.0], [-0.0], [1.0]])
    assert transform.ranks(both, transform.cells(both))[0][:, 0] == pytest.approx([0.3, 0.3, 0.8])


@pytest.mark.parametrize(("coefficient", "theory"), [(0.0, 1), (0.8, 9), (0.95, 39)])
def test_the_dependence_factor_of_an_autoregression_is_the_theorys(coefficient: float, theory: float) -> None:
    noise = np.random.default_rng(11).standard_normal(40_000)
    channel = np.empty_like(noise)
    level = 0.0
    for i, step in enumerate(noise.tolist()):
        level = coefficient * level + step
        channel[i] = level
    assert theory * 0.75 <= dependence_factor(channel) <= theory * 1.6


def test_every_kind_of_column_is_counted_and_survives_encoding() -> None:
    reference = build_reference(
        "m",
        "1",
        {
            "numeric": [1, None, float("nan"), "7", True, 2.5],
            "truth": [True, False, None, 1, "true", True],
            "word": ["a", "b", "a", None, 3, "c"],
        },
    )
    seen = {f.feature: (f.kind, f.present, f.missing, f.invalid) for f in reference.features}
    assert seen == {
        "numeric": (Kind.NUMERIC, 2, 2, 2),
        "truth": (Kind.BOOLEAN, 3, 1, 2),
        "word": (Kind.CATEGORICAL, 4, 1, 1),
    }
    assert decode(encode(reference)) == reference


def test_an_identifier_is_known_and_categories_beyond_the_limit_are_other() -> None:
    ids = build_reference("m", "1", {"id": [f"order-{i}" for i in range(1_500)]}).features[0]
    assert ids.identifier
    assert (len(ids.categories), ids.other, ids.distinct) == (1_000, 500, 1_500)


def test_a_reference_of_nothing_is_refused() -> None:
    with pytest.raises(ReferenceProblem, match="no rows"):
        build_reference("m", "1", {"x": []})


@given(COUNTS, COUNTS)
def test_distances_are_zero_for_equals_and_never_negative(p: list[int], q: list[int]) -> None:
    edges = [0.0, 1.0]
    for name in (distances.psi, distances.jensen_shannon, distances.kolmogorov_smirnov):
        assert name(p, p) == pytest.approx(0.0, abs=1e-7)
        assert name(p, q) >= 0
    assert distances.kolmogorov_smirnov(p, q) <= 1 + 1e-12
    assert distances.wasserstein(p, p, edges, 1.0) == 0
    assert distances.wasserstein(p, q, edges, 1.0, low=-2.0, high=3.0) >= 0


def test_distances_agree_with_scipys() -> None:
    spatial = pytest.importorskip("scipy.spatial.distance")
    p, q = np.array([5, 3, 2, 10]), np.array([1, 1, 7, 9])
    assert distances.jensen_shannon(p, q) == pytest.approx(spatial.jensenshannon(p, q))


def test_a_wasserstein_distance_of_a_shift_is_the_shift() -> None:
    random = np.random.default_rng(3)
    x, y = random.standard_normal(20_000), random.standard_normal(20_000) + 0.5
    feature = build_reference("m", "1", {"x": x}).features[0]
    present = np.bincount(np.searchsorted(feature.edges, y, side="right"), minlength=len(feature.counts))
    far = distances.wasserstein(feature.counts, present, feature.edges, 1.0, low=float(y.min()), high=float(y.max()))
    assert far == pytest.approx(0.5, abs=0.03)


@given(st.lists(st.lists(st.floats(-1e9, 1e9), min_size=5, max_size=5), min_size=1, max_size=20))
def test_a_vector_gives_the_same_numbers_in_whatever_batch(vectors: list[list[float]]) -> None:
    numbers, status = projections.derive(vectors)
    assert not status.any()
    for i, vector in enumerate(vectors):
        assert projections.derive([vector])[0].tobytes() == numbers[i : i + 1].tobytes()


def test_a_vectors_directions_are_the_same_for_ever() -> None:
    signs = projections.directions(8)[0] * np.sqrt(8.0)
    assert np.abs(signs) == pytest.approx(1.0)
    assert projections.directions(8).mean() == pytest.approx(0.0, abs=0.2)
    assert (projections.directions(4) * 2 == np.sign(projections.directions(8)[:, :4])).all()


@pytest.mark.parametrize("seasonal", [False, True])
def test_a_reference_of_dependent_columns_of_every_kind_is_read_back_as_it_was(seasonal: bool) -> None:
    random, rows = np.random.default_rng(11), 30_000
    times = np.arange(rows, dtype=np.int64) * 60_000 if seasonal else None
    level = np.repeat(random.normal(size=rows // 500), 500)
    columns: dict[str, Any] = {
        "number": level + 0.3 * random.normal(size=rows),
        "category": np.where(level + 0.5 * random.normal(size=rows) > 0, "up", "down").tolist(),
        "many": [f"c{int(10 * abs(value))}" for value in level + random.normal(size=rows)],
        "flag": (level > 0).tolist(),
    }
    made = build_reference("m", "1", columns, timestamps_ms=times)
    assert any(feature.reach or feature.strata for feature in made.features if feature.feature == "category")
    assert decode(encode(made)) == made
    assert Sheets(made.features, evidence_settings()).at(0) is not None
