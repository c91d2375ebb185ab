"""``driftline incidents`` with a simulated worker: what is requested, what is shown, what is refused."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stream.commands import cli
from stream.terminal import incidents as incident_tables
from tests.http.local import Handler, LocalServer

INCIDENT = {
    "id": "8c1d2f00-1111-5222-8333-000000000000",
    "model": "fraud",
    "version": "3",
    "segment": None,
    "kind": "feature",
    "severity": "critical",
    "verdict": "world-changed",
    "opened_at_event": 7512,
    "opened_at_ms": 1_763_700_000_000,
    "resolved_at_event": None,
    "resolved_at_ms": None,
    "features": [{"feature": "amount", "evidence_log10": 9.1, "psi": 0.41, "wasserstein": 0.8}],
}


class Worker(Handler):
    """A worker's answers; records the requests."""

    asked: list[tuple[str, str, str | None, Any]]
    incidents: list[dict[str, Any]]

    def get(self) -> None:
        self.asked.append(("GET", self.path, None, None))
        if self.path.startswith("/api/v1/incidents?"):
            self.answer(200, {"incidents": self.incidents})
        elif self.path == f"/api/v1/incidents/{INCIDENT['id']}":
            self.answer(200, INCIDENT)
        else:
            self.answer(404, {"error": "no such incident"})

    def post(self) -> None:
        self.asked.append(("POST", self.path, self.headers.get("Authorization"), self.body()))
        if self.headers.get("Authorization") == "Bearer sesame":
            self.answer(200, {})
        else:
            self.answer(401, {"error": "wrong token"})


@pytest.fixture
def worker() -> Iterator[tuple[str, type[Worker]]]:
    """A running worker's address, and the requests that it recorded."""
    handler = type("Handler", (Worker,), {"asked": [], "incidents": [INCIDENT]})
    with LocalServer(handler) as server:
        yield server.url, handler


def test_the_list_names_model_verdict_and_features_and_is_drift(
    worker: tuple[str, type[Worker]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["incidents", "list", "--url", worker[0], "--model", "fraud", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["incidents"] == [INCIDENT]
    assert worker[1].asked == [("GET", "/api/v1/incidents?model=fraud&state=open", None, None)]


@pytest.mark.parametrize("columns", [40, 80, 100, 300])
@pytest.mark.parametrize("terminal", [True, False])
def test_an_id_stays_in_one_piece_however_narrow_the_terminal(columns: int, terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, width=columns, force_terminal=terminal, color_system=None)
    names = [{"feature": f"a_rather_long_name_{number}"} for number in range(9)]
    long = {**INCIDENT, "version": "2025-11-21-of-the-evening", "resolved_at_ms": 1_763_700_100_000, "features": names}
    assert incident_tables.show_list(console, [INCIDENT, long], as_json=False) == 1
    told = out.getvalue()
    assert told.count(str(INCIDENT["id"])) == 2
    for text in ("fraud/2025-11-21-of-the-evening", "critical", "2025-11-21 04:40:00Z", "a_rather_long_name_0"):
        assert text in told
    if not terminal:
        assert len(told.splitlines()) == 3, "a line for each, for grep and awk"


def test_no_open_incident_is_stable(worker: tuple[str, type[Worker]], capsys: pytest.CaptureFixture[str]) -> None:
    worker[1].incidents = [{**INCIDENT, "resolved_at_ms": 1_763_700_100_000}]
    assert cli.run(["incidents", "list", "--url", worker[0], "--state", "all"]) == 0
    worker[1].incidents = []
    assert cli.run(["incidents", "list", "--url", worker[0]]) == 0
    assert "no incidents" in capsys.readouterr().out


def test_one_incident_is_shown_with_its_sizes(
    worker: tuple[str, type[Worker]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["incidents", "show", str(INCIDENT["id"]), "--url", worker[0]]) == 0
    shown = capsys.readouterr().out
    for text in ("world-changed", "amount", "9.1", "0.41", "2025-11-21"):
        assert text in shown


def test_an_incident_that_is_not_there_is_said(
    worker: tuple[str, type[Worker]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["incidents", "show", "a/b", "--url", worker[0]]) == 2
    assert "404: no such incident" in capsys.readouterr().err
    assert worker[1].asked[-1][1] == "/api/v1/incidents/a%2Fb"


@pytest.mark.parametrize("action", ["ack", "resolve", "accept"])
def test_a_change_carries_who_why_and_the_token(
    worker: tuple[str, type[Worker]], tmp_path: Path, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "driftline.yaml"
    path.write_text("http: {token: sesame}", encoding="utf-8")
    more = ["--silence-hours", "2"] if action == "ack" else []
    said = ["--by", "anna", "--note", "new camera", "--url", worker[0], "--config", str(path), *more]
    assert cli.run(["incidents", action, "8c1d", *said]) == 0
    method, where, token, body = worker[1].asked[-1]
    assert (method, where, token) == ("POST", f"/api/v1/incidents/8c1d/{action}", "Bearer sesame")
    assert body == {"by": "anna", "note": "new camera", **({"silence_hours": 2.0} if more else {})}
    assert f"{action} recorded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["silence", "8c1d", "--hours", "3"], {"by": "anna", "note": "", "silence_hours": 3.0}),
        (["note", "8c1d", "new camera"], {"by": "anna", "note": "new camera"}),
    ],
)
def test_silences_and_notes_are_sent(
    worker: tuple[str, type[Worker]], tmp_path: Path, words: list[str], body: dict[str, Any]
) -> None:
    path = tmp_path / "driftline.yaml"
    path.write_text("http: {token: sesame}", encoding="utf-8")
    assert cli.run(["incidents", *words, "--by", "anna", "--url", worker[0], "--config", str(path)]) == 0
    assert worker[1].asked[-1][1:] == (f"/api/v1/incidents/8c1d/{words[0]}", "Bearer sesame", body)


def test_without_the_token_a_change_is_refused(
    worker: tuple[str, type[Worker]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["incidents", "ack", "8c1d", "--url", worker[0]]) == 2
    assert "401: wrong token" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://127.0.0.1", "nonsense"])
def test_no_worker_there_is_one_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["incidents", "list", "--url", url]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
