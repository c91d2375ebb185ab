"""``driftline decode`` and ``driftline formats``."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from stream.commands import cli
from stream.formats.registry import FORMATS

EVENT = {"id": "a", "model": "m", "version": "3", "ts": 1_763_700_000_000, "features": {"x": 1.5, "gone": None}}


def record(folder: Path, name: str, value: Any, topic: str = "inference-events", **more: Any) -> str:
    """A file with one record."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    body = {"topic": topic, "timestamp_ms": 1_763_700_000_000, "key": None, "headers": [], **more}
    path = folder / name
    path.write_text(json.dumps({"value": base64.b64encode(data).decode(), **body}))
    return str(path)


def decode(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    status = cli.run(["decode", *arguments, "--json"])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_each_record_is_one_line_of_json_with_its_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [record(tmp_path, "a.json", EVENT), record(tmp_path, "b.json", EVENT)]
    status, (one, again) = decode(capsys, *files)
    assert status == 0
    assert (one["file"], one["outcome"], one["format"], one["rows"]) == (files[0], "events", "native", 1)
    assert one["events"][0]["ts"] == EVENT["ts"]
    assert again["outcome"] == "duplicate"


def test_the_settings_of_the_topic_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "driftline.yaml"
    config.write_text(
        "topics: {events: [{topic: payments, model: fraud, id: order, prediction: score, columns: [a, b]}]}"
    )
    row = record(tmp_path, "row.json", {"order": "o", "amount": 2, "score": 0.5}, "payments")
    place = record(tmp_path, "place.json", [1, "x"], "payments")
    status, (one, other) = decode(capsys, row, place, "--config", str(config))
    assert status == 0
    assert one["events"] == [{"model": "fraud", "id": "o", "prediction": 0.5, "features": {"amount": 2}}]
    assert other["events"] == [{"model": "fraud", "features": {"a": 1, "b": "x"}}]


def test_a_dead_letter_has_its_reason_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = record(tmp_path, "row.json", {"amount": 2}, "payments")
    assert decode(capsys, file) == (
        2,
        [
            {
                "file": file,
                "outcome": "dead_letter",
                "rows": 0,
                "reason": "no model: name the model of topic payments in the settings",
            }
        ],
    )
    assert cli.run(["decode", file]) == 2
    assert "dead_letter no model" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Expecting property name"),
        ("[]", "is not one record"),
        ('{"topic": "t", "value": "%"}', "base64"),
        ('{"topic": "t", "headers": [1]}', "int"),
    ],
)
def test_a_file_that_holds_no_record_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, reason: str
) -> None:
    file = tmp_path / "x.json"
    file.write_text(content)
    assert cli.run(["decode", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(file) in error
    assert reason in error


def test_a_format_that_does_not_exist_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "driftline.yaml"
    config.write_text("topics: {events: [{topic: payments, format: flatt}]}")
    assert cli.run(["decode", record(tmp_path, "row.json", {}), "--config", str(config)]) == 2
    assert "payments: there is no format 'flatt', only auto, cloudevents" in capsys.readouterr().err


def test_files_or_a_topic_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["decode"]) == 2
    assert "one or more files, or a topic" in capsys.readouterr().err


def test_the_formats_are_listed_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["formats", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["formats"]
    assert [one["format"] for one in found] == list(FORMATS)
    assert all(one["reads"].endswith(".") for one in found)
