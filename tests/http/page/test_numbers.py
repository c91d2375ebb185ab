"""The numbers on the page: which rows a page holds, shares, and what looks healthy."""

import pytest

from stream.http.page import feature_table, fleet, frame, history, units, words


@pytest.mark.parametrize("total", [0, 1, 49, 50, 51, 149])
def test_every_row_is_on_exactly_one_page(total: int) -> None:
    _, pages, _ = frame.page_of({}, total, 50)
    shown = [
        row
        for page in range(1, pages + 1)
        for row in list(range(total))[frame.page_of({"page": str(page)}, total, 50)[2]]
    ]
    assert shown == list(range(total))
    assert frame.page_of({"page": "999"}, total, 50)[0] == pages


def test_shares_of_a_feature_are_of_all_its_events_and_wrong_types_are_unexpected() -> None:
    raw = {"feature": "x", "count": 80, "missing": 15, "invalid": 5, "unexpected": 8}
    (feature,) = units.features({"features": [raw]})
    assert (feature.missing, feature.invalid, feature.unexpected) == (0.15, 0.05, 0.1)
    assert feature_table._off(feature) == pytest.approx(0.15)
    assert words.share(feature.missing) == "15\N{NO-BREAK SPACE}%"


def test_the_rate_is_in_events_a_second() -> None:
    past = history.UnitHistory()
    for second in range(0, 41, 2):
        past.note({"events": 500 * second}, 1_000 * second)
    assert past.rate(40_000) == pytest.approx(500)


@pytest.mark.parametrize("state", ["blind", "silent", "unknown"])
def test_the_evidence_of_a_model_that_is_not_judged_now_has_no_bar(state: str) -> None:
    healthy = "".join(map(str, fleet.evidence_cell(0.5, 4.0, "stable")))
    shown = "".join(map(str, fleet.evidence_cell(0.5, 4.0, state)))
    assert "svg" in healthy
    assert "svg" not in shown
    assert "last 0.5" in shown
