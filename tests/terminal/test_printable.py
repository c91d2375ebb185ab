"""Text of events reaches no terminal as it came (report red-survey-escape): what cannot be printed is escaped."""

import json
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from detectors.columns import Columns
from detectors.features import FeatureSpec, Kind, UnitKey
from stream.commands import cli
from stream.survey import survey, views
from stream.terminal import incidents, live, output
from tests.files import cases

NASTY = "\x1b]0;owned\x07\x1b[2J\x9b2J\r\u202eevil"


def is_clean(shown: str) -> bool:
    return not any(char in shown for char in "\x1b\x07\x9b\r\u202e")


def console() -> Console:
    return Console(width=200, highlight=False, record=True, color_system=None)


def test_a_survey_shows_names_and_categories_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    columns = Columns(
        unit=UnitKey("m", "1", None),
        next_offsets=np.arange(1, 201),
        timestamps_ms=np.arange(200) * 100,
        numeric=(NASTY,),
        numbers=np.ones((200, 1)),
        categorical=(FeatureSpec("plan", Kind.CATEGORICAL),),
        categories=[[NASTY] * 200],
    )
    found = survey.TopicSurvey("t", 1, 200, 200, 1, 0.0, {}, {NASTY: 1}, survey.models([columns]))
    views.show(console(), found)
    shown = capsys.readouterr().out
    assert is_clean(shown)
    assert shown.count("\\x1b]0;owned") == 3
    output.write_json(console(), found)
    written = capsys.readouterr().out
    assert is_clean(written)
    assert json.loads(written)["models"][0]["features"][0]["feature"] in (NASTY, "plan")


def test_incidents_and_models_are_shown_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    feature = {"feature": NASTY, "psi": 0.5}
    incident: dict[str, Any] = {
        "id": "1", "model": "m", "version": "1", "severity": "critical", "verdict": "world-changed",
        "features": [feature],
        "opened_at_ms": 1, "resolved_at_ms": None, "reason": NASTY, "summary": NASTY,
    }  # fmt: skip
    incidents.show_list(console(), [incident], as_json=False)
    incidents.show_one(console(), incident, as_json=False)
    model = {"model": "m", "version": "1", "state": "drift", "drifted_features": [NASTY], "events": 1}
    console().print(live.models_table([model], {}, 200, 10))
    console().print(live.incidents_table([incident]))
    shown = capsys.readouterr().out
    assert is_clean(shown)
    assert shown.count("owned") >= 5


def test_replay_shows_names_escaped(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{NASTY: value, f"@{NASTY}": 1} for value in cases.numbers(2_000, 1_500)]
    log = cases.events(tmp_path / "log.jsonl", rows)
    assert cli.run(["replay", str(log), "--reference-rows", "1000"]) == 1
    assert cli.run(["replay", str(log), "--reference-rows", "1000", "--json"]) == 1
    assert cli.run(["replay", str(log), "--model", "x\x1b[2J", "--timestamp", "t\x1b[2J"]) == 2
    shown = capsys.readouterr()
    assert is_clean(shown.out)
    assert is_clean(shown.err)
    assert "owned" in shown.out
