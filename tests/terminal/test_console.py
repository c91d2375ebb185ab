"""Text of other people carries out no command of a terminal, and looks like no line of ours."""

import ast
import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectors.columns import Columns
from detectors.errors import DriftlineError
from detectors.features import FeatureSpec, Kind, UnitKey
from stream.commands import cli
from stream.survey import survey
from stream.survey import views as survey_views
from stream.terminal import incidents, live, logs, models, output, progress
from stream.terminal.console import console, escape
from stream.terminal.printable import message, printable
from tests.architecture.sources import sources

HOSTILE = (
    "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\x00\r\b\x0b\x0c"  # a terminal's commands, of seven and of eight bits
    "\u202e\u2066\u200f\u2028\u2029\ufeff\U000e0041\ud800"  # order of writing, lines, tags, half a character
    "\n2026 ERROR forged"
)


def shown(terminal: bool, show: Any) -> str:
    """What is written by ``show(console)``."""
    file = io.StringIO()
    show(console(file=file, force_terminal=terminal, width=200, highlight=False))
    return file.getvalue()


def assert_harmless(text: str, *, own_escapes: bool = False) -> None:
    found = [char for char in text if char != "\n" and char != printable(char)]
    if own_escapes:
        assert "\x1b]" not in text
        assert "\x1b[2J" not in text
        found = [char for char in found if char != "\x1b"]
    assert not found, (found, text)
    assert not [line for line in text.splitlines() if line.startswith("2026 ERROR forged")]


@pytest.mark.parametrize("char", [chr(code) for code in (*range(32), *range(127, 160), 0x202E, 0x2028, 0xFEFF, 0xD800)])
def test_what_cannot_be_printed_is_escaped_and_is_told_apart(char: str) -> None:
    found = printable(f"a{char}b")
    assert found.isprintable()
    assert found != "ab"
    assert found.encode().decode("unicode_escape") == f"a{char}b" or char == "\ud800"


@pytest.mark.parametrize(
    "text", ["größe", "年齢", "سن\u200cها", "👩\u200d🔬", "a b\u00a0c", "[bold]x[/]", ":smile:", "\\n"]
)
def test_what_can_be_printed_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text
    assert shown(False, lambda it: it.print(escape(text))) == text + "\n"


def test_a_message_keeps_its_indented_lines_and_no_others() -> None:
    assert message("wrong:\n  a\n  b\nc\x1b") == "wrong:\n  a\n  b\\nc\\x1b"


INCIDENT: dict[str, Any] = {
    "id": "1", "model": HOSTILE, "version": HOSTILE, "segment": HOSTILE, "severity": "critical", "verdict": HOSTILE,
    "kind": HOSTILE, "reason": HOSTILE, "summary": HOSTILE, "opened_at_ms": 1, "resolved_at_ms": None,
    "notes": [{"at_ms": 1, "by": HOSTILE, "text": HOSTILE, "action": "note"}],
    "features": [{"feature": HOSTILE, "evidence_log10": 9.0}],
}  # fmt: skip
MODEL: dict[str, Any] = {
    "model": HOSTILE, "version": HOSTILE, "segment": HOSTILE, "state": "blind", "reason": HOSTILE, "events": 1,
    "worst_feature": HOSTILE, "evidence_log10": 1.0, "threshold_log10": 4.0,
}  # fmt: skip


def survey_of_the_case() -> survey.TopicSurvey:
    """The case red-survey-escape: the name of a feature and a category that are commands of the terminal."""
    rows = 200
    columns = Columns(
        unit=UnitKey("m", "1", None), next_offsets=_whole(rows), timestamps_ms=_whole(rows), numeric=(),
        numbers=_whole(rows).reshape(-1, 1)[:, :0].astype(float), number_status=_whole(rows).reshape(-1, 1)[:, :0],
        categorical=(FeatureSpec(HOSTILE, Kind.CATEGORICAL),), categories=[[HOSTILE] * rows], environments={},
    )  # fmt: skip
    return survey.TopicSurvey(
        topic="t", partitions=1, held=rows, read=rows, shapes={HOSTILE: 1}, rejected={HOSTILE: 2},
        newest_age_seconds=1.0, size_bytes=1, models=survey.models([columns]),
    )  # fmt: skip


def _whole(rows: int) -> Any:
    return np.arange(rows)


WAYS = {
    "survey (red-survey-escape)": lambda it: survey_views.show(it, survey_of_the_case()),
    "incidents list": lambda it: incidents.show_list(it, [INCIDENT], False),
    "incidents list, narrow": lambda it: _narrow(it),
    "incidents show": lambda it: incidents.show_one(it, INCIDENT, False),
    "models list": lambda it: models.show_list(it, [MODEL], False),
    "watch, the table": lambda it: it.print(live.models_table([MODEL], {}, 200, 10)),
    "watch, lines": lambda it: live.PlainScreen(it, HOSTILE).show([MODEL], []),
    "watch, remarks": lambda it: live.PlainScreen(it, HOSTILE).report(HOSTILE),
    "markup": lambda it: it.print(f"[bold]{escape(HOSTILE)}[/]"),
    "a forgotten escape": lambda it: it.print(HOSTILE.replace("\n", "").replace("\ud800", ""), markup=False),
}


def _narrow(it: Any) -> None:
    it.width = 40
    incidents.show_list(it, [INCIDENT], False)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("terminal", [False, True], ids=["piped", "terminal"])
def test_names_of_events_reach_no_terminal_as_commands(way: str, terminal: bool) -> None:
    text = shown(terminal, WAYS[way])
    assert text
    assert_harmless(text, own_escapes=terminal)


def test_json_has_the_same_values_and_no_commands() -> None:
    value = {"name": HOSTILE.replace("\ud800", ""), "umlaut": "größe 👩"}
    text = shown(True, lambda it: output.write_json(it, value))
    assert json.loads(text) == value
    assert "größe" in text
    assert_harmless(text)


def test_remarks_and_errors_of_commands_carry_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    progress.note(HOSTILE.replace("\ud800", ""))
    logging.lastResort.handle(logging.makeLogRecord({"msg": HOSTILE}))  # type: ignore[union-attr]
    for error in (DriftlineError(HOSTILE), RuntimeError(HOSTILE)):

        def fail(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(cli.cli, "main", fail)
        assert cli.run([]) == 2
    text = capsys.readouterr().err
    assert text.count("owned") >= 3
    assert_harmless(text)


def test_replay_of_a_file_with_such_names(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    name = '"\x1b]0;owned\x07\u202e\x9b31m"'
    rows = [f"{number % 7},{'x' if number % 3 else chr(27) + '[2J'}" for number in range(400)]
    rows += [f"{number % 7 + 90},x" for number in range(400)]
    file.write_text("\n".join([f"{name},b", *rows]) + "\n", encoding="utf-8")
    assert cli.run(["replay", str(file), "--reference-rows", "200"]) in (0, 1, 2)
    captured = capsys.readouterr()
    assert "owned" in captured.out + captured.err
    assert_harmless(captured.out)
    assert_harmless(captured.err)


def test_the_log_has_one_line_for_an_entry_and_indents_tracebacks() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.LogFormatter("%(levelname)s %(name)s: %(message)s"))
    name = HOSTILE.replace("\ud800", "")
    handler.handle(logging.makeLogRecord({"levelname": "ERROR", "name": name, "msg": "%s: %s", "args": (name, name)}))
    try:
        raise ValueError(name)
    except ValueError as error:
        handler.handle(
            logging.makeLogRecord(
                {"levelname": "ERROR", "name": "x", "msg": "y", "exc_info": (ValueError, error, error.__traceback__)}
            )
        )
    text = stream.getvalue()
    assert_harmless(text)
    first, second, *rest = text.splitlines()
    assert first.startswith("ERROR")
    assert second == "ERROR x: y"
    assert rest
    assert all(line.startswith("  ") for line in rest)


HOMES = {
    "Console": "stream.terminal.console",
    "SafeConsole": "stream.terminal.console",
    "basicConfig": "stream.terminal.logs",
    "StreamHandler": "stream.terminal.logs",
    "print_exc": "",
    "print_exception": "",
    "excepthook": "",
}


def test_one_module_writes_to_the_terminal_and_one_formats_the_log() -> None:
    """Whoever makes a console, escapes markup, shows a traceback or sets up a log elsewhere goes past the escaping."""
    wrong = []
    for source in sources("stream"):
        if "rich.markup" in source.text and source.name != "stream.terminal.console":
            wrong.append((source.name, "rich.markup"))
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if HOMES.get(name, source.name) != source.name:
                    wrong.append((source.name, name))
    assert not wrong
