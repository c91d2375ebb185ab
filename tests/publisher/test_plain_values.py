"""Rows of frames through the publisher (report field-pandas-na): missing values are null, a Series is its mapping."""

import decimal
from typing import Any

import numpy as np
import pytest

from stream.publisher import InferencePublisher
from tests.publisher.conftest import Broker

pandas = pytest.importorskip("pandas")


def frame() -> Any:
    return pandas.DataFrame(
        {
            "visits": pandas.array([1, None], dtype="Int64"),
            "member": pandas.array([True, None], dtype="boolean"),
            "plan": pandas.array(["a", None], dtype="string"),
            "seen": pandas.to_datetime(["2026-03-01T12:30:00", None]),
        }
    )


def test_missing_values_of_a_frames_rows_are_null(broker: Broker) -> None:
    first = {"visits": 1, "member": True, "plan": "a", "seen": "2026-03-01T12:30:00"}
    nothing = dict.fromkeys(first)
    with InferencePublisher("m", "1", bootstrap_servers=broker.bootstrap_servers, topic=broker.topic) as publisher:
        for row in frame().itertuples(index=False):
            publisher.log(row._asdict())
        for _, row in frame().iterrows():
            publisher.log(row)
        for row in frame().to_dict("records"):
            publisher.log(row)
    found = [event["features"] for event in broker.events(6)]
    assert sorted(found, key=str) == sorted([first, nothing] * 3, key=str)


@pytest.mark.parametrize(
    "value", [np.datetime64("NaT"), np.timedelta64("NaT"), np.float32("nan"), decimal.Decimal("NaN"), np.ma.masked]
)
def test_missing_values_of_numpy_are_null(value: Any, broker: Broker) -> None:
    with InferencePublisher("m", "1", bootstrap_servers=broker.bootstrap_servers, topic=broker.topic) as publisher:
        publisher.log({"x": value, "y": 1})
    assert broker.events(1)[0]["features"] == {"x": None, "y": 1}


@pytest.mark.parametrize("features", [[1, 2], "text", (1,), 5, np.arange(3), {1, 2}])
def test_features_that_are_no_mapping_are_dropped_and_counted(features: Any) -> None:
    publisher = InferencePublisher("m", "1", bootstrap_servers="127.0.0.1:9", close_timeout_seconds=0.1)
    assert publisher.log(features)
    stats = publisher.stats()
    publisher.close()
    assert (stats.logged, stats.dropped) == (1, {"unencodable": 1})
