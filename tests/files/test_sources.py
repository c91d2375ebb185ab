"""Which files a name stands for, and how they are unpacked: several files, folders, patterns, packed ones, other file
systems; what is not read ends with one line that names the remedy."""

import bz2
import gzip
import io
import json
import lzma
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from detectors.errors import FormatError
from detectors.features import Kind
from stream.commands import cli
from stream.files import dataset
from stream.files.layout import FileLayout
from tests.files import cases

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


PACKS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def table(folder: Path, name: str = "part.csv", start: int = 0, rows: int = 20) -> Path:
    return cases.csv(folder / name, "x,s", [f"{start + row},{'ab'[row % 2]}" for row in range(rows)])


def numbers(*names: str, known: dict[str, Kind] | None = None) -> list[float]:
    found = dataset.open_dataset(FileLayout(names[0], more=names[1:]), known=known)
    return [json.loads(event)["features"]["x"] for _, _, event in found.events()]


def test_a_folder_a_pattern_and_several_files_are_one_table(tmp_path: Path) -> None:
    inner = tmp_path / "day=2"
    inner.mkdir()
    one, two = table(tmp_path, "a.csv"), table(inner, "b.csv", 20)
    for name in ("_SUCCESS", ".hidden.csv", "notes.md"):
        (tmp_path / name).write_text("x\n9\n")
    everything = [float(number) for number in range(40)]
    assert numbers(str(one), str(two)) == everything
    assert numbers(str(tmp_path)) == everything
    assert numbers(str(tmp_path / "**" / "*.csv")) == everything
    assert numbers(tmp_path.as_uri()) == everything
    assert numbers(f"{tmp_path.as_uri()}/**/*.csv") == everything
    assert numbers(f"{tmp_path.as_uri()}/*.csv") == numbers(str(tmp_path / "*.csv")) == everything[:20]
    assert numbers(two.as_uri()) == everything[20:]


def test_rows_are_named_in_their_own_file(tmp_path: Path) -> None:
    one, two = table(tmp_path, "a.csv"), table(tmp_path, "b.csv")
    found = dataset.open_dataset(FileLayout(str(one), more=(str(two),)))
    rows = list(found.events())
    assert found.place(rows[0][0]) == f"{one}: row 1"
    assert found.place(rows[-1][0]) == f"{two}: row 20"
    other = cases.csv(tmp_path / "c.csv", "x,t", ["1,a"])
    with pytest.raises(FormatError, match=r"c\.csv: column 's' is not in both this file and .*a\.csv"):
        numbers(str(one), str(other))


@pytest.mark.parametrize("pack", PACKS)
def test_packed_files_read_as_the_plain_ones(pack: str, tmp_path: Path) -> None:
    plain = table(tmp_path)
    packed = tmp_path / f"part.csv.{pack}"
    packed.write_bytes(PACKS[pack](plain.read_bytes()))
    assert numbers(str(packed)) == numbers(str(plain))
    log = cases.events(tmp_path / "log.jsonl", [{"x": float(row)} for row in range(20)])
    packed = tmp_path / f"log.jsonl.{pack}"
    packed.write_bytes(PACKS[pack](log.read_bytes()))
    assert numbers(str(packed)) == numbers(str(log))


def test_zstandard_is_unpacked(tmp_path: Path) -> None:
    plain = table(tmp_path, rows=5_000)
    packed = tmp_path / "part.csv.zst"
    with pyarrow.CompressedOutputStream(pyarrow.OSFile(str(packed), "wb"), "zstd") as stream:
        stream.write(plain.read_bytes())
    assert packed.read_bytes()[:4] == b"\x28\xb5\x2f\xfd"
    assert numbers(str(packed)) == numbers(str(plain))


def test_workbooks_and_archives_end_with_one_line_that_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.zip", "a.xlsx", "a.csv"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("part.csv", "x\n1\n")
    (tmp_path / "old.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    (tmp_path / "table.feather").write_bytes(b"ARROW1\x00\x00" + bytes(100))
    remedies = {
        "a.zip": "unpack it", "a.csv": "unpack it", "a.xlsx": "save the sheet as CSV",
        "old.xls": "save the sheet as CSV", "table.feather": "write it as Parquet",
    }  # fmt: skip
    for name, remedy in remedies.items():
        assert cli.run(["replay", str(tmp_path / name)]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"driftline: {tmp_path / name}: is a")
        assert remedy in said
        assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("none*.csv", "no file has such a name"),
        ("absent.csv", "cannot be read: No such file"),
        ("empty", "the folder has no file that ends in"),
        ("https://example.org/a.csv", "is not read from the web; download it"),
        ("ftp://example.org/a.csv", "cannot be read"),
        ("", "the name of a file is empty"),
    ],
)
def test_a_name_that_stands_for_no_file_is_one_line(
    name: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert cli.run(["replay", name]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_plain_rows_of_json_are_a_table(tmp_path: Path) -> None:
    rows = [{"x": float(row), "s": "a", "addr": {"zip": 1}} for row in range(20)]
    lines = tmp_path / "rows.jsonl"
    lines.write_text("\n".join(map(json.dumps, rows)))
    array = tmp_path / "rows.json"
    array.write_text(json.dumps(rows, indent=2))
    columns = tmp_path / "columns.json"
    columns.write_text(json.dumps({"x": [row["x"] for row in rows], "s": ["a"] * 20}))
    for file in (lines, array, columns):
        found = dataset.open_dataset(FileLayout(str(file)))
        assert found.reference(10).features[0].feature == "x"
        assert [json.loads(event)["features"] for _, _, event in found.events()] == [
            {"x": float(row), "s": "a"} for row in range(10, 20)
        ]
        assert found.remarks.not_watched == ({} if file is columns else {"addr": "objects are not monitored"})


def test_rows_from_standard_input_are_read_as_those_of_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "\n".join(json.dumps({"x": value}) for value in cases.numbers(400))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(rows.encode())))
    assert cli.run(["replay", "-", "--reference-rows", "200", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["read"]["judged"] == 200


def test_the_kind_of_the_reference_decides_how_later_text_is_read(tmp_path: Path) -> None:
    file = cases.csv(tmp_path / "codes.csv", "x,code,flag", [f"{row},0{row % 3},{row % 2}" for row in range(20)])
    known = {"code": Kind.CATEGORICAL, "flag": Kind.BOOLEAN}
    found = dataset.open_dataset(FileLayout(str(file)), known=known)
    events = [json.loads(event)["features"] for _, _, event in found.events()]
    assert events[4] == {"x": 4.0, "code": "01", "flag": False}
    assert json.loads(next(dataset.open_dataset(FileLayout(str(file))).events())[2])["features"]["code"] == 0.0


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    twins = pyarrow.Table.from_arrays([pyarrow.array([1.0]), pyarrow.array([2.0])], names=["x", "x"])
    parquet.write_table(twins, tmp_path / "twins.parquet")
    cases.csv(tmp_path / "twins.csv", "x, x", ["1,2"])
    for name in ("twins.parquet", "twins.csv"):
        with pytest.raises(FormatError, match="two columns named 'x'"):
            numbers(str(tmp_path / name))


@pytest.mark.parametrize("rate", ["nan", "inf", "0", "-1", "1e-300", "1e300"])
def test_a_rate_that_is_no_rate_is_wrong_usage(rate: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = table(tmp_path)
    for option in ("--rate", "--false-alarms-per-month"):
        assert cli.run(["replay", str(file), option, rate]) == 2
        assert f"Invalid value for '{option}'" in capsys.readouterr().err


def test_rows_that_cannot_be_read_are_counted_and_too_many_refuse_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = cases.events(tmp_path / "log.jsonl", [{"x": value} for value in cases.numbers(1_000)])
    lines = log.read_text().splitlines()
    for row in (100, 600, 700):
        lines[row] = lines[row][:-3]
    log.write_text("\n".join(lines))
    assert cli.run(["replay", str(log), "--reference-rows", "500", "--json"]) == 0
    read = json.loads(capsys.readouterr().out)["read"]
    assert (read["rows"], read["judged"], read["invalid"]) == (500, 498, 2)
    assert "log.jsonl: row 101: not JSON" in read["notes"][0]
    log.write_text("\n".join([*lines[:400], *["{"] * 60, *lines[400:]]))
    assert cli.run(["replay", str(log), "--reference-rows", "300", "--json"]) == 2
    assert f"driftline: {log}: row 101: not JSON" in capsys.readouterr().err
