"""A file's rows as events: each once, in order, with the columns in the roles that the options give them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.errors import FormatError
from stream.files import dataset, ordering
from stream.files.layout import FileLayout

CSV = "when,amount,country,score,truth\n" + "".join(
    f"{1_700_000_000 + i},{i if i != 3 else ''},{'DE' if i % 3 else 'FR'},{i / 10},{i % 2}\n" for i in range(10)
)


def table(tmp_path: Path, **options: Any) -> dataset.Dataset:
    path = tmp_path / "fraud.csv"
    path.write_text(CSV, encoding="utf-8")
    return dataset.open_dataset(FileLayout(file=str(path), **options))


def events(found: dataset.Dataset) -> list[dict[str, Any]]:
    return [json.loads(event) for _, _, event in found.events()]


def test_without_options_every_column_is_a_feature_and_the_model_is_the_file(tmp_path: Path) -> None:
    first = events(table(tmp_path))[0]
    assert (first["model"], first["version"]) == ("fraud", "1")
    assert list(first["features"]) == ["when", "amount", "country", "score", "truth"]


def test_prediction_label_timestamp_and_ignored_columns_are_no_features(tmp_path: Path) -> None:
    found = events(table(tmp_path, prediction="score", label="truth", timestamp="when", ignore=("country",)))
    assert [event["features"] for event in found] == [{"amount": None if i == 3 else i} for i in range(10)]
    assert [event["prediction"] for event in found] == [i / 10 for i in range(10)]
    assert [event["ts"] for event in found] == [(1_700_000_000 + i) * 1000 for i in range(10)]


def test_columns_names_the_features(tmp_path: Path) -> None:
    assert events(table(tmp_path, columns=("country",)))[1]["features"] == {"country": "DE"}


def test_without_timestamps_event_k_happens_k_over_rate_seconds_after_the_start(tmp_path: Path) -> None:
    assert [moment for _, moment, _ in table(tmp_path, rate=4.0).events()] == [250 * k for k in range(1, 11)]


@given(st.integers(1, 9))
def test_the_reference_takes_the_first_rows_and_the_events_the_others(
    tmp_path_factory: pytest.TempPathFactory, rows: int
) -> None:
    found = table(tmp_path_factory.mktemp("rows"), label="truth")
    reference = found.reference(rows)
    rest = list(found.events())
    assert reference.rows == rows
    assert [number for number, _, _ in rest] == list(range(rows + 1, 11))
    assert rest[0][1] == 1000
    amount = reference.feature("amount")
    assert amount is not None
    assert amount.rows == rows
    assert amount.missing == (1 if rows > 3 else 0)


def test_a_reference_of_the_predictions_has_their_key(tmp_path: Path) -> None:
    reference = table(tmp_path, prediction="score").reference(None)
    assert reference.feature("@prediction") is not None
    assert reference.feature("score") is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"prediction": "margin"}, "has no column 'margin'; its columns are when, amount, country, score, truth"),
        ({"ignore": ("a",)}, "has no column 'a'"),
        ({"columns": ("truth",), "label": "truth"}, "no column is left to monitor"),
        ({"timestamp": "country"}, "row 1: country: 'FR' is not a time"),
    ],
)
def test_what_does_not_fit_the_file_is_named(tmp_path: Path, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(FormatError) as caught:
        events(table(tmp_path, **options))
    assert expected in str(caught.value)
    assert "fraud.csv" in str(caught.value)


def test_a_reference_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="has 10 rows, the reference needs 11"):
        table(tmp_path).reference(11)


def lines(tmp_path: Path, text: str, **options: Any) -> dataset.Dataset:
    path = tmp_path / "events.jsonl"
    path.write_text(text, encoding="utf-8")
    return dataset.open_dataset(FileLayout(file=str(path), **options))


def test_lines_are_handed_on_as_they_are_with_their_own_times(tmp_path: Path) -> None:
    text = '{"model": "a", "ts": 1700000000000}\n\n  [{"model": "a", "ts": "2023-11-14T22:13:21Z"}]\nbroken\n'
    assert list(lines(tmp_path, text, rate=1.0).events()) == [
        (1, 1_700_000_000_000, b'{"model": "a", "ts": 1700000000000}'),
        (3, 1_700_000_001_000, b'{"model": "a", "ts": "2023-11-14T22:13:21Z"}'),
        (4, 1_700_000_001_000, b"broken"),
    ]


def test_a_model_can_be_chosen_among_lines(tmp_path: Path) -> None:
    text = "".join(f'{{"model": "{m}", "version": "{v}"}}\n' for m in "ab" for v in (1, 2))
    chosen = [json.loads(line) for _, _, line in lines(tmp_path, text, model="b", version="2").events()]
    assert chosen == [{"model": "b", "version": "2"}]


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    for name in ("absent.jsonl", "absent.csv"):
        with pytest.raises(FormatError, match=r"absent\.\w+: cannot be read: No such file"):
            list(dataset.open_dataset(FileLayout(file=str(tmp_path / name))).events())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_700_000_000, 1_700_000_000_000),
        (1_700_000_000.5, 1_700_000_000_500),
        (1_700_000_000_123, 1_700_000_000_123),
        ("1700000000", 1_700_000_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000),
        ("2023-11-14 22:13:20", 1_700_000_000_000),
        ("2023-11-14T23:13:20.25+01:00", 1_700_000_000_250),
    ],
)
def test_times_are_seconds_milliseconds_or_text(value: object, expected: int) -> None:
    assert ordering.moment_ms(value, "x") == expected


@given(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20))
def test_any_value_is_a_time_or_refused(value: object) -> None:
    try:
        moment = ordering.moment_ms(value, "file: row 1: when")
    except FormatError as error:
        assert str(error).startswith("file: row 1: when: ")  # noqa: PT017 - either is right
    else:
        assert isinstance(moment, int)


def test_a_reference_of_lines_has_what_the_events_have_and_lacks_count_as_missing(tmp_path: Path) -> None:
    text = "".join(
        json.dumps(
            {"model": "a", "version": "2", "features": {"x": i, **({"y": "b"} if i > 4 else {})}, "prediction": i}
        )
        + "\n"
        for i in range(10)
    )
    found = lines(tmp_path, text)
    reference = found.reference(8)
    assert str(reference.model_key) == "a/2"
    y = reference.feature("y")
    assert y is not None
    assert (y.present, y.missing) == (3, 5)
    assert reference.feature("@prediction") is not None
    assert [moment for _, moment, _ in found.events()] == [1_000, 2_000]


def test_a_reference_of_lines_of_two_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"row 2: is of b/1, but the rows before it are of a/1; choose"):
        lines(tmp_path, '{"model":"a","version":"1","features":{"x":1}}\n{"model":"b","version":"1"}\n').reference(2)


def test_a_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"events\.jsonl: row 2: "):
        lines(tmp_path, '{"model":"a","features":{"x":1}}\n{"features":\n').reference(2)
