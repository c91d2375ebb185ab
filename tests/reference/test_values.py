"""What a feature is, decided once: names, missing values, equal numbers, times; builder, decoder and bank agree."""

import datetime
import decimal
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors import values
from detectors.bank.bank import Bank
from detectors.errors import ReferenceError as ReferenceProblem
from detectors.features import UnitKey
from detectors.reference.builder import build_reference
from detectors.reference.transform import Transform
from stream.formats.decoder import Decoder
from stream.formats.row import Limits
from stream.observe.shell.settings import observe_settings
from stream.settings.settings import Settings
from stream.topics.record import Partition, Record
from stream.training import build_reference as build_in_training

NOW_MS = 1_763_700_000_000
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)


class NAType:
    """As pandas calls the type of its NA."""

    def __repr__(self) -> str:
        return "NA"


def bank_of(features: list[dict[str, Any]], cut: int, **reference: Any) -> Any:
    """The profile of a bank that was given these events in batches of ``cut``, by feature."""
    records = [
        Record(at, NOW_MS, None, json.dumps({"id": str(at), "model": "m", "version": "1", "features": one}).encode())
        for at, one in enumerate(features)
    ]
    known = build_reference("m", "1", reference) if reference else None
    bank = Bank(UnitKey("m", "1", None), "t", 0, observe_settings(Settings()).bank, known, 0)
    decoder = Decoder({}, Limits(1_000_000, 1_000, 10_000))
    for start in range(0, len(records), cut):
        for batch in decoder.decode(Partition("t", 0), records[start : start + cut]).batches:
            bank.update(batch.columns)
    return {part.feature: (part.count, part.missing, part.invalid) for part in bank.profile().features}


@pytest.mark.parametrize("cut", [1, 2, 3, 7])
def test_a_feature_begins_with_its_first_value_that_can_be_watched(cut: int) -> None:
    nested: list[dict[str, Any]] = [{"x": 1.0, "u": {"a": 1}, "t": ["red"], "v": {"a": 1}, "w": "<NA>"}] * 3
    later = [{"x": 2.0, "u": {"a": 2}, "t": [], "v": 5.0, "w": 3.0}, {"x": 2.0, "v": {"b": 1}, "w": "text"}]
    assert bank_of([*nested, *later], cut) == {"x": (5, 0, 0), "v": (1, 3, 1), "w": (1, 3, 1)}


@pytest.mark.parametrize("cut", [1, 4])
def test_missing_texts_are_missing_unless_the_reference_lists_them(cut: int) -> None:
    events: list[dict[str, Any]] = [
        {"n": "<NA>", "b": "NaT", "c": ""},
        {"n": "", "b": "", "c": "NA"},
        {"n": "x", "b": "x", "c": "x"},
    ]
    reference = {"n": [1.0, 2.0], "b": [True, False], "c": ["x", "y"]}
    assert bank_of(events, cut, **reference) == {"n": (0, 2, 1), "b": (0, 2, 1), "c": (1, 2, 0)}
    assert bank_of(events, cut, **{**reference, "c": ["x", "NA"]})["c"] == (2, 1, 0)


@pytest.mark.parametrize(
    "absent",
    [None, float("nan"), np.nan, np.float32("nan"), np.datetime64("NaT"), np.timedelta64("NaT"), np.ma.masked,
     decimal.Decimal("NaN"), NAType(), "", "<NA>", "NaT"],
    ids=repr,
)  # fmt: skip
def test_every_missing_value_is_missing_in_every_kind(absent: Any) -> None:
    columns = {"number": [1.5, absent, 2.5], "word": ["a", absent, "b"], "truth": [True, absent, False]}
    for build in (lambda: build_reference("m", "1", columns), lambda: build_in_training("m", "1", columns)):
        found = {f.feature: (f.present, f.missing, f.invalid) for f in build().features}
        assert found == dict.fromkeys(columns, (2, 1, 0))


def test_what_cannot_be_watched_is_left_out_of_a_reference_and_named() -> None:
    columns: dict[str, Any] = {
        "x": [1.0, 2.0], "@id": [1, 2], "n" * 257: [1, 2], "": [1, 2], "none": [None, None], "raw": [b"a", b"b"],
        "obj": [{"a": 1}, None], "tags": [["a"], ["b"]], "odd": [1 + 2j, 3j],
    }  # fmt: skip
    for reference in (build_reference("m", "1", columns), build_in_training("m", "1", columns)):
        assert [feature.feature for feature in reference.features] == ["x"]
        assert reference.source["not_watched"].keys() == columns.keys() - {"x"}
    with_output = build_in_training("m", "1", {"x": [1.0, 2.0]}, predictions=[1, 0], scores={"p": [0.1, 0.2]})
    assert [feature.feature for feature in with_output.features] == ["x", "@prediction", "@score.p"]


@pytest.mark.parametrize(
    "data", [{"x": [1], 1: [1], "1": [2]}, (np.ones((2, 2)), ["x", "x"])], ids=["keys that are one text", "names"]
)
def test_two_columns_of_one_name_are_refused_in_training(data: Any) -> None:
    data, names = data if isinstance(data, tuple) else (data, None)
    with pytest.raises(ReferenceProblem, match="same"):
        build_in_training("m", "1", data, names=names)


@given(st.lists(FINITE.filter(lambda x: abs(x) < 1e30), min_size=1, max_size=60))
def test_a_number_and_its_float32_are_in_one_cell(column: list[float]) -> None:
    numbers = np.array(column * 3)
    single = numbers.astype(np.float32).astype(np.float64)
    feature = build_reference("m", "1", {"x": numbers}).features[0]
    spread = feature.std or 0.0
    transform = Transform([feature])
    mine, theirs = (transform.cells(x[:, None])[:, 0] for x in (numbers, single))
    near = np.abs(numbers - single) <= values.reach(numbers, spread)
    distinct = np.unique(numbers)
    gaps = np.diff(distinct)
    apart = np.ones(len(numbers), bool)
    for number, at in zip(numbers, range(len(numbers)), strict=True):
        place = int(np.searchsorted(distinct, number))
        beside = gaps[max(place - 1, 0) : place + 1]
        apart[at] = not len(beside) or float(beside.min()) > 4 * abs(number - single[at])
    same = near & apart
    assert (mine[same] == theirs[same]).all()


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=60))
def test_different_whole_numbers_never_share_an_atom(column: list[int]) -> None:
    feature = build_reference("m", "1", {"x": column * 5}).features[0]
    cells = Transform([feature]).cells(np.array(column, float)[:, None])[:, 0]
    assert len(set(cells.tolist())) == len(set(column))


@given(st.integers(100_000_000, 4_102_444_799))
def test_the_unit_of_a_time_follows_from_its_size(seconds: int) -> None:
    expected = seconds * 1_000
    for number in (seconds, seconds * 1_000, seconds * 1_000_000, seconds * 1_000_000_000):
        assert values.time_ms(number) == values.time_ms(str(number)) == expected
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    for text in (moment.isoformat(), f"{moment:%Y-%m-%d %H:%M:%S} UTC", f"{moment:%Y-%m-%dT%H:%M:%S}Z", moment):
        assert values.time_ms(text) == expected
    midnight = seconds // 86_400 * 86_400_000
    for day in (moment.date(), f"{moment:%Y%m%d}", int(f"{moment:%Y%m%d}"), f"{moment:%Y-%m-%d}"):
        assert values.time_ms(day) == midnight


@pytest.mark.parametrize(
    "value",
    [0, 1, 5_000_000, 20261301, 20260301000000, 4_133_980_800, 5e18, 1e300, -1, "yesterday", "01/03/2026", "", True,
     None, [], {}, float("nan"), float("inf"), "1" * 5_000, "9999-12-31T23:59:59-23:59",
     datetime.datetime.min.replace(tzinfo=datetime.UTC)],
)  # fmt: skip
def test_what_cannot_be_a_time_is_none(value: Any) -> None:
    assert values.time_ms(value) is None
