"""Places of units: given back by those that are forgotten or silent, and refused visibly."""

import json

import pytest

from detectors.features import UnitKey
from stream.observe.effects import Effects
from stream.observe.observer import Observer
from stream.topics.marks import Mark
from stream.topics.record import Partition, Record
from tests.settings.defaults import observe_settings

HERE = Partition("inference-events", 0)
START_MS = 1_763_700_000_000
DAY_MS = 86_400_000
SETTINGS = observe_settings(max_versions=10, silent_ms=3 * DAY_MS)


def versions(first: int, last: int, offset: int, at_ms: int, model: str = "m") -> list[Record]:
    """Five events of each version."""
    return [
        Record(offset + at, at_ms + at, None, json.dumps(
            {"model": model, "version": str(first + at // 5), "ts": at_ms + at, "features": {"x": at}}
        ).encode())
        for at in range(5 * (last - first + 1))
    ]  # fmt: skip


def started() -> Observer:
    observer = Observer(SETTINGS)
    observer.assign(HERE)
    return observer


def saved(observer: Observer) -> dict[bytes, bytes]:
    run = observer.checkpoint(HERE)
    found = dict(run.encode(unit) for unit in run.dirty)
    found.update([run.manifest()])
    run.acknowledged()
    return found


def marked(observer: Observer, now_ms: int) -> Mark:
    return next(item for item in observer.mark(HERE, 1, now_ms, read_to_end=True) if isinstance(item, Mark))


def test_an_eleventh_version_is_named_with_its_limit_once_and_counted() -> None:
    observer = started()
    observer.process(HERE, versions(1, 10, 0, START_MS))
    effects = observer.process(HERE, versions(11, 11, 50, START_MS + 1_000))
    eleventh = UnitKey("m", "11", None)
    assert effects.refused == [(eleventh, HERE, "versions")]
    assert effects.outcomes == {("m", "unknown_model"): 5}
    assert observer.process(HERE, versions(11, 11, 55, START_MS + 2_000)).refused == []
    [report] = marked(observer, START_MS).quarantined or ()
    assert (report.unit, report.limit, report.ignored) == (eleventh, "versions", 10)
    for version in range(12, 200):
        observer.process(HERE, versions(version, version, 55 + 5 * (version - 11), START_MS + 3_000))
    assert len(marked(observer, START_MS + 10_000).quarantined or ()) == 20, "made-up names are bounded"


@pytest.mark.parametrize("restart", [False, True])
def test_a_forgotten_version_gives_its_place_to_the_eleventh_and_keeps_its_count(restart: bool) -> None:
    observer = started()
    observer.process(HERE, versions(1, 10, 0, START_MS))
    observer.process(HERE, versions(11, 11, 50, START_MS + 1_000))
    observer.forget(UnitKey("m", "4", None), START_MS + 500)
    effects = observer.process(HERE, versions(11, 11, 55, START_MS + 2_000))
    assert effects.outcomes == {("m", "accepted"): 5}
    assert marked(observer, START_MS).quarantined == []
    if restart:
        checkpoint, observer = saved(observer), started()
        observer.forget(UnitKey("m", "4", None), START_MS + 500)
        assert observer.assign(HERE, checkpoint) == 60
    effects = observer.process(HERE, versions(4, 4, 60, START_MS + 3_000))
    assert effects.outcomes == {("m", "accepted"): 5}
    assert observer._partitions[HERE].units[UnitKey("m", "4", None)].bank.events == 10
    assert observer.process(HERE, versions(12, 12, 65, START_MS + 4_000)).refused, "it has come back"


def test_a_version_that_has_events_after_the_request_keeps_its_place() -> None:
    observer = started()
    observer.process(HERE, versions(1, 10, 0, START_MS))
    observer.forget(UnitKey("m", "4", None), START_MS - 1)
    assert observer.process(HERE, versions(11, 11, 50, START_MS + 1_000)).refused


@pytest.mark.parametrize("together", [False, True])
def test_silent_versions_give_their_places_back_however_the_log_is_cut(together: bool) -> None:
    observer = started()
    observer.process(HERE, versions(1, 10, 0, START_MS))
    back = versions(10, 10, 50, START_MS + 4 * DAY_MS)
    new = versions(11, 20, 55, START_MS + 4 * DAY_MS + 100)
    found = Effects()
    for records in [back + new] if together else [back, *([one] for one in new)]:
        effects = observer.process(HERE, records)
        found.refused.extend(effects.refused)
    assert found.refused == [(UnitKey("m", "20", None), HERE, "versions")], "the tenth version has come back"
    assert len(observer.units(HERE)) == 19
    small = observer._partitions[HERE].units[UnitKey("m", "1", None)].bank
    assert (small.events, small.epoch_events) == (5, 0), "reduced to its totals"


def test_made_up_names_cannot_keep_a_real_model_out_for_ever() -> None:
    observer = Observer(observe_settings(max_models=50, silent_ms=DAY_MS))
    observer.assign(HERE)
    offset = 0
    for name in range(80):
        observer.process(HERE, versions(1, 1, offset, START_MS, f"made-up-{name}"))
        offset += 5
    effects = observer.process(HERE, versions(1, 1, offset, START_MS + 60_000, "real"))
    assert effects.outcomes == {("real", "unknown_model"): 5}
    assert observer.process(HERE, versions(1, 1, offset + 5, START_MS + 2 * DAY_MS, "real")).outcomes == {
        ("real", "accepted"): 5
    }
