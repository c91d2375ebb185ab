"""Keyed partitions that are read unevenly give the incidents of the file itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.commands import cli
from tests.replay.test_replay import DATA, NULL, REFERENCE, names, replayed


def keyed(path: Path, shift: float) -> Path:
    """Rows of four customers with levels 0.8 sigma apart; ``x1`` of all of them moves by ``shift`` sigma at the end."""
    rng = np.random.default_rng(3)
    rows = REFERENCE + NULL + 1_500
    customer = rng.integers(0, 4, rows)
    numbers = rng.normal(size=(rows, 3)) + 0.8 * (customer[:, None] - 1.5)
    numbers[REFERENCE + NULL :, 1] += shift
    lines = ["x0,x1,x2,customer"]
    lines += [f"{a:.6g},{b:.6g},{c:.6g},c{who}" for (a, b, c), who in zip(numbers, customer, strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def without_signals(found: dict[str, Any]) -> dict[str, Any]:
    """All but the second opinion, which each partition's detectors give on their own rows."""
    return {name: value for name, value in found.items() if name != "signals"}


@pytest.mark.parametrize("seed", [1, 2, 3, 11, 12])
def test_however_unevenly_keyed_partitions_are_read_the_incidents_are_those_of_the_file(
    tmp_path: Path, seed: int
) -> None:
    file = keyed(tmp_path / "keyed.csv", 1.0)
    alone = replayed(file)
    uneven = replayed(file, partitions=4, partition_by="customer", progress=seed)
    assert [names(incident) for incident in alone["incidents"]] == [["x1"]]
    assert without_signals(uneven) == without_signals(alone)


def test_keyed_partitions_that_are_read_unevenly_raise_nothing_where_nothing_changes(tmp_path: Path) -> None:
    file = keyed(tmp_path / "keyed.csv", 0.0)
    assert replayed(file, partitions=4, partition_by="customer", progress=5)["incidents"] == []


@pytest.mark.parametrize(("file", "key"), [("elec2/electricity.csv", "day"), ("gas_sensor", None)])
def test_real_streams_by_a_key_and_unevenly_read_give_the_incidents_of_the_file(file: str, key: str | None) -> None:
    path = DATA / file
    if path.is_dir():
        path = next((one for one in sorted(path.iterdir()) if one.suffix in (".csv", ".dat", ".parquet")), path / "-")
    if not path.exists():
        pytest.skip(f"left out for want of the {file} data (DRIFTLINE_TEST_DATA)")
    rows = 10_000 if key else 90  # rows of the first batch
    alone = replayed(path, reference_rows=rows)
    uneven = replayed(path, reference_rows=rows, partitions=4, partition_by=key, progress=1)
    assert without_signals(uneven) == without_signals(alone)


def test_a_row_without_the_key_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = keyed(tmp_path / "keyed.csv", 0.0)
    assert cli.run(["replay", str(file), "--reference-rows", "2000", "--partition-by", "country", "--quiet"]) == 2
    assert "row 2001: has no feature 'country'" in capsys.readouterr().err


def test_uneven_reading_needs_a_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = keyed(tmp_path / "keyed.csv", 0.0)
    assert cli.run(["replay", str(file), "--progress", "1"]) == 2
    assert "--progress needs --reference or --reference-rows" in capsys.readouterr().err
