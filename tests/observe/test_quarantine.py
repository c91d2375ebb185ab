"""An unexpected error in the work on one unit: that unit alone goes into quarantine, all others count as without it."""

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from detectors.bank.bank import Bank
from detectors.features import UnitKey
from detectors.profiles import Profile
from stream.labels.predictions import Predictions
from stream.observe.effects import Effects
from stream.observe.observer import Observer
from stream.observe.unit import Unit
from stream.topics import checkpoints
from stream.topics.marks import Mark
from stream.topics.record import Partition, Record
from tests.settings.defaults import observe_settings

HERE = Partition("inference-events", 1)
START_MS = 1_763_700_000_000
MODELS = ("a", "b", "c")
BAD = UnitKey("b", "1", None)
SETTINGS = observe_settings(look_events=8)


class Planted(RuntimeError):
    """The planted error."""


def log(first: int, count: int) -> list[Record]:
    """Events of three models in turn, and every ninth one a repeat."""
    records = []
    for offset in range(first, first + count):
        number = offset - 3 if offset % 9 == 8 else offset
        event = {"id": f"e{number}", "model": MODELS[number % 3], "version": "1", "ts": START_MS + 400 * offset,
                 "features": {"x": number % 7, "c": "pq"[number % 2]}, "prediction": 1.0}  # fmt: skip
        records.append(Record(offset, START_MS + 400 * offset, None, json.dumps(event).encode()))
    return records


class Run:
    """One worker after another over one log; ``profiles``: what each shard published, in order."""

    def __init__(self, settings: Any = SETTINGS) -> None:
        self.settings = settings
        self.saved: dict[bytes, bytes] = {}
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.profiles: dict[UnitKey, list[Profile]] = {}
        self.faults: list[tuple[UnitKey, str]] = []
        self.marks: list[Mark] = []
        self.observer = Observer(settings)
        self.observer.assign(HERE)

    def take_up(self, effects: Effects) -> None:
        self.outcomes.update(effects.outcomes)
        self.faults += [(fault.unit, fault.reason) for fault in effects.faults]
        for profile in effects.profiles:
            self.publish(profile)

    def publish(self, profile: Profile) -> None:
        self.profiles.setdefault(profile.unit, []).append(profile)

    def feed(self, first: int, count: int, size: int = 30) -> None:
        for start in range(first, first + count, size):
            effects = Effects()
            for _ in self.observer.steps(HERE, log(start, min(size, first + count - start)), effects):
                """Every step follows the last one at once."""
            self.take_up(effects)
            self.turn(START_MS + 400 * (start + size))

    def turn(self, now_ms: int) -> None:
        """What the worker's timer and saver do."""
        for profile in self.observer.profiles_due(now_ms, at_end=[HERE]):
            self.publish(profile)
        for item in self.observer.mark(HERE, 1, now_ms, read_to_end=True):
            if isinstance(item, Mark):
                self.marks.append(item)
            else:
                self.publish(item)
        self.save()
        self.take_up(self.observer.drain_aside())

    def save(self) -> None:
        run = self.observer.checkpoint(HERE)
        for unit in run.dirty:
            key, value = run.encode(unit)
            self.saved[key] = value
        key, value = run.manifest()
        self.saved[key] = value
        run.acknowledged()

    def restart(self) -> int | None:
        self.observer = Observer(self.settings)
        return self.observer.assign(HERE, self.saved)

    def newest(self) -> dict[UnitKey, Profile]:
        return {unit: found[-1] for unit, found in self.profiles.items()}

    def states(self) -> dict[UnitKey, bytes]:
        found = {}
        for key, value in self.saved.items():
            unit = checkpoints.parse_key(key)[1]
            if unit is not None:
                found[unit] = checkpoints.unit_blob(checkpoints.decode_unit(value, ""), "")
        return found


def failing(original: Callable[..., Any], after: int) -> Callable[..., Any]:
    """``original``, which fails for the bad model from its call number ``after`` on."""
    calls = Counter[str]()

    def work(self: Any, *args: Any, **named: Any) -> Any:
        unit = self.unit if isinstance(self, Bank) else self.key
        if unit == BAD:
            calls["bad"] += 1
            if calls["bad"] > after:
                raise Planted("planted")
        return original(self, *args, **named)

    return work


PLACES = {
    "counting": (Bank, "_fold_in"),
    "counting, at its end": (Bank, "_count"),
    "profile": (Bank, "profile"),
    "snapshot of the bank": (Bank, "snapshot"),
    "snapshot": (Unit, "snapshot"),
    "publication": (Unit, "publish"),
    "end of a slot": (Unit, "cut_passed"),
    "rows that wait": (Unit, "append"),
}


def feed_all(run: Run) -> None:
    """Large polls, records one by one, a restart, and large polls again."""
    run.feed(0, 300)
    run.feed(300, 90, size=1)
    run.restart()
    run.feed(390, 210)
    run.turn(START_MS + 1_000_000)


@pytest.fixture(scope="module")
def undisturbed() -> Run:
    run = Run()
    feed_all(run)
    return run


@pytest.mark.parametrize(
    ("place", "after"), [(place, after) for place in PLACES for after in ([0] if place == "publication" else [0, 1, 7])]
)
def test_an_error_in_the_work_on_one_unit_changes_no_other(
    place: str, after: int, undisturbed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = PLACES[place]
    monkeypatch.setattr(owner, name, failing(getattr(owner, name), after))
    run = Run()
    feed_all(run)
    assert [unit for unit, _ in run.faults] == [BAD], "one fault, once, also after a restart"
    assert "unexpected Planted: planted" in run.faults[0][1]
    for unit in (UnitKey("a", "1", None), UnitKey("c", "1", None)):
        assert run.profiles[unit][-1] == undisturbed.profiles[unit][-1]
        assert run.states()[unit] == undisturbed.states()[unit]
    for outcome in ("accepted", "late", "duplicate"):
        for model in ("a", "c"):
            assert run.outcomes[model, outcome] == undisturbed.outcomes[model, outcome]
    read = sum(rows for (model, _), rows in run.outcomes.items() if model == "b")
    assert read == sum(rows for (model, _), rows in undisturbed.outcomes.items() if model == "b")
    assert run.outcomes["b", "quarantined"] > 0 or place == "publication"  # which comes at the very end
    assert run.observer.next_offset(HERE) == 600


def test_what_is_ignored_is_counted_and_reported_once_each_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bank, "_count", failing(Bank._count, 5))
    run = Run()
    run.feed(0, 450)
    reports = [mark for mark in run.marks if mark.quarantined]
    assert [one.unit for one in (reports[-1].quarantined or ())] == [BAD]
    run.restart()
    run.feed(450, 30)
    (one,) = next(mark.quarantined for mark in reversed(run.marks) if mark.quarantined)
    assert one.ignored == run.outcomes["b", "quarantined"]


def test_a_released_unit_begins_a_new_epoch_at_the_present_and_keeps_its_totals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run()
    run.feed(0, 300)
    with monkeypatch.context() as broken:
        broken.setattr(Bank, "_fold_in", failing(Bank._fold_in, 0))
        run.feed(300, 300)
    ignored = run.outcomes["b", "quarantined"]
    before = run.outcomes["b", "accepted"]
    run.restart()
    run.observer.release(BAD, "r1")
    run.take_up(run.observer.drain_aside())
    run.feed(600, 300)
    newest = run.newest()[BAD]
    assert ignored
    assert run.outcomes["b", "quarantined"] == ignored
    assert newest.epoch.first_offset == 600
    bank = run.observer._partitions[HERE].units[BAD].bank
    assert bank.events == run.outcomes["b", "accepted"] > before
    assert bank.epoch_events == bank.events - before
    assert newest.epoch_events == newest.events - before
    assert next(mark.quarantined for mark in reversed(run.marks) if mark.quarantined is not None) == []


def test_a_request_ends_no_quarantine_that_begins_later(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    run.observer.release(BAD, "r1")
    run.feed(0, 300)
    with monkeypatch.context() as broken:
        broken.setattr(Bank, "_fold_in", failing(Bank._fold_in, 0))
        run.feed(300, 300)
    again = run.restart()
    assert again == 600
    run.observer.release(BAD, "r1")
    run.feed(600, 90)
    assert run.outcomes["b", "quarantined"] == 130
    run.observer.release(BAD, "r2")
    run.feed(690, 90)
    assert run.outcomes["b", "quarantined"] == 130


def test_a_unit_too_large_for_its_checkpoint_goes_into_quarantine_and_others_are_saved() -> None:
    run = Run(msgspec.structs.replace(SETTINGS, unit_checkpoint_bytes=8_000))
    records = []
    for offset in range(200):
        model = "ab"[offset % 2]
        text = random.Random(offset).randbytes(50).hex() if model == "b" else "p"
        event = {"id": f"e{offset}", "model": model, "version": "1", "ts": START_MS + 400 * offset,
                 "features": {f"c{k}": text + str(k) for k in range(8)}}  # fmt: skip
        records.append(Record(offset, START_MS + 400 * offset, None, json.dumps(event).encode()))
    run.take_up(run.observer.process(HERE, records))
    run.turn(START_MS + 100_000)
    assert [unit for unit, _ in run.faults] == [BAD]
    assert "bytes, at most 8000 fit" in run.faults[0][1]
    assert set(run.states()) == {UnitKey("a", "1", None), BAD}
    assert run.restart() == 200


def test_an_error_while_labels_are_joined_or_a_unit_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    run.feed(0, 300)
    labels = [
        Record(at, START_MS, None, json.dumps({"id": f"e{at}", "model": m, "label": 1.0, "ts": START_MS}).encode())
        for at, m in enumerate("abc" * 20)
    ]

    def fails(self: Predictions, *_: Any) -> Any:
        raise Planted("planted")

    with monkeypatch.context() as broken:
        broken.setattr(Predictions, "join", fails)
        run.take_up(run.observer.join_labels(Partition("labels", 0), labels))
        run.take_up(run.observer.drain_aside())
    assert {unit.model for unit, _ in run.faults} == set(MODELS)
    assert all(reason.startswith("labels: ") for _, reason in run.faults)

    fresh = Run()
    fresh.feed(0, 300)

    def restored(original: Callable[..., Any]) -> Callable[..., Any]:
        def work(self: Any, *args: Any) -> Any:
            if self.unit == BAD:
                raise Planted("planted")
            return original(self, *args)

        return work

    monkeypatch.setattr(Bank, "_restore", restored(Bank._restore))
    assert fresh.restart() == 300
    fresh.take_up(fresh.observer.drain_aside())
    assert [unit for unit, _ in fresh.faults] == [BAD]
    assert fresh.observer._partitions[HERE].units[BAD].bank.events == fresh.outcomes["b", "accepted"]
