"""``driftline reference``: build, show and compare artefacts from files."""

import json
from pathlib import Path

import numpy as np
import pytest

from detectors.reference import reference
from stream.commands import cli


def table(path: Path, shift: float = 0.0, rows: int = 2000) -> Path:
    rng = np.random.default_rng(5)
    amounts, colours = rng.normal(shift, 1, rows), rng.choice(["red", "blue"], rows)
    text = "amount,colour\n" + "".join(f"{a:.6f},{c}\n" for a, c in zip(amounts, colours, strict=True))
    path.write_text(text, encoding="utf-8")
    return path


def build(tmp_path: Path, name: str, *more: str, shift: float = 0.0) -> Path:
    output = tmp_path / f"{name}.json"
    source = table(tmp_path / f"{name}.csv", shift)
    assert cli.run(["reference", "build", str(source), "-o", str(output), "--model", "fraud", *more]) == 0
    return output


def test_a_reference_is_built_of_all_rows_or_the_first(tmp_path: Path) -> None:
    whole = reference.decode(build(tmp_path, "whole").read_bytes())
    assert (str(whole.model_key), whole.rows) == ("fraud/1", 2000)
    assert [feature.feature for feature in whole.features] == ["amount", "colour"]
    part = reference.decode(build(tmp_path, "part", "--rows", "500", "--version", "7").read_bytes())
    assert (str(part.model_key), part.rows) == ("fraud/7", 500)


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    first = build(tmp_path, "a").read_bytes()
    assert build(tmp_path, "a").read_bytes() == first


def test_show_lists_every_feature(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artefact = build(tmp_path, "a")
    assert cli.run(["reference", "show", str(artefact)]) == 0
    shown = capsys.readouterr().out
    for text in ("fraud/1", "2,000 rows", "sha256:", "amount", "colour", "red"):
        assert text in shown
    assert cli.run(["reference", "show", str(artefact), "--json"]) == 0
    assert reference.decode(capsys.readouterr().out.encode()) == reference.decode(artefact.read_bytes())


def test_a_reference_differs_in_nothing_from_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artefact = str(build(tmp_path, "a"))
    assert cli.run(["reference", "diff", artefact, artefact, "--json"]) == 0
    assert [feature["psi"] for feature in json.loads(capsys.readouterr().out)["features"]] == [0, 0]


def test_what_moved_is_named_first_and_is_drift(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = str(build(tmp_path, "a")), str(build(tmp_path, "b", shift=1.0))
    assert cli.run(["reference", "diff", before, after, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["features"]
    assert [feature["feature"] for feature in found] == ["amount", "colour"]
    # PSI of N(0,1) against N(1,1) is 1 in the limit of fine bins; ten bins keep most of it
    assert 0.6 < found[0]["psi"] < 1.1
    assert found[1]["psi"] < 0.01


@pytest.mark.parametrize(
    "content", ["", "{}", "not json", '{"schema": 99, "model": "a", "version": "1", "rows": 0, "features": []}']
)
def test_what_is_no_reference_is_one_line_with_the_file(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content, encoding="utf-8")
    assert cli.run(["reference", "show", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"driftline: {path}: ")
    assert len(error.splitlines()) == 1


def test_a_directory_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = table(tmp_path / "a.csv", rows=300)
    assert cli.run(["reference", "build", str(source), "-o", str(tmp_path / "no" / "r.json")]) == 2
    assert "cannot be written: No such file" in capsys.readouterr().err
