"""The live view of models and incidents in the terminal."""

import io
from typing import Any

import pytest
from rich.console import Console

from stream.terminal import live
from stream.terminal.live import LiveScreen, PlainScreen, Rates

MODEL: dict[str, Any] = {
    "model": "fraud",
    "version": "3",
    "segment": None,
    "state": "drift",
    "events": 45312,
    "evidence_log10": 9.3,
    "threshold_log10": 4.2,
    "worst_feature": "amount",
    "drifted_features": ["amount", "age", "country"],
}
INCIDENT: dict[str, Any] = {
    "id": "1",
    "model": "fraud",
    "version": "3",
    "severity": "critical",
    "verdict": "world-changed",
    "opened_at_ms": 1763700000000,
    "resolved_at_ms": None,
    "features": [{"feature": f"f{number}"} for number in range(6)],
}


def drawn(*parts: Any) -> str:
    console = Console(file=io.StringIO(), width=140, force_terminal=False)
    for part in parts:
        console.print(part)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_table_shows_state_evidence_worst_features_and_rate() -> None:
    text = drawn(live.models_table([MODEL], {("fraud", "3", None): 151.0}, 140, 10))
    for part in ("fraud/3", "drift", "9.3", "amount, age and 1 more", "45,312", "151"):
        assert part in text


def test_a_model_that_is_learning_has_no_evidence_yet() -> None:
    text = drawn(live.models_table([{"model": "m", "version": "1", "state": "learning"}], {}, 140, 10))
    assert "learning" in text


def test_a_quiet_model_says_when_events_are_expected() -> None:
    reason = "usually silent at this hour, next events expected by 08:00 UTC"
    quiet = {**MODEL, "state": "quiet", "drifted_features": [], "reason": reason}
    text = drawn(live.models_table([quiet], {}, 140, 10))
    assert "quiet" in text
    assert "next events expected by 08:00 UTC" in text


def test_the_worst_come_first_and_what_does_not_fit_is_counted() -> None:
    well = [{**MODEL, "model": f"m{n:03}", "state": "stable", "drifted_features": []} for n in range(500)]
    blind = {**MODEL, "model": "b[red]", "state": "blind", "drifted_features": [], "reason": "no event for 60 s"}
    lines = drawn(live.models_table([*well, blind, MODEL], {}, 140, 20)).splitlines()
    assert lines[2].startswith("fraud/3")
    assert lines[3].startswith("b[red]/3")
    assert "no event for 60 s" in lines[3]
    assert lines[-1] == "and 482 more: 482 stable"


def test_eighty_columns_hold_every_number_whole() -> None:
    out = io.StringIO()
    screen = LiveScreen(Console(file=out, width=80, height=24, force_terminal=True, color_system=None), "driftline")
    screen.show([{**MODEL, "evidence_log10": 123.4}], [INCIDENT])
    screen.close()
    for part in ("fraud/3", "123.4", "amount, age and", "45,312", "world-changed", "critical", "per s"):
        assert part in out.getvalue()


def test_incidents_name_their_first_features_and_how_many_more() -> None:
    text = drawn(live.incidents_table([INCIDENT, {**INCIDENT, "resolved_at_ms": 1763700100000}]))
    assert "f0, f1, f2, f3 and 2 more" in text
    assert "critical" in text
    assert "resolved" in text
    assert "no incidents" in drawn(live.incidents_table([]))


def test_rates_are_over_the_last_seconds_and_never_divide_by_nothing() -> None:
    rates = Rates()
    key = ("fraud", "3", None)
    assert rates.update(0.0, [{**MODEL, "events": 0}]) == {key: 0.0}
    for second in range(1, 21):
        found = rates.update(float(second), [{**MODEL, "events": 100 * min(second, 10)}])
    assert found == {key: 0.0}  # nothing came for ten seconds
    assert rates.update(21.0, [{**MODEL, "events": 1500}])[key] == pytest.approx(500 / 5)


def test_plain_lines_tell_what_happens_at_once_and_the_state_only_when_it_changed() -> None:
    out = io.StringIO()
    screen = PlainScreen(Console(file=out, width=40), "title", interval_seconds=3600)
    screen.show([MODEL], [])
    screen.show([MODEL], [])
    screen.report("incident [opened]")
    screen.show([{**MODEL, "state": "stable"}], [])
    screen.close()
    lines = out.getvalue().splitlines()
    assert [line.split(" (")[0] for line in lines] == ["title", "fraud/3 drift", "incident [opened]", "fraud/3 stable"]


def test_the_live_view_draws_in_place_and_leaves_what_was_said() -> None:
    out = io.StringIO()
    screen = LiveScreen(Console(file=out, width=120, height=40, force_terminal=True), "driftline")
    screen.report("injected")
    screen.show([MODEL], [INCIDENT])
    screen.close()
    assert "injected" in out.getvalue()


def test_watch_says_in_one_line_that_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert live.watch("http://127.0.0.1:1", 0.01) == 2
    error = capsys.readouterr().err
    assert "no worker answers at http://127.0.0.1:1" in error
    assert "Traceback" not in error


def test_watch_asks_only_over_http() -> None:
    assert live.watch("file:///etc", 0.01) == 2
