"""The decision at the demo's end about which changes were found."""

from typing import Any

import pytest

from stream.demo import table
from stream.demo.story import STORY, Collector, Injected, Report, judge

CAMERA, MISSING, LIBRARY = STORY


def incident(model: str, *features: str, opened_at_event: int = 1200, **more: Any) -> dict[str, Any]:
    return {
        "id": f"{model}-{opened_at_event}",
        "model": model,
        "kind": "feature",
        "verdict": "world-changed",
        "opened_at_event": opened_at_event,
        "features": [{"feature": feature} for feature in features],
        **more,
    }


def all_injected() -> list[Injected]:
    return [Injected(injection, 10_000 * (number + 1), 1000) for number, injection in enumerate(STORY)]


def all_found() -> list[Report]:
    return [
        Report(12_000, incident("image-segments", "rawred-mean", "hue-mean")),
        Report(21_500, incident("phishing", "age_of_domain")),
        Report(33_000, incident("land-cover", "excess_red", "brightness")),
    ]


def test_all_found_and_nothing_else_passes() -> None:
    summary = judge(STORY, all_injected(), all_found())
    assert summary.passed
    assert [outcome.delay_ms for outcome in summary.outcomes] == [2000, 1500, 3000]
    assert [outcome.delay_events for outcome in summary.outcomes] == [200, 200, 200]
    assert table.verdict(summary) == "3 of 3 injected changes found, no false reports"


def test_a_change_that_was_not_found_fails() -> None:
    summary = judge(STORY, all_injected(), all_found()[:2])
    assert not summary.passed
    assert [outcome.found for outcome in summary.outcomes] == [True, True, False]


def test_a_change_that_was_never_made_fails() -> None:
    assert not judge(STORY, all_injected()[:2], all_found()[:2]).passed


@pytest.mark.parametrize(
    "false",
    [
        Report(11_000, incident("phishing", "age_of_domain")),  # before its injection by the clock
        Report(22_000, incident("phishing", "age_of_domain", opened_at_ms=19_900)),  # and by event time
        Report(22_000, incident("phishing", "popup_window")),  # a feature that was not changed
        Report(22_000, incident("stranger", "x")),
        Report(22_000, {"model": "phishing", "state": "blind", "verdict": "blind"}),
    ],
)
def test_anything_else_that_is_reported_is_false(false: Report) -> None:
    summary = judge(STORY, all_injected(), [*all_found(), false])
    assert summary.false_reports == [false]
    assert not summary.passed


def test_partitions_that_run_ahead_of_each_other_make_no_report_false() -> None:
    early = Report(30_500, incident("land-cover", kind="environment", opened_at_event=990, opened_at_ms=30_100))
    assert judge(STORY, all_injected(), [*all_found(), early]).passed


def test_what_the_model_answers_follows_from_its_input() -> None:
    after = Report(23_000, incident("phishing", "@prediction", "@score.confidence", opened_at_event=1400))
    assert judge(STORY, all_injected(), [*all_found(), after]).passed


def test_an_incident_counts_from_its_opening_with_the_features_it_gained_later() -> None:
    collector = Collector()
    opened = incident("image-segments", "@prediction")
    grown = incident("image-segments", "rawred-mean", "@prediction")
    first = collector.on_event({"type": "io.driftline.incident.opened.v1", "data": opened}, 12_000)
    assert first is not None
    assert collector.on_event({"type": "io.driftline.incident.updated.v1", "data": grown}, 15_000) is None
    (report,) = collector.reports
    assert report.received_ms == 12_000
    assert report.features == ["rawred-mean", "@prediction"]


def test_a_blind_model_is_a_report_and_other_states_and_signals_are_not() -> None:
    collector = Collector()
    state = {"type": "io.driftline.model.state.v1", "data": {"model": "phishing", "version": "2", "state": "drift"}}
    assert collector.on_event(state, 1) is None
    assert collector.on_event({"type": "io.driftline.signal.v1", "data": {"model": "phishing"}}, 2) is None
    blind = {**state, "data": {"model": "phishing", "version": "2", "state": "blind"}}
    assert collector.on_event(blind, 3) is not None
    assert len(collector.reports) == 1
