"""``replay --clean``: which events it selects, what it prints and draws, and what it refuses."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.errors import FormatError
from stream.commands import cli
from stream.replay import clean_rows, command, png
from stream.replay.calibration_report import Calibrated
from stream.replay.clean_rows import CalibrationOptions, Span
from stream.replay.options import ReplayOptions

REFERENCE, ROWS = 1_000, 2_000


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(21)
    path = tmp_path_factory.mktemp("history") / "history.csv"
    rows = REFERENCE + ROWS
    colours = rng.choice(["red", "<i>green</i>"], rows, p=[0.8, 0.2]).tolist()
    numbers = zip(rng.normal(size=rows).tolist(), rng.poisson(4, rows).tolist(), colours, strict=True)
    lines = [f"{1_700_000_000 + 600 * k},{x!r},{n},{c}" for k, (x, n, c) in enumerate(numbers)]
    path.write_text("when,x,<b>n</b>,colour\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def run(file: Path, *more: str) -> int:
    return cli.run(["replay", str(file), "--reference-rows", str(REFERENCE), "--timestamp", "when", "--quiet", *more])


def found(file: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    assert run(file, "--json", "--bootstrap", "3", *more) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_calibration_adds_one_key_and_changes_no_other(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calibrated = found(file, capsys, "--clean", "0:1500")
    run(file, "--json")
    plain = json.loads(capsys.readouterr().out)
    figures = calibrated.pop("calibration")
    assert calibrated == plain
    assert figures["clean"] == {"first_event": 1, "last_event": 1500, "events": 1500}
    assert figures["false_alarms"]["resampled"]["copies"] == 3
    assert figures["false_alarms"]["resampled"]["at_their_time_of_day"]
    told = {(d["feature"], d["change"]) for d in figures["delays"]["features"]}
    assert told >= {("x", ".25 sigma"), ("<b>n</b>", "variance x2"), ("colour", "mix +10 %"), ("x", "missing +5 %")}
    assert ("colour", "1 sigma") not in told


def test_the_same_seed_prints_the_same_bytes(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for seed in ("5", "5", "6"):
        run(file, "--clean", ":", "--bootstrap", "2", "--seed", seed)
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert outputs[0] != outputs[2]


def test_a_span_of_times_means_the_events_at_those_times(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by_time = found(file, capsys, "--clean", "2023-11-22..2023-12-01T00:00:00Z")["calibration"]["clean"]
    first, last = by_time["first_event"], by_time["last_event"]
    assert found(file, capsys, "--clean", f"{first - 1}:{last}")["calibration"]["clean"] == by_time
    assert by_time["events"] == 9 * 144


@given(st.integers(0, 50), st.integers(1, 50), st.integers(1, 120))
def test_a_span_of_events_is_half_open(low: int, length: int, event: int) -> None:
    assert clean_rows.span(f"{low}:{low + length}").holds(event, 0) == (low < event <= low + length)
    assert clean_rows.span(":").holds(event, 0)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--clean", "7"], "--clean 7: must be FROM:TO"),
        (["--clean", "900:800"], "--clean 900:800: FROM must be before TO"),
        (["--clean", "2024-13-01:"], "--clean 2024-13-01:: '2024-13-01' is not a time"),
        (["--clean", "0:100"], "--clean selects 100 of 2,000 events; at least 500 are needed"),
        (["--clean", "5000:"], "--clean selects 0 of 2,000 events"),
        (["--bootstrap", "5"], "--bootstrap and --seed need --clean"),
        (["--seed", "5"], "--bootstrap and --seed need --clean"),
        (["--clean", ":", "--bootstrap", "0"], "0 is not in the range"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_in_one_line(
    file: Path, arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(file, *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert expected in shown.err


def test_times_need_rows_that_have_them_and_clean_a_reference(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["replay", str(file), "--reference-rows", "1000", "--clean", "2023-11-22:2023-11-25"]) == 2
    assert "history.csv: --clean names times, but the rows have none" in capsys.readouterr().err
    assert cli.run(["replay", str(file), "--clean", ":"]) == 2
    assert "--clean needs --reference or --reference-rows" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["*.jsonl", ""])
def test_clean_events_of_a_pattern_and_of_a_folder(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(5)
    for part in range(2):
        events = (
            {"model": "m", "version": "1", "ts": 1_763_700_000_000 + 1_000 * (2_000 * part + k), "features": {"x": x}}
            for k, x in enumerate(rng.normal(size=2_000).tolist())
        )
        (tmp_path / f"{part}.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    arguments = ["--reference-rows", "1000", "--clean", "500:2500", "--bootstrap", "2", "--quiet", "--json"]
    assert cli.run(["replay", str(tmp_path / name), *arguments]) == 0
    clean = json.loads(capsys.readouterr().out)["calibration"]["clean"]
    assert clean == {"first_event": 501, "last_event": 2500, "events": 2000}


def test_the_page_shows_rates_and_delays_and_needs_nothing_from_elsewhere(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "history.html"
    assert run(file, "--clean", "0:1500", "--bootstrap", "2", "--plot", str(page)) == 0
    assert "events until a change is found" in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert not [word for word in ("http:", "https:", "<script", "<link", "@import", "url(", "src=") if word in text]
    assert "<b>n</b>" not in text
    assert "False alarms on the clean events 1 to 1,500" in text
    assert 'class="clean"' in text
    for picture in re.findall(r"<svg.*?</svg>", text, re.S):
        ElementTree.fromstring(picture)
    body = re.search(r'<table class="delays">.*?</table>', text, re.S)
    assert body is not None
    assert body.group().count("<tr>") == 1 + 3


def test_a_png_shows_the_calibration_below(file: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    wish = CalibrationOptions(Span(0, 1_500, False), copies=1)
    options = ReplayOptions(file=str(file), reference_rows=REFERENCE, ignore=("when",))
    replay, rows = command.replayed(options, lambda count: None, wish)
    assert rows is not None
    calibrated = command.calibrated(replay, rows, options, quiet=True)
    assert isinstance(calibrated.calibration, Calibrated)
    png.write(calibrated, str(tmp_path / "with.png"))
    png.write(replay, str(tmp_path / "without.png"))
    assert (tmp_path / "with.png").stat().st_size > (tmp_path / "without.png").stat().st_size


def test_segments_are_not_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "events.jsonl"
    event = '{{"model": "a", "segment": "{}", "features": {{"x": {}}}}}\n'
    path.write_text("".join(event.format("DE" if k < 900 else "FR", k % 7) for k in range(1_500)), encoding="utf-8")
    assert cli.run(["replay", str(path), "--reference-rows", "300", "--clean", ":"]) == 2
    assert "row 901: is of a/" in capsys.readouterr().err


@pytest.mark.parametrize("times", [True, False])
def test_lines_without_times_have_no_time_of_day(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, times: bool
) -> None:
    path = tmp_path / "events.jsonl"
    ts = '"ts": {}, ' if times else ""
    event = '{{"model": "a", ' + ts + '"features": {{"x": {}}}}}\n'
    numbers = np.random.default_rng(3).normal(size=1_500).tolist()
    given = [(1_700_000_000 + 600 * k, x) if times else (x,) for k, x in enumerate(numbers)]
    path.write_text("".join(event.format(*values) for values in given), encoding="utf-8")
    arguments = ["replay", str(path), "--reference-rows", "500", "--rate", "0.001", "--bootstrap", "1", "--json"]
    assert cli.run([*arguments, "--clean", ":"]) == 0
    resampled = json.loads(capsys.readouterr().out)["calibration"]["false_alarms"]["resampled"]
    assert resampled["at_their_time_of_day"] is times
    assert cli.run([*arguments, "--clean", "2023-11-18:"]) == (0 if times else 2)


def test_a_span_of_two_separators_is_refused() -> None:
    with pytest.raises(FormatError, match=r"FROM\.\.TO for times with colons"):
        clean_rows.span("2024-01-01T00:00:2024-02-01")
