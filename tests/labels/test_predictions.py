"""The result of labels does not depend on how events and labels are cut or ordered, nor on restarts."""

import json
import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detectors import outcomes
from detectors.columns import MISSING, PRESENT, Columns
from detectors.errors import FormatError
from detectors.features import PREDICTION, FeatureSpec, Kind, UnitKey
from detectors.outcomes import NOTHING, Outcomes, Tally, Task, Value, compared
from stream.formats.ids import numbers_of
from stream.labels.predictions import Match, PredictionRules, Predictions
from stream.labels.record import Label, read_labels
from stream.observe.observer import Observer
from stream.topics import checkpoints
from stream.topics.record import Partition, Record
from tests.settings.defaults import observe_settings, prediction_rules

EVENTS, LABELS = Partition("inference-events", 1), Partition("inference-labels", 0)
START_MS = 1_763_700_000_000
SETTINGS = observe_settings(predictions=PredictionRules(200, 50.0))


def event(number: int, **more: Any) -> Record:
    value = {
        "id": f"e{number}",
        "model": "m",
        "version": str(number % 2),
        "ts": START_MS + number * 600_000,
        "features": {"x": number / 7},
        "prediction": number % 3 / 2,
        "latency_ms": number % 100,
        "error": number % 10 == 0,
        **more,
    }
    return Record(number, START_MS, None, json.dumps(value).encode())


def label(offset: int, number: int, value: Any, ts: int | None = None, model: str = "m") -> Record:
    row = {"id": f"e{number}", "model": model, "label": value, "ts": START_MS + 3_600_000 if ts is None else ts}
    return Record(offset, START_MS, None, json.dumps(row).encode())


ROWS = 60
EVENT_LOG = [event(n) for n in range(ROWS)]
LABEL_LOG = [
    label(n, (n * 7) % (ROWS + 10), n % 2, START_MS + 3_600_000 * (1 + n * 13 % 17)) for n in range(90)
]  # of known and unknown ids, some twice or thrice, newest not last


def saved(observer: Observer) -> dict[bytes, bytes]:
    run = observer.checkpoint(EVENTS)
    records = dict(run.encode(unit) for unit in run.dirty)
    records.update([run.manifest()])
    run.acknowledged()
    return records


def published(observer: Observer) -> dict[str, Outcomes]:
    saved(observer)
    for unit in observer._partitions[EVENTS].units.values():
        unit.unpublished = True
    profiles = list(observer.profiles_due(0, force=True))
    found = {profile.version: profile.outcomes for profile in profiles}
    assert all(found.values())
    return {version: outcome for version, outcome in found.items() if outcome is not None}


def in_order() -> dict[str, Outcomes]:
    observer = Observer(SETTINGS)
    observer.assign(EVENTS, {}, 0)
    observer.process(EVENTS, EVENT_LOG)
    observer.join_labels(LABELS, LABEL_LOG)
    return published(observer)


STEPS = st.lists(st.sampled_from(["event", "label", "restart", "torn restart"]), max_size=40)


@given(STEPS, st.integers(1, 30))
@example(["label"] * 12 + ["restart"], 8)
@settings(max_examples=60, deadline=None)
def test_cuts_order_and_restarts_change_no_number(steps: Sequence[str], size: int) -> None:
    observer = Observer(SETTINGS)
    observer.assign(EVENTS, {}, 0)
    disk: dict[bytes, bytes] = {}
    read = joined = 0
    for step in [*steps, "event", "label"]:
        if step == "event":
            records = EVENT_LOG[read : read + size]
            observer.process(EVENTS, records)
            read += len(records)
        elif step == "label":
            records = LABEL_LOG[joined : joined + size]
            if records:
                observer.join_labels(LABELS, records)
            joined += len(records)
        elif observer.next_offset(EVENTS) is not None:
            if step == "restart":
                disk.update(saved(observer))
            else:  # only the first unit was written, and no manifest
                run = observer.checkpoint(EVENTS)
                disk.update([run.encode(unit) for unit in run.dirty[:1]])
            observer = Observer(SETTINGS)
            read = observer.assign(EVENTS, disk, 0) or 0
            joined = max(0, observer.label_positions().get(str(LABELS), 0) - 10_000)
    observer.process(EVENTS, EVENT_LOG[read:])
    observer.join_labels(LABELS, LABEL_LOG[joined:] or LABEL_LOG[-1:])
    assert published(observer) == in_order()


def test_a_label_joins_every_version_that_predicted_and_each_event_is_counted_once() -> None:
    observer = Observer(SETTINGS)
    observer.assign(EVENTS, {}, 0)
    observer.process(EVENTS, [event(0, version="a"), event(1, id="e0", version="b"), event(2, id=None)])
    effects = observer.join_labels(LABELS, [label(0, 0, 0)])
    assert [found.match for found in effects.labelled] == [Match.MATCHED, Match.MATCHED, Match.UNMATCHED]
    found = published(observer)
    assert {version: (o.total.events, o.total.predicted, o.total.labelled) for version, o in found.items()} == {
        "a": (1, 1, 1),
        "b": (1, 1, 1),
        "0": (1, 0, 0),
    }


def test_of_several_labels_the_newest_counts_and_is_told_from_a_repeat() -> None:
    observer = Observer(SETTINGS)
    observer.assign(EVENTS, {}, 0)
    observer.process(EVENTS, [event(3, prediction="yes")])
    kinds = []
    for offset, (value, ts) in enumerate([("no", 2), ("yes", 3), ("yes", 4), ("no", 1)]):
        record = label(offset, 3, value, START_MS + ts * 10_000_000)
        kinds += [found.match for found in observer.join_labels(LABELS, [record]).labelled]
        kinds += [found.match for found in observer.join_labels(LABELS, [record]).labelled]  # read again
    assert kinds[::2] == [Match.MATCHED, Match.REPLACED, Match.DUPLICATE, Match.DUPLICATE]
    assert set(kinds[1::2]) <= {Match.KNOWN, Match.DUPLICATE}
    total = published(observer)["1"].total
    assert (total.labelled, total.correct) == (1, 1)


def test_a_label_belongs_to_the_newest_prediction_of_its_id_and_its_delay_is_from_that_one() -> None:
    observer = Observer(observe_settings(predictions=PredictionRules(20), recent_ids=2))
    observer.assign(EVENTS, {}, 0)
    first, *others = [event(n, version="1", prediction="no") for n in range(8)]
    again = event(8, id="e0", version="1", prediction="yes")  # its id is not known any more
    observer.process(EVENTS, [first, *others, again])
    effects = observer.join_labels(LABELS, [label(0, 0, "yes", START_MS + 8 * 600_000 + 7_000)])
    assert [(found.match, found.delay_ms) for found in effects.labelled] == [(Match.MATCHED, 7_000)]
    total = published(observer)["1"].total
    assert (total.labelled, total.correct) == (1, 1)


def test_a_label_finds_the_newest_predictions_only_as_many_as_are_kept() -> None:
    observer = Observer(observe_settings(predictions=PredictionRules(20)))
    observer.assign(EVENTS, {}, 0)
    for at in range(0, ROWS, 7):
        observer.process(EVENTS, [event(n, version="1") for n in range(at, min(at + 7, ROWS))])
    effects = observer.join_labels(LABELS, [label(n, n, 1) for n in range(ROWS)])
    matched = [number for number, found in enumerate(effects.labelled) if found.match is Match.MATCHED]
    assert matched == list(range(ROWS - 20, ROWS))


def test_availability_and_latency_are_counted_without_labels() -> None:
    observer = Observer(SETTINGS)
    observer.assign(EVENTS, {}, 0)
    observer.process(EVENTS, [event(n, version="1") for n in range(100)])
    total = published(observer)["1"].total
    assert (total.events, total.errors, total.timed, total.in_time) == (100, 10, 100, 51)


def test_a_late_write_of_an_old_owner_makes_its_labels_be_read_again() -> None:
    observer = Observer(SETTINGS)
    observer.assign(EVENTS, {}, 0)
    observer.process(EVENTS, EVENT_LOG)
    observer.join_labels(LABELS, LABEL_LOG[:10])
    disk = saved(observer)
    old = dict(disk)
    observer.join_labels(LABELS, LABEL_LOG[10:])
    disk.update(saved(observer))
    unit = next(key for key in old if key.startswith(b"unit/"))
    disk[unit] = old[unit]
    again = Observer(SETTINGS)
    again.assign(EVENTS, disk, 0)
    assert again.label_positions() == {str(LABELS): 10}
    again.join_labels(LABELS, LABEL_LOG[10:])
    assert published(again) == in_order()


def test_a_checkpoint_of_before_labels_were_read_asks_for_all_of_them() -> None:
    manifest = checkpoints.decode_manifest(checkpoints.msgspec.msgpack.encode([1, 5, {}]), "here")
    assert checkpoints.label_positions(manifest, {}) == {}


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=30))
def test_sums_are_exact_whatever_their_order_and_measures_are_numpys(rows: list[tuple[float, float]]) -> None:
    tallies = [compared(prediction, truth, 0) for prediction, truth in rows]
    total, back = NOTHING, NOTHING
    for tally in tallies:
        total = total.plus(tally)
    for tally in reversed(tallies):
        back = back.plus(tally)
    assert total == back
    assert total.minus(tallies[0]).plus(tallies[0]) == total
    errors = [prediction - truth for prediction, truth in rows]
    found = outcomes.measures(total, Task.REGRESSION)
    assert found["mean_absolute_error"] == pytest.approx(math.fsum(map(abs, errors)) / len(rows))
    assert found["bias"] == pytest.approx(math.fsum(errors) / len(rows), rel=1e-9, abs=1e-9)
    assert found["root_mean_squared_error"] == pytest.approx(
        math.sqrt(math.fsum(e * e for e in errors) / len(rows)), rel=1e-9, abs=1e-9
    )


@pytest.mark.parametrize(
    ("prediction", "truth", "correct"),
    [
        ("cat", "cat", 1),
        ("cat", "dog", 0),
        ("true", 1.0, 1),
        ("false", 1.0, 0),
        (1.0, "true", 1),
        ("3", 3.0, 1),
        (3.0, "3", 1),
        (2.0, 3.0, 0),
    ],
)
def test_a_class_is_compared_however_it_is_written(prediction: Value, truth: Value, correct: int) -> None:
    tally = compared(prediction, truth, 0)
    assert (tally.labelled, tally.correct, tally.incomparable) == (1, correct, 0)


@pytest.mark.parametrize("truth", ["cat", "inf", 1e300])
def test_a_label_that_cannot_be_compared_is_counted_as_such(truth: Value) -> None:
    assert compared(0.5, truth, 0).incomparable == 1


def test_probabilities_classes_and_quantities_are_told_apart() -> None:
    def tallied(*rows: tuple[Value, Value]) -> Tally:
        total = NOTHING
        for prediction, truth in rows:
            total = total.plus(compared(prediction, truth, 0))
        return total

    assert outcomes.task_of(tallied(("a", "b"))) is Task.CLASSIFICATION
    assert outcomes.task_of(tallied((1.0, 1.0), (0.0, 1.0))) is Task.CLASSIFICATION
    assert outcomes.task_of(tallied((0.8, 1.0), (0.1, 0.0))) is Task.PROBABILITY
    assert outcomes.task_of(tallied((0.8, 1.5))) is Task.REGRESSION
    found = outcomes.measures(tallied((0.8, 1.0), (0.4, 0.0)), Task.PROBABILITY)
    assert found["brier"] == pytest.approx((0.04 + 0.16) / 2)
    assert found["log_loss"] == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)
    assert found["accuracy"] == 1.0


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"3",
        b"\xff",
        b'{"id": "a", "label": 1}',
        b'{"id": null, "model": "m", "label": 1}',
        b'{"id": "a", "model": "m"}',
        b'{"id": "a", "model": "m", "label": NaN}',
        b'{"id": "a", "model": "m", "label": ""}',
        b'{"id": "a", "model": "m", "label": [1]}',
    ],
)
def test_what_is_no_label_is_refused_with_a_reason(value: bytes | None) -> None:
    with pytest.raises(FormatError, match=r"."):
        read_labels(LABELS, Record(0, START_MS, None, value), 1_000)


def columns(values: list[float | str | None]) -> Columns:
    """Predictions as columns: one for numbers and one for texts, where there are any."""
    numbers = [value if isinstance(value, float) else None for value in values]
    texts = [value if isinstance(value, str) else None for value in values]
    numeric = any(value is not None for value in numbers)
    categorical = any(value is not None for value in texts)
    count = len(values)
    status = np.array([[PRESENT if value is not None else MISSING] for value in numbers], np.uint8)
    return Columns(
        UnitKey("m", "1", None),
        np.arange(1, count + 1),
        START_MS + np.arange(count),
        (PREDICTION,) if numeric else (),
        np.array([[value or 0.0] for value in numbers]) if numeric else np.zeros((count, 0)),
        status if numeric else None,
        (FeatureSpec(PREDICTION, Kind.CATEGORICAL),) if categorical else (),
        [texts] if categorical else [],
        np.array([[PRESENT if value is not None else MISSING] for value in texts], np.uint8) if categorical else None,
    )


@pytest.mark.parametrize("values", [[0.5, None, 0.0, -1.0], ["yes", None, "no"], [0.5, None, "yes", 2.0], [None, None]])
@pytest.mark.parametrize("cut", [0, 1, 2])
def test_predictions_are_kept_whatever_they_are_and_as_checkpoints_of_before_had_them(
    values: list[float | str | None], cut: int
) -> None:
    texts = [f"e{number}" for number in range(len(values))]
    names = numbers_of(texts)
    whole, cut_up = Predictions(prediction_rules()), Predictions(prediction_rules())
    for start, end in ((0, cut), (cut, len(values))):
        if start < end:
            cut_up.remember(columns(values[start:end]), names[start:end])
    if not any(isinstance(value, str) for value in values):
        whole.remember(columns(values), names)
        state = msgspec.msgpack.decode(whole.snapshot())
        before = {**state, "ids": texts, "values": values, "times": [START_MS + n for n in range(len(values))]}
        del before["numbers"], before["moments"], before["identities"]
        old = Predictions(prediction_rules())
        old.restore(msgspec.msgpack.encode(before), "here")
        assert old.snapshot() == whole.snapshot()
    again = Predictions(prediction_rules())
    again.restore(cut_up.snapshot(), "here")
    assert again.snapshot() == cut_up.snapshot()
    for kept in (cut_up, again):
        found = [kept.join(Label("m", name, 1.0, (START_MS, "p", 0)))[0] for name in names.tolist()]
        assert [match is Match.MATCHED for match in found] == [value is not None for value in values]
