"""Tables: the format is detected, chunks lose no row, and an error names its row."""

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from detectors.errors import FormatError
from stream.files.table_chunks import read_table


def columns(file: Path, chunk_rows: int = 4_096) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    rows = 0
    for chunk in read_table(file, chunk_rows=chunk_rows):
        assert chunk.first_row == rows + 1
        rows += chunk.rows
        for name, values in chunk.columns.items():
            assert len(values) == chunk.rows
            found.setdefault(name, []).extend(values.tolist() if hasattr(values, "tolist") else values)
    return found


def written(folder: Path, text: str, name: str = "table.csv") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("chunk_rows", [1, 2, 19, 20, 21, 1_000])
def test_no_row_is_lost_whatever_the_chunk(tmp_path: Path, chunk_rows: int) -> None:
    file = written(tmp_path, "x,y\n" + "".join(f"{i},{i / 2}\n" for i in range(105)))
    assert columns(file, chunk_rows) == {"x": [float(i) for i in range(105)], "y": [i / 2 for i in range(105)]}


def test_values_have_the_kinds_of_their_columns(tmp_path: Path) -> None:
    rows = "1,a,true,x 1\n,,false,\n" + "2,b,true,1_0\n" * 40 + "#REF!,NA,TRUE,c\n"
    found = columns(written(tmp_path, "n;w;t;o\n".replace(";", ",") + rows))
    assert found["n"][:3] == [1.0, None, 2.0]
    assert found["n"][-1] == "#REF!"
    assert found["w"][:3] == ["a", None, "b"]
    assert found["w"][-1] is None
    assert found["t"][:3] == [True, False, True]
    assert found["o"][:3] == ["x 1", None, "1_0"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_found_and_a_headerless_table_gets_names(tmp_path: Path, delimiter: str) -> None:
    file = written(tmp_path, f"1{delimiter}a\n2{delimiter}b\n")
    assert columns(file) == {"column_1": [1.0, 2.0], "column_2": ["a", "b"]}


def test_sparse_rows_are_filled_with_zeros(tmp_path: Path) -> None:
    file = written(tmp_path, "1;10 1:0.5 3:2\n2;20 2:1\n", "x.dat")
    expected = {"target": [1.0, 2.0], "target_2": [10.0, 20.0], "f1": [0.5, 0.0], "f2": [0.0, 1.0], "f3": [2.0, 0.0]}
    assert columns(file) == expected


def test_a_packed_table_reads_as_the_plain_one_and_progress_ends_at_its_size(tmp_path: Path) -> None:
    file = tmp_path / "t.csv.gz"
    file.write_bytes(gzip.compress(b"x\n1\n2\n"))
    heard: list[int] = []
    assert [list(chunk.columns["x"]) for chunk in read_table(file, heard.append)] == [[1.0, 2.0]]
    assert heard[-1] == file.stat().st_size


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has no rows"),
        ("a,b\n", "no rows"),
        ("a,b\n1,2\n1,2,3\n", "row 2: 3 fields, but there are 2 columns"),
        ("a,a\n1,2\n", "two columns named 'a'"),
        ('a,b\n1,"2\n', "line"),
        ('{"model": "m"}\n', "looks like JSON"),
        ("1 1:2\n1 0:3\n", "row 2"),
    ],
)
def test_a_bad_table_is_named_with_its_row(tmp_path: Path, text: str, complaint: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(FormatError, match=complaint) as caught:
        columns(file)
    assert str(file) in str(caught.value)


def test_text_in_another_encoding_is_read_and_absent_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "latin.csv"
    file.write_bytes(b"a,b\n1,\xe9t\xe9\n")
    assert columns(file) == {"a": [1.0], "b": ["été"]}
    with pytest.raises(FormatError, match="cannot be read"):
        columns(tmp_path / "absent.csv")


def test_parquet_reads_as_its_values(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"x": [1, 2, 3], "w": ["a", None, "b"], "y": [1.5, None, 2.0]}), file)
    assert columns(file, 2) == {"x": [1, 2, 3], "w": ["a", None, "b"], "y": [1.5, None, 2.0]}
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(FormatError, match="Parquet"):
        columns(file)


@pytest.mark.parametrize(
    ("name", "rows", "wide"),
    [
        ("elec2/electricity.csv", 45_312, 9),
        ("insects_gradual/gradual_balanced_24150.csv", 24_150, 34),
        ("gas_sensor/batch1.dat", 445, 130),
        ("noaa/NEweather_data.csv", 18_159, 8),
    ],
)
def test_public_streams_are_read_whole(name: str, rows: int, wide: int) -> None:
    folder = os.environ.get("DRIFTLINE_TEST_DATA") or Path(__file__).parents[2].parent / "shared" / "data"
    file = Path(folder) / name
    if not file.exists():
        pytest.skip(f"left out for want of {name}: set DRIFTLINE_TEST_DATA")
    found = columns(file)
    assert len(found) == wide
    assert {len(values) for values in found.values()} == {rows}
