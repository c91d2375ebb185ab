"""The envelope of what is published, and its ids."""

import datetime
import uuid

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.features import UnitKey
from stream.topics import drift_events
from stream.topics.drift_events import EventType

UNIT = UnitKey("fraud", "3", None)
units = st.builds(UnitKey, st.text(), st.text(), st.none() | st.text())


def test_an_event_has_what_cloudevents_asks_for() -> None:
    event = drift_events.envelope(EventType.INCIDENT_OPENED, UNIT, 1_763_700_000_123, {"a": 1}, "incident-1")
    record = drift_events.record("drift-events", UNIT, event)
    assert orjson.loads(record.value or b"") == {
        "specversion": "1.0",
        "id": event.id,
        "source": "/driftline/models/fraud/3",
        "type": "io.driftline.incident.opened.v1",
        "time": "2025-11-21T04:40:00.123Z",
        "datacontenttype": "application/json",
        "data": {"a": 1},
    }
    assert record.key == b"fraud"
    assert dict(record.headers)["content-type"].startswith(b"application/cloudevents+json")
    assert uuid.UUID(event.id).version == 5


def test_a_segment_is_the_subject() -> None:
    event = drift_events.envelope(EventType.MODEL_STATE, UnitKey("fraud", "3", "de"), 0, {}, 1)
    assert event.subject == "de"


def test_the_same_happening_has_the_same_bytes() -> None:
    records = [
        drift_events.record("t", UNIT, drift_events.envelope(EventType.SIGNAL, UNIT, 5, {"b": 1, "a": 2}, "x", 7))
        for _ in range(2)
    ]
    assert records[0] == records[1]


@given(units, units, st.sampled_from(EventType), st.sampled_from(EventType), st.integers(), st.integers())
def test_different_happenings_have_different_ids(
    one: UnitKey, other: UnitKey, kind: EventType, other_kind: EventType, number: int, other_number: int
) -> None:
    same = (one, kind, number) == (other, other_kind, other_number)
    assert (drift_events.event_id(kind, one, number) == drift_events.event_id(other_kind, other, other_number)) is same


@given(units)
def test_the_source_is_a_uri_reference_whatever_the_names(unit: UnitKey) -> None:
    source = drift_events.envelope(EventType.SIGNAL, unit, 0, {}).source
    assert source.isascii()
    assert source.startswith("/driftline/models/")
    assert source.count("/") == 4


@given(st.integers(min_value=-62_135_596_800_000, max_value=253_402_300_799_999))
def test_times_are_exact_to_the_millisecond(at_ms: int) -> None:
    moment = datetime.datetime.fromisoformat(drift_events.rfc3339(at_ms))
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    assert (moment - epoch) // datetime.timedelta(milliseconds=1) == at_ms


@pytest.mark.parametrize("at_ms", [-(10**18), 10**18])
def test_times_beyond_any_calendar_are_cut(at_ms: int) -> None:
    assert datetime.datetime.fromisoformat(drift_events.rfc3339(at_ms)).year in (1, 9999)
