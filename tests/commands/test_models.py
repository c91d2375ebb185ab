"""``driftline models`` with a simulated worker."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stream.commands import cli
from stream.terminal import models
from tests.commands.test_incidents import Worker, worker

__all__ = ["worker"]

MODELS = [
    {"model": "fraud", "version": "3", "segment": None, "state": "stable", "events": 45_312,
     "last_event_ms": 1_763_700_000_000, "reason": ""},
    {"model": "fraud", "version": "2", "segment": "de", "state": "blind", "events": 7, "last_event_ms": None,
     "reason": "no event for 60 s"},
]  # fmt: skip


@pytest.fixture
def url(worker: tuple[str, type[Worker]]) -> str:
    def get(self: Any) -> None:
        self.asked.append(("GET", self.path, None, None))
        self.answer(200, {"models": MODELS})

    worker[1].do_GET = get  # type: ignore[method-assign]
    return worker[0]


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "driftline.yaml"
    path.write_text("http: {token: sesame}", encoding="utf-8")
    return str(path)


def test_the_list_names_state_events_and_reason(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["models", "list", "--url", url]) == 0
    told = capsys.readouterr().out
    assert all(part in told for part in ("45,312", "stable", "blind", "2025-11-21"))
    assert cli.run(["models", "list", "--url", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"] == MODELS


def test_names_stay_in_one_piece_in_a_narrow_terminal() -> None:
    out = io.StringIO()
    long = {**MODELS[1], "model": "image-defects", "version": "2025-11-21-evening", "reason": "word " * 20}
    models.show_list(Console(file=out, width=80, force_terminal=True, color_system=None), [long], as_json=False)
    assert "image-defects  2025-11-21-evening  de" in out.getvalue()


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        (["fraud", "2"], ["fraud/2/forget"]),
        (["fraud"], ["fraud/2/forget", "fraud/3/forget"]),
        (["fraud", "2", "--segment", "d/e"], ["fraud/2/forget?segment=d%2Fe"]),
        (["fraud", "2", "--segment", ""], ["fraud/2/forget?segment="]),
    ],
)
def test_forgetting_carries_who_why_and_the_token(
    url: str,
    worker: tuple[str, type[Worker]],
    config: str,
    words: list[str],
    paths: list[str],
) -> None:
    assert cli.run(["models", "forget", *words, "--by", "ann", "--note", "gone", "--url", url, "--config", config]) == 0
    posted = [asked[1:] for asked in worker[1].asked if asked[0] == "POST"]
    assert posted == [(f"/api/v1/models/{p}", "Bearer sesame", {"by": "ann", "note": "gone"}) for p in paths]


def test_a_model_that_is_not_watched_is_said(url: str, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["models", "forget", "nobody", "--url", url, "--config", config]) == 2
    assert "no model 'nobody' is monitored" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        (["fraud"], ["fraud/2/release"]),
        (["fraud", "2"], ["fraud/2/release"]),
        (["fraud", "2", "d/e"], ["fraud/2/release?segment=d%2Fe"]),
        (["fraud", "2", "--segment", ""], ["fraud/2/release?segment="]),
    ],
)
def test_releasing_asks_for_what_is_in_quarantine(
    url: str, worker: tuple[str, type[Worker]], config: str, words: list[str], paths: list[str],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    asked = ["models", "release", *words, "--by", "ann", "--url", url, "--config", config]
    if words == ["fraud"]:
        assert cli.run(asked) == 2
        assert "no version of model 'fraud' is in quarantine" in capsys.readouterr().err
    monkeypatch.setitem(MODELS[1], "quarantined", {"ignored": 1, "places": {}})
    assert cli.run(asked) == 0
    posted = [asked[1:] for asked in worker[1].asked if asked[0] == "POST"]
    assert posted == [(f"/api/v1/models/{p}", "Bearer sesame", {"by": "ann", "note": ""}) for p in paths]
