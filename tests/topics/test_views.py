"""The views that the judges published, by unit and incident."""

import asyncio

import orjson
import pytest

from stream.topics.views import AnySegment, Views


def view(model: str, version: str = "1", segment: str | None = None, **more: object) -> bytes:
    return orjson.dumps({"model": model, "version": version, "segment": segment, "state": "stable", **more})


def incident(identifier: str, opened: int, resolved: int | None = None, model: str = "m") -> bytes:
    record = {"id": identifier, "model": model, "version": "1", "segment": None}
    return orjson.dumps({**record, "opened_at_ms": opened, "resolved_at_ms": resolved})


def test_models_are_ordered_and_leave_the_features_to_the_detail() -> None:
    views = Views()
    views.apply_view(b"b", view("b", features=[{"feature": "x"}]))
    views.apply_view(b"a", view("a", "2"))
    views.apply_view(b"a", view("a", "10"))
    assert [(m["model"], m["version"]) for m in views.models()] == [("a", "10"), ("a", "2"), ("b", "1")]
    assert all("features" not in m for m in views.models())
    assert views.detail("b", "1") == orjson.loads(view("b", features=[{"feature": "x"}]))


def test_the_newest_view_stands_and_a_tombstone_forgets() -> None:
    views = Views()
    views.apply_view(b"k", view("a", events=1))
    views.apply_view(b"k", view("a", events=2))
    assert [m["events"] for m in views.models()] == [2]
    views.apply_view(b"k", None)
    assert views.models() == []
    assert views.detail("a", "1") is None


@pytest.mark.parametrize("value", [b"", b"[]", b"{", b"1", b'{"model": 1}', b'{"model": "a"}', b"\xff"])
def test_what_is_no_view_is_counted_and_changes_nothing(value: bytes) -> None:
    views = Views()
    views.apply_view(b"k", value)
    views.apply_incident(b"k", value)
    assert (views.refused, views.generation, views.models(), views.incidents()) == (2, 0, [], [])


def test_units_beyond_the_limit_are_refused_and_known_ones_still_change() -> None:
    views = Views(max_units=2)
    for name in "abc":
        views.apply_view(name.encode(), view(name))
    views.apply_view(b"a", view("a", events=5))
    assert [(m["model"], m.get("events")) for m in views.models()] == [("a", 5), ("b", None)]
    assert views.refused == 1


def test_a_version_that_is_judged_by_segment_shows_the_worst_segment() -> None:
    views = Views()
    views.apply_view(b"1", view("a", segment="de", state="stable"))
    views.apply_view(b"2", view("a", segment="fr", state="drift"))
    views.apply_view(b"3", view("a", segment="it", state="blind"))
    worst = views.detail("a", "1")
    assert worst is not None
    assert worst["segment"] == "fr"
    assert views.segments("a", "1") == ["de", "fr", "it"]
    assert views.detail("a", "1", "it") is not None
    assert views.detail("a", "1", "es") is None


def test_incidents_are_newest_first_and_filtered() -> None:
    views = Views()
    views.apply_incident(b"1", incident("1", 10, resolved=20))
    views.apply_incident(b"2", incident("2", 30, model="n"))
    views.apply_incident(b"3", incident("3", 20))
    assert [i["id"] for i in views.incidents()] == ["2", "3", "1"]
    assert [i["id"] for i in views.incidents(state="open")] == ["2", "3"]
    assert [i["id"] for i in views.incidents(state="resolved")] == ["1"]
    assert [i["id"] for i in views.incidents(model="m", segment=None)] == ["3", "1"]
    assert views.incidents(segment="de") == []
    assert len(views.incidents(segment=AnySegment.ANY, limit=1)) == 1
    assert views.incident("3") is not None
    views.apply_incident(b"3", None)
    assert views.incident("3") is None


def test_the_oldest_resolved_incident_makes_room_before_any_open_one() -> None:
    views = Views(max_incidents=2)
    views.apply_incident(b"1", incident("open", 1))
    views.apply_incident(b"2", incident("resolved", 2, resolved=3))
    views.apply_incident(b"3", incident("new", 4))
    assert [i["id"] for i in views.incidents()] == ["new", "open"]


async def test_waiting_ends_with_a_change_or_with_the_time() -> None:
    views = Views()
    assert await views.wait_for_change(since=0, timeout_seconds=0.01) == 0
    waiting = asyncio.ensure_future(views.wait_for_change(since=0, timeout_seconds=30))
    await asyncio.sleep(0)
    views.apply_view(b"k", view("a"))
    assert await waiting == 1
    assert await views.wait_for_change(since=0, timeout_seconds=30) == 1
