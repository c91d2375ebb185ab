"""Files as people have them. Each test names the report that it was made after, and also runs that report's own files
where they are present (DRIFTLINE_TEST_CASES)."""

import decimal
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.commands import cli
from tests.files import cases

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


WITHOUT_PANDAS = """
import sys

class NoPandas:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoPandas())
from stream.commands import cli
sys.exit(cli.run(sys.argv[1:]))
"""
"""The command line in an environment without pandas."""


class Ran:
    """How a command ended: exit status, object of ``--json``, standard error."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.err = status, err
        self.found: dict[str, Any] = json.loads(out) if out.startswith("{") else {}

    @property
    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = self.found["read"]
        return found

    @property
    def opened(self) -> int:
        found: int = self.found["incidents"][0]["opened_at_event"]
        return found

    @property
    def not_watched(self) -> dict[str, str]:
        return {one["column"]: one["reason"] for one in self.read["not_watched"]}

    @property
    def notes(self) -> str:
        return "\n".join(self.read["notes"])


@pytest.fixture
def replay(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(file: Path | str, *options: str) -> Ran:
        status = cli.run(["replay", str(file), "--json", "--quiet", *options])
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return Ran(status, shown.out, shown.err)

    return run


@pytest.fixture
def build(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    def run(file: Path | str, *options: str) -> tuple[Path, str]:
        output = tmp_path / "reference.json"
        assert cli.run(["reference", "build", str(file), "-o", str(output), "--quiet", *options]) == 0
        return output, capsys.readouterr().err

    return run


def stable(ran: Ran) -> bool:
    return (ran.status, ran.found.get("state"), ran.found.get("incidents")) == (0, "stable", [])


def files(name: str, *own: Path, like: str = "*") -> Iterator[Path]:
    """The files of the test itself, then those of the report."""
    yield from own
    folder = cases.given(name)
    if folder is not None:
        yield from sorted(path for path in folder.glob(like) if path.suffix not in (".md", ".py"))


def test_field_at_columns(tmp_path: Path, replay: Any, build: Any) -> None:
    long = "n" * 300
    lines = [
        f"2026-03-01T00:{row // 60 % 60:02}:{row % 60:02}Z,1,{value},{value}"
        for row, value in enumerate(cases.numbers(1_500))
    ]
    own = cases.csv(tmp_path / "input.csv", f"@timestamp,@version,amount,{long}", lines)
    for file in files("field-at-columns", own):
        for options in ((), ("--timestamp", "@timestamp")):
            ran = replay(file, "--reference-rows", "1000", *options)
            assert stable(ran)
            assert ran.not_watched["@version"] == "names that begin with @ are not monitored; rename it"
            assert [feature["feature"] for feature in ran.found["features"]] == ["amount"]
    assert "names of more than 256 characters" in replay(own, "--reference-rows", "1000").not_watched[long]
    _, said = build(own)
    assert "not watched: @version: names that begin with @" in said


def test_field_decimal_comma(tmp_path: Path, replay: Any) -> None:
    plain = [*cases.numbers(2_300), *cases.numbers(700, 0, 1.2, seed=8)]
    pieces = [f"{round(value * 100):,}".replace(",", ".") for value in cases.numbers(3_000, seed=9)]
    lines = [f"{value:.2f}".replace(".", ",") + f";{piece};Süd" for value, piece in zip(plain, pieces, strict=True)]
    own = cases.csv(tmp_path / "input.csv", "preis;menge;filiale", lines)
    for file in files("field-decimal-comma", own, like="input.csv"):
        ran = replay(file, "--reference-rows", "2000")
        assert ran.status == 1
        assert [one["feature"] for one in ran.found["incidents"][0]["features"]] == ["preis"]
        assert "preis: read with decimal commas" in ran.notes
        assert "menge: read with points between thousands" in ran.notes
        means = {feature["feature"]: feature["mean"] for feature in ran.found["features"]}
        assert means["menge"] > 1_000
    points = cases.csv(tmp_path / "points.csv", "preis", [f"{value}" for value in plain])
    assert (
        replay(points, "--reference-rows", "2000").found["incidents"][0]["opened_at_event"]
        == replay(own, "--reference-rows", "2000", "--columns", "preis").found["incidents"][0]["opened_at_event"]
    )


@pytest.mark.parametrize("form", ["sep", "comment", "latin1", "utf-16", "utf-16-le", "hash header"])
def test_field_decimal_comma_ways_of_writing_a_table(form: str, tmp_path: Path, replay: Any) -> None:
    rows = [f"{value};K\u00f6ln" for value in cases.numbers(2_400, 2_000)]
    before = {"sep": ["sep=;"], "comment": ["# made on Monday; by hand", "#", ""]}.get(form, [])
    head = "#x;ort" if form == "hash header" else "x;ort"
    encoding = form if form.startswith(("utf", "latin")) else "utf-8"
    own = cases.csv(tmp_path / "input.csv", "\n".join([*before, head]), rows, encoding)
    ran = replay(own, "--reference-rows", "1500")
    assert ran.status == 1
    assert {feature["feature"]: feature["kind"] for feature in ran.found["features"]} == {
        "x": "numeric",
        "ort": "categorical",
    }
    assert ran.found["events"] == 900
    if form == "latin1":
        assert "line 2, column 'ort': not UTF-8" in ran.notes
        assert "iconv -f latin1 -t utf-8" in ran.notes
    if form == "comment":
        assert "2 comment lines" in ran.notes


def test_field_decimal_comma_the_other_files_of_the_report(replay: Any) -> None:
    folder = cases.given("field-decimal-comma")
    if folder is None:
        pytest.skip("left out for want of the reported cases (DRIFTLINE_TEST_CASES)")
    assert replay(folder / "excel-sep.csv", "--reference-rows", "2000").status == 1
    assert "comment line" in replay(folder / "comment.csv", "--reference-rows", "1000").notes
    assert "line 2, column 'ort'" in replay(folder / "latin1.csv", "--reference-rows", "1000").notes


@pytest.mark.parametrize("text", ["${:,.2f}", "{:.1f}%", "{:.2f} EUR"])
def test_field_decimal_comma_numbers_that_are_not_read_are_named(text: str, tmp_path: Path, replay: Any) -> None:
    values = [text.format(value * 13) for value in cases.numbers(1_500)]
    table = cases.csv(tmp_path / "input.csv", "x;price", [f"1;{value}" for value in values])
    assert "price: numbers written as text" in replay(table, "--reference-rows", "1000").notes
    log = cases.events(tmp_path / "input.jsonl", [{"x": row % 7, "price": value} for row, value in enumerate(values)])
    assert "only their presence is judged" in replay(log, "--reference-rows", "1000").notes


def test_field_float32(tmp_path: Path, replay: Any, build: Any) -> None:
    rng = np.random.default_rng(3)
    prices = np.array([0.1, 0.2, 0.3, 0.7, 1.1, 9.99, 19.99, 29.99])
    train, live = ({"price": rng.choice(prices, 3_000), "z": rng.normal(size=3_000).round(3)} for _ in range(2))
    lines = [f"{price},{z}" for price, z in zip(*train.values(), strict=True)]
    own = cases.csv(tmp_path / "train.csv", "price,z", lines)
    parquet.write_table(
        pyarrow.table({name: values.astype("f4") for name, values in live.items()}), tmp_path / "live.parquet"
    )
    folder = cases.given("field-float32")
    pairs = [(own, tmp_path / "live.parquet"), *([(folder / "train.csv", folder / "live.parquet")] if folder else [])]
    for trained, served in pairs:
        reference, _ = build(trained, "--model", "m", "--version", "1")
        ran = replay(served, "--reference", str(reference))
        assert stable(ran)
        assert max(feature["psi"] for feature in ran.found["features"]) < 0.05
        assert max(feature["wasserstein"] for feature in ran.found["features"]) < 0.05


@pytest.mark.parametrize("nothing", [1e-9, -1e-9, 1e-12])
def test_field_float32_nearly_zero(nothing: float, tmp_path: Path, replay: Any) -> None:
    spend = [value - 85 if value > 100 else 0.0 for value in cases.numbers(3_000)]
    lines = [str(nothing if not value and row >= 2_000 else value) for row, value in enumerate(spend)]
    for file in files("field-float32", cases.csv(tmp_path / "zero.csv", "spend", lines), like="nearly-zero.csv"):
        assert stable(replay(file, "--reference-rows", "2000"))


@pytest.mark.parametrize(
    "name", ["lines.jsonl", "input.json", "pretty.jsonl", "one-line.jsonl", "batches.jsonl", "columns.jsonl", "log"]
)
def test_field_json_array(name: str, tmp_path: Path, replay: Any) -> None:
    log = cases.events(tmp_path / "all.jsonl", [{"x": value} for value in cases.numbers(2_000, 1_600)])
    made = [json.loads(line) for line in log.read_text().splitlines()]
    columns = [
        {
            "model": "m", "version": "1", "id": [event["id"] for event in made[at : at + 4]],
            "ts": [event["ts"] for event in made[at : at + 4]],
            "features": {"x": [event["features"]["x"] for event in made[at : at + 4]]},
        }
        for at in range(0, 2_000, 4)
    ]  # fmt: skip
    texts = {
        "lines.jsonl": log.read_text(),
        "pretty.jsonl": json.dumps(made, indent=1),
        "batches.jsonl": "\n".join(json.dumps(made[at : at + 10]) for at in range(0, 2_000, 10)),
        "columns.jsonl": "\n".join(map(json.dumps, columns)),
    }
    file = tmp_path / name
    file.write_text(texts.get(name) or json.dumps(made))
    ran = replay(file, "--reference-rows", "1000")
    assert (ran.status, ran.found["events"], ran.found["reference"]["rows"]) == (1, 1_000, 1_000)
    assert (
        ran.found["incidents"][0]["opened_at_event"]
        == replay(log, "--reference-rows", "1000").found["incidents"][0]["opened_at_event"]
    )


def test_field_json_array_the_files_of_the_report(replay: Any) -> None:
    if cases.given("field-json-array") is None:
        pytest.skip("left out for want of the reported cases (DRIFTLINE_TEST_CASES)")
    found = [replay(file, "--reference-rows", "1000") for file in files("field-json-array")]
    assert [(ran.status, ran.found["events"]) for ran in found] == [(0, 1_000)] * len(found)


def test_field_nan_events(tmp_path: Path, replay: Any, build: Any) -> None:
    values = [{"x": None if row % 10 == 3 else value, "y": value} for row, value in enumerate(cases.numbers(2_000))]
    nan = [{name: float("nan") if value is None else value for name, value in row.items()} for row in values]
    own = cases.events(tmp_path / "nan.jsonl", nan), cases.events(tmp_path / "null.jsonl", values)
    folder = cases.given("field-nan-events")
    pairs = [own, *([(folder / "input.jsonl", folder / "same-with-null.jsonl")] if folder else [])]
    for one, other in pairs:
        found = [replay(file, "--reference-rows", "800") for file in (one, other)]
        assert all(map(stable, found))
        assert found[0].found["features"] == found[1].found["features"]
        assert found[0].read["judged"] == found[0].read["rows"]
        reference, _ = build(one)
        assert json.loads(reference.read_text())["first_timestamp_ms"] >= cases.START_MS


@pytest.mark.parametrize("order", ["newest first", "shuffled"])
def test_field_newest_first(order: str, tmp_path: Path, replay: Any, build: Any) -> None:
    pairs = list(zip(cases.moments("zulu", 3_000), cases.numbers(3_000, 2_000), strict=True))
    sorted_file = cases.csv(tmp_path / "sorted.csv", "when,load", [f"{when},{load}" for when, load in pairs])
    if order == "shuffled":
        random.Random(5).shuffle(pairs)
    else:
        pairs.reverse()
    own = cases.csv(tmp_path / "input.csv", "when,load", [f"{when},{load}" for when, load in pairs])
    log = cases.events(tmp_path / "input.jsonl", [{"load": load} for _, load in pairs], ts=lambda row: pairs[row][0])
    reported = "input.csv" if order == "newest first" else "shuffled.csv"
    for file in (*files("field-newest-first", own, like=reported), log):
        ran = replay(file, "--reference-rows", "1500", *(() if file is log else ("--timestamp", "when")))
        assert ran.status == 2
        assert "times run backwards from row" in ran.err
        assert "sort the file by" in ran.err
    reference, _ = build(sorted_file, "--rows", "1500", "--timestamp", "when", "--model", "input", "--version", "1")
    for file in (own, sorted_file):
        ran = replay(file, "--reference", str(reference), "--timestamp", "when")
        assert ran.status == 1
        assert ran.read["judged"] == ran.read["rows"] == 3_000
        assert 2_000 < ran.opened <= 2_100
        assert ("sorted by time" in ran.notes) == (file is own)


def test_field_newest_first_a_few_late_rows_are_put_in_their_place(tmp_path: Path, replay: Any) -> None:
    def moment(row: int) -> int:
        return cases.START_MS + 600_000 * (row - 500 if row % 100 == 99 else row)

    log = cases.events(tmp_path / "input.jsonl", [{"x": x} for x in cases.numbers(2_000)], ts=moment)
    ran = replay(log, "--reference-rows", "1000")
    assert stable(ran)
    assert (ran.read["judged"], ran.read["late"]) == (1_000, 0)
    assert "sorted by time" in ran.notes


def test_field_pandas_na(tmp_path: Path, replay: Any, build: Any) -> None:
    rng = random.Random(2)
    rows = [
        {
            "visits": None if rng.random() < 0.1 else rng.randint(0, 9),
            "member": None if rng.random() < 0.1 else rng.random() < 0.4,
            "plan": None if rng.random() < 0.1 else rng.choice("abc"),
        }
        for _ in range(3_000)
    ]
    names = list(rows[0])
    parquet.write_table(pyarrow.table({n: [row[n] for row in rows[:1_500]] for n in names}), tmp_path / "train.parquet")
    sent = [{n: "<NA>" if value is None else value for n, value in row.items()} for row in rows[1_500:]]
    live = cases.events(tmp_path / "live.jsonl", sent)
    folder = cases.given("field-pandas-na")
    pairs = [
        (tmp_path / "train.parquet", live),
        *([(folder / "train.parquet", folder / "sent-today.jsonl")] if folder else []),
    ]
    for train, served in pairs:
        reference, _ = build(train, "--model", "m", "--version", "1")
        assert stable(replay(served, "--reference", str(reference)))


DAYS = [20_000 + row % 300 for row in range(2_000)]
ODD: dict[str, tuple[Any, str | None]] = {
    "date": (lambda: pyarrow.array(DAYS, "int32").cast("date32"), None),
    "datetime": (lambda: pyarrow.array([day * 86_400_000_000 for day in DAYS], "timestamp[us]"), None),
    "zoned": (lambda: pyarrow.array([day * 86_400 for day in DAYS], pyarrow.timestamp("s", "UTC")), None),
    "nanoseconds": (lambda: pyarrow.array([day * 86_400_000_000_001 for day in DAYS], "timestamp[ns]"), None),
    "clock": (lambda: pyarrow.array([day * 1_000_001 for day in DAYS], "time64[ns]"), None),
    "duration": (lambda: pyarrow.array(DAYS, "duration[ns]"), None),
    "decimal": (lambda: pyarrow.array([decimal.Decimal(day) / 100 for day in DAYS]), None),
    "words": (lambda: pyarrow.array([str(day % 5) for day in DAYS]).dictionary_encode(), None),
    "struct": (lambda: pyarrow.array([{"zip": day} for day in DAYS]), "objects are not monitored"),
    "map": (lambda: pyarrow.array([[("a", day)] for day in DAYS], pyarrow.map_("string", "int64")), "objects"),
    "binary": (lambda: pyarrow.array([b"\x03"] * 2_000), "binary values are not monitored"),
    "tags": (lambda: pyarrow.array([["red"], []] * 1_000), "lists of anything but numbers"),
    "empty": (lambda: pyarrow.nulls(2_000), "empty: no row has a value"),
    "void": (lambda: pyarrow.array([None] * 2_000, "float64"), "empty: no row has a value"),
}


@pytest.mark.parametrize("kind", ODD)
def test_field_parquet_dates(kind: str, tmp_path: Path, replay: Any, build: Any) -> None:
    make, reason = ODD[kind]
    file = tmp_path / f"{kind}.parquet"
    amounts = [value / 10 for value in cases.numbers(2_000)]
    parquet.write_table(pyarrow.table({"amount": amounts, "odd": make()}), file)
    reference, said = build(file)
    for options in (("--reference-rows", "1000"), ("--reference", str(reference))):
        ran = replay(file, *options)
        assert (ran.status, ran.found["state"]) == (0, "stable")
        names = {feature["feature"] for feature in ran.found["features"]}
        if reason is None:
            assert names == {"amount", "odd"}
            assert not ran.not_watched
        else:
            assert names == {"amount"}
            assert ran.not_watched["odd"].startswith(reason)
            assert f"not watched: odd: {reason}" in said
    assert replay(file).not_watched.keys() == ({"odd"} if reason else set())  # without a reference


def test_field_parquet_dates_the_files_of_the_report(tmp_path: Path, replay: Any, build: Any) -> None:
    nested = cases.events(tmp_path / "nested.jsonl", [{"x": x, "user": {"age": 1}} for x in cases.numbers(2_000)])
    for file in files("field-parquet-dates", nested):
        ran = replay(file, "--reference-rows", "1000")
        assert stable(ran)
        assert len(ran.not_watched) == (0 if file.stem.startswith("date") else 1)
        build(file)


def test_field_parquet_nanoseconds_without_pandas(tmp_path: Path) -> None:
    """The replays run in a process of their own: pyarrow looks for pandas once a process."""
    when = pyarrow.array([1_772_323_200_000_000_001 + 60_000_000_007 * row for row in range(2_000)], "timestamp[ns]")
    own = tmp_path / "input.parquet"
    parquet.write_table(pyarrow.table({"when": when, "amount": list(cases.numbers(2_000))}), own)
    for file in files("field-parquet-nanoseconds", own):
        for options in (("--timestamp", "when"), ("--ignore", "when"), ()):
            arguments = ["replay", str(file), "--json", "--quiet", "--reference-rows", "1000", *options]
            command = [sys.executable, "-c", WITHOUT_PANDAS, *arguments]
            done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
            ran = Ran(done.returncode, done.stdout, done.stderr)
            assert ran.status == 0, ran.err
            assert ran.read["judged"] == 1_000


def test_field_repeated_ids(tmp_path: Path, replay: Any, capsys: pytest.CaptureFixture[str]) -> None:
    values = [{"x": value} for value in cases.numbers(3_000, 1_500, 5.0)]
    own = cases.events(tmp_path / "input.jsonl", values, id=lambda row: f"customer-{row % 40}")
    for file in files("field-repeated-ids", own):
        ran = replay(file, "--reference-rows", "1000")
        assert (ran.status, ran.found["state"]) == (2, "blind")
        read = {name: ran.read[name] for name in ("rows", "judged", "late", "duplicate", "invalid")}
        assert read == {"rows": 2_000, "judged": 40, "late": 0, "duplicate": 1_960, "invalid": 0}
        assert cli.run(["replay", str(file), "--reference-rows", "1000"]) == 2
        shown = " ".join(capsys.readouterr().out.split())
        assert "1,960 of 2,000 events repeat an id: ids name the event, not the customer" in shown


READ = ["seconds", "milliseconds", "microseconds", "nanoseconds", "yyyymmdd", "utc-word", "zulu"]


@pytest.mark.parametrize("form", READ)
def test_field_time_numbers(form: str, tmp_path: Path, replay: Any) -> None:
    lines = [
        f"{when},{load}"
        for when, load in zip(cases.moments(form, 3_000), cases.numbers(3_000, 2_400, 1.5), strict=True)
    ]
    own = cases.csv(tmp_path / f"{form}.csv", "when,load", lines)
    for file in files("field-time-numbers", own, like=f"{form}.csv"):
        ran = replay(file, "--reference-rows", "2000", "--timestamp", "when")
        assert ran.status == 1
        opened = ran.found["incidents"][0]["opened_at_ms"]
        assert opened + 86_400_000 >= cases.START_MS + 2_000 * 900_000
        assert opened <= cases.START_MS + 3_000 * 900_000


@pytest.mark.parametrize("form", ["day-first", "yyyymmddhhmmss"])
def test_field_time_numbers_what_cannot_be_a_time_is_refused_with_the_forms_that_can(
    form: str, tmp_path: Path, replay: Any
) -> None:
    when = cases.moments(form, 3_000)
    own = cases.csv(tmp_path / f"{form}.csv", "when,load", [f"{text},1" for text in when])
    for file in files("field-time-numbers", own, like=f"{form}.csv"):
        ran = replay(file, "--reference-rows", "2000", "--timestamp", "when")
        assert ran.status == 2
        assert f"row 1: when: '{when[0]}' is not a time; times are seconds, milliseconds" in ran.err


def test_field_time_numbers_a_row_without_a_time_takes_the_one_before(tmp_path: Path, replay: Any) -> None:
    when = cases.moments("zulu", 3_000)
    when[0] = when[2_300] = when[2_301] = ""
    own = cases.csv(
        tmp_path / "missing.csv", "when,load", [f"{t},{x}" for t, x in zip(when, cases.numbers(3_000), strict=True)]
    )
    ran = replay(own, "--reference-rows", "2000", "--timestamp", "when")
    assert stable(ran)
    assert "3 rows have no time" in ran.notes
    folder = cases.given("field-time-numbers")
    if folder is not None:
        ran = replay(folder / "one-missing.csv", "--reference-rows", "2000", "--timestamp", "when")
        assert (ran.status, "1 row has no time" in ran.notes) == (1, True)
        assert replay(folder / "date.parquet", "--reference-rows", "2000", "--timestamp", "when").status == 1


@pytest.mark.parametrize("wild", [4_000_000_000_000, 0, "yesterday", 20, None, [], 9e99])
def test_field_newest_first_one_wild_time_leaves_no_row_out(wild: Any, tmp_path: Path, replay: Any) -> None:
    def moment(row: int) -> Any:
        return wild if row == 1_300 else cases.START_MS + 60_000 * row

    log = cases.events(tmp_path / "input.jsonl", [{"x": x} for x in cases.numbers(2_000)], ts=moment)
    ran = replay(log, "--reference-rows", "1000")
    assert stable(ran)
    assert ran.read["judged"] == 1_000


def test_a_log_whose_clock_starts_at_zero_keeps_its_times(tmp_path: Path, replay: Any) -> None:
    values = [{"x": x} for x in cases.numbers(2_000, 1_500)]
    log = cases.events(tmp_path / "input.jsonl", values, ts=lambda row: 60_000 * row)
    ran = replay(log, "--reference-rows", "1000")
    assert (ran.status, ran.read["judged"]) == (1, 1_000)
    assert 1_500 * 60_000 <= ran.found["incidents"][0]["opened_at_ms"] < 1_700 * 60_000
