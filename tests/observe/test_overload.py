"""A flood of names is refused at the limit and counted, and it changes nothing for units that are known."""

import json
from collections.abc import Callable

import pytest

from detectors.features import UnitKey
from stream.observe.observer import Observer
from stream.topics.record import Partition, Record
from tests.settings.defaults import bank_settings, observe_settings

HERE = Partition("inference-events", 0)
NOW_MS = 1_763_700_000_000
SETTINGS = observe_settings(
    bank=bank_settings(max_features=6, max_categories=8),
    max_models=3,
    max_versions=2,
    max_segments=3,
    max_units=9,
    recent_ids=50,
)
EVERY = 4
"""One record in so many belongs to a unit that was there first."""

Event = dict[str, object]


def known(number: int) -> Event:
    return {
        "id": f"k{number}",
        "model": "m",
        "version": "1",
        "features": {"x": number % 13 / 3, "c": "abc"[number % 3]},
    }


FLOODS: dict[str, tuple[str, Callable[[int], Event]]] = {
    "models": ("models", lambda n: {"model": f"new-{n}", "version": "1", "features": {"x": 1}}),
    "versions": ("versions", lambda n: {"model": "m", "version": f"v{n}", "features": {"x": 1}}),
    "segments": ("segments", lambda n: {"model": "s", "version": "1", "segment": f"s{n}", "features": {"x": 1}}),
    "features": ("features", lambda n: {"model": "f", "version": "1", "features": {f"new-{n}": 1.5}}),
    "categories": ("categories", lambda n: {"model": "f", "version": "1", "features": {"c": f"new-{n}"}}),
}


def log(flood: Callable[[int], Event] | None, rows: int = 2_000) -> list[Record]:
    """Records of the units that were there first, mixed with the flood if there is one. Offsets are the same."""
    records = []
    for offset in range(rows):
        event = known(offset) if offset % EVERY == 0 else flood(offset) if flood else None
        if event is not None:
            body = {"ts": NOW_MS + offset * 10, **event}
            records.append(Record(offset, NOW_MS + offset * 10, None, json.dumps(body).encode()))
    return records


def publish(observer: Observer) -> None:
    """Publishes all that may be, once a checkpoint holds every epoch."""
    checkpoint = observer.checkpoint(HERE)
    for unit in checkpoint.dirty:
        checkpoint.encode(unit)
    checkpoint.acknowledged()
    for _ in observer.profiles_due(0, at_end=()):
        """It is published."""


def run(records: list[Record], *, save: bool = False) -> tuple[Observer, dict[str, int], dict[tuple[str, str], int]]:
    observer = Observer(SETTINGS)
    observer.assign(HERE)
    limited: dict[str, int] = {}
    outcomes: dict[tuple[str, str], int] = {}
    for start in range(0, len(records), 97):
        effects = observer.process(HERE, records[start : start + 97])
        if save:
            publish(observer)
        for name, times in effects.limited.items():
            limited[name] = limited.get(name, 0) + times
        for key, rows in effects.outcomes.items():
            outcomes[key] = outcomes.get(key, 0) + rows
    return observer, limited, outcomes


@pytest.mark.parametrize("what", FLOODS)
def test_a_flood_is_refused_at_the_limit_counted_and_changes_nothing_of_who_was_there(what: str) -> None:
    limit, flood = FLOODS[what]
    alone, _, _ = run(log(None))
    flooded, limited, outcomes = run(log(flood))
    unit = UnitKey("m", "1", None)
    assert flooded._partitions[HERE].units[unit].snapshot() == alone._partitions[HERE].units[unit].snapshot()
    assert limited[limit] > 0
    assert outcomes["m", "accepted"] >= 500
    assert sum(outcomes.values()) == 2_000
    assert flooded.unit_count <= SETTINGS.max_units
    assert all(unit.bank.feature_count <= 6 for unit in flooded._partitions[HERE].units.values())


def test_memory_stays_within_the_limits_whatever_is_made_up() -> None:
    """All floods at once, four times as long: the state does not grow with them."""
    floods = list(FLOODS.values())
    sizes = []
    for rows in (4_000, 16_000):
        observer, _, _ = run(log(lambda n: floods[n % len(floods)][1](n), rows), save=True)
        sizes.append(sum(len(unit.snapshot()) for unit in observer._partitions[HERE].units.values()))
    assert sizes[1] < 1.3 * sizes[0], sizes
