"""Pictures of a replay need no other file and show the numbers correctly."""

import math
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.errors import DriftlineError
from stream.charts import svg
from stream.replay import html, png
from stream.replay.report import Point, ReadRows, Replayed

INCIDENT = {
    "id": "5e1c",
    "kind": "feature",
    "severity": "critical",
    "verdict": "world-changed",
    "opened_at_event": 40,
    "opened_at_ms": 40_000,
    "resolved_at_event": None,
    "resolved_at_ms": None,
    "features": [{"feature": "<b>amount</b>", "evidence_log10": 9.1, "psi": 0.4}],
}
FEATURES = [
    {
        "feature": "<b>amount</b>",
        "kind": "numeric",
        "count": 100,
        "missing": 3,
        "evidence_log10": 9.1,
        "psi": 0.4,
        "reference_histogram": {"edges": [0, 1, 2, 3], "counts": [10, 20, 10]},
        "histogram": {"edges": [0, 1, 2, 3], "counts": [0, 20, 30]},
    },
    {"feature": "country", "kind": "categorical", "histogram": {"labels": ["DE", "FR"], "counts": [3, 1]}},
    {"feature": "bare", "kind": "numeric"},
]


def replayed(events: int = 100) -> Replayed:
    return Replayed(
        model="fraud",
        version="3",
        events=events,
        rate=1.0,
        reference_rows=1000,
        reference_digest="sha256:0",
        incidents=[INCIDENT],
        signals=[],
        state="drift",
        detail={"features": FEATURES},
        read=ReadRows(events, events, 0, 0, 0),
        points=[Point(event, event * 1000, event / 10) for event in range(1, events + 1)],
        threshold_log10=4.2,
    )


def test_the_page_needs_nothing_from_elsewhere_and_escapes_every_name() -> None:
    page = html.page(replayed())
    assert not [word for word in ("http:", "https:", "<script", "<link", "@import", "url(", "src=") if word in page]
    assert "<b>amount</b>" not in page
    assert "&lt;b&gt;amount&lt;/b&gt;" in page


def test_every_picture_in_the_page_is_well_formed() -> None:
    page = html.page(replayed())
    pictures = ["<svg" + part.split("</svg>")[0] + "</svg>" for part in page.split("<svg")[1:]]
    assert len(pictures) == 1 + len(FEATURES)
    for picture in pictures:
        ElementTree.fromstring(picture)


@given(
    st.lists(st.tuples(st.floats(0, 1e9), st.floats(allow_nan=True, allow_infinity=True, width=32)), max_size=50),
    st.none() | st.floats(0, 100),
)
def test_any_evidence_gives_a_well_formed_picture(points: list[tuple[float, float]], threshold: float | None) -> None:
    ElementTree.fromstring(svg.evidence(points, threshold, [(1, None, "<x>")], "label"))


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(-10, 10)), max_size=9000), st.integers(1, 3000))
def test_thinning_keeps_the_peak_and_the_limit(points: list[tuple[int, float]], limit: int) -> None:
    kept = svg.thinned(points, limit)
    assert len(kept) <= limit or len(points) <= limit
    assert not points or max(y for _, y in kept) == max(y for _, y in points)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(1, 12))
def test_ticks_are_few_and_inside(low: float, span: float, wanted: int) -> None:
    found = svg.ticks(low, low + span, wanted)
    assert len(found) <= wanted + 1
    assert all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in found)


@pytest.mark.parametrize("histogram", [None, [], [1, 2], {"counts": [1]}, {}, "text", 3])
def test_any_histogram_can_be_drawn(histogram: object) -> None:
    counts, names = html.bins(histogram)
    ElementTree.fromstring(svg.histograms(counts, counts, names, "label"))
    assert all(math.isfinite(count) for count in counts)


def test_a_png_is_drawn_where_matplotlib_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "replay.png"
    png.write(replayed(), str(path))
    assert path.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_a_png_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(DriftlineError, match=r"replay\.png: a PNG file needs matplotlib"):
        png.write(replayed(), "replay.png")
