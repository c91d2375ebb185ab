"""The pure judge merges shards and returns states and incidents; a restart does not change these."""

import zlib
from typing import Any

import msgspec
import numpy as np
import pytest

from detectors.errors import CheckpointError
from detectors.profiles import Profile, Signal
from detectors.reference.builder import build_reference
from detectors.reference.reference import Reference
from stream.judge import snapshot
from stream.judge.effects import DriftEvent, Health, ReferenceBuilt
from stream.judge.judge import Judge
from stream.topics.drift_events import EventType
from stream.topics.schemas import DATA
from tests.judge.shards import MiniShard
from tests.settings.defaults import judge_settings

ROWS = 20_000
SETTINGS = judge_settings()


@pytest.fixture(scope="module")
def reference() -> Reference:
    rng = np.random.default_rng(7)
    columns = {"amount": rng.lognormal(3, 1, ROWS), "age": rng.normal(40, 9, ROWS), "shop": _shops(rng, ROWS)}
    return build_reference("fraud", "3", columns, environment={"numpy": "1.26.4", "python": "3.11"})


def _shops(rng: np.random.Generator, rows: int) -> list[str]:
    return [f"shop{i}" for i in rng.choice(4, size=rows, p=[0.4, 0.3, 0.2, 0.1])]


def columns(rng: np.random.Generator, rows: int, **changed: Any) -> dict[str, Any]:
    made = {"amount": rng.lognormal(3, 1, rows), "age": rng.normal(40, 9, rows), "shop": _shops(rng, rows)}
    return {**made, **changed}


def play(judge: Judge, shards: list[MiniShard], looks: int, seed: int, start: int = 0, rows: int = 50, **change: Any):
    """``looks`` seconds of traffic over all shards; ``change`` maps a feature to a function of (rng, values)."""
    rng = np.random.default_rng(seed)
    effects = []
    for look in range(start, start + looks):
        at_ms = 1_700_000_000_000 + look * 1_000
        for shard in shards:
            batch = columns(rng, rows)
            for name, function in change.items():
                batch[name] = function(rng, batch[name])
            effects += judge.on_profile(shard.add(batch, at_ms), at_ms)
    return effects


def published(effects: list[Any], kind: EventType) -> list[dict[str, Any]]:
    return [e.data for e in effects if isinstance(e, DriftEvent) and e.kind is kind]


def test_the_reference_itself_raises_nothing_and_counts_every_event_once(reference: Reference) -> None:
    judge = Judge(SETTINGS, [reference])
    shards = [MiniShard(reference, p) for p in range(4)]
    effects = play(judge, shards, 100, 1)
    unit = shards[0].profile().unit
    view = judge.model_view(unit)
    assert not published(effects, EventType.INCIDENT_OPENED)
    assert (view["state"], view["events"], view["epoch_events"]) == ("stable", 20_000, 20_000)
    assert all(f["count"] + f["missing"] + f["invalid"] == 20_000 for f in view["features"])
    assert msgspec.json.encode(view)


def test_a_shift_opens_one_critical_incident_that_names_the_feature_and_dates_it(reference: Reference) -> None:
    judge = Judge(SETTINGS, [reference])
    shards = [MiniShard(reference, p) for p in range(2)]
    play(judge, shards, 60, 2)
    effects = play(judge, shards, 40, 3, 60, age=lambda rng, values: values + 9)
    opened = published(effects, EventType.INCIDENT_OPENED)
    assert [row["feature"] for row in opened[0]["features"]] == ["age"]
    assert (len(opened), opened[0]["severity"], opened[0]["verdict"]) == (1, "critical", "world-changed")
    assert 6_000 < opened[0]["opened_at_event"] < 6_400
    low, high = opened[0]["began_interval"]
    assert low <= opened[0]["began_at_event"] <= high
    assert abs(opened[0]["began_at_event"] - 6_000) < 200
    assert judge.model_view(shards[0].profile().unit)["drifted_features"] == ["age"]
    assert len(published(effects, EventType.RETRAIN_REQUESTED)) == 1
    assert [s["state"] for s in published(effects, EventType.MODEL_STATE)][-1] == "drift"


def test_drift_events_have_the_published_shape(reference: Reference) -> None:
    judge = Judge(SETTINGS, [reference])
    effects = play(judge, [MiniShard(reference)], 60, 3, age=lambda rng, values: values + 9)
    for effect in effects:
        if isinstance(effect, DriftEvent) and effect.kind in DATA:
            msgspec.convert(effect.data, DATA[effect.kind])


def test_a_change_that_ends_is_resolved(reference: Reference) -> None:
    judge = Judge(SETTINGS, [reference])
    shard = MiniShard(reference)
    effects = play(judge, [shard], 30, 3, age=lambda rng, values: values + 9)
    effects += play(judge, [shard], 200, 4, 30)
    assert len(published(effects, EventType.INCIDENT_OPENED)) == 1
    assert published(effects, EventType.INCIDENT_RESOLVED)[0]["resolution"] == "back-to-reference"
    assert judge.state(shard.profile().unit) == "stable"


@pytest.mark.parametrize(
    ("name", "function", "reason"),
    [
        ("age", lambda rng, v: [None if rng.random() < 0.5 else x for x in v], "missing-values"),
        ("age", lambda rng, v: ["x" if rng.random() < 0.5 else x for x in v], "wrong-type"),
        ("age", lambda rng, v: v * 0 + 41.0, "stuck-value"),
        ("amount", lambda rng, v: v * 100, "unit-change"),
        ("shop", lambda rng, v: ["new"] * len(v), "distribution-change"),
    ],
)
def test_broken_data_is_no_changed_world(reference: Reference, name: str, function: Any, reason: str) -> None:
    judge = Judge(SETTINGS, [reference])
    effects = play(judge, [MiniShard(reference)], 30, 5, **{name: function})
    opened = published(effects, EventType.INCIDENT_OPENED)
    assert [(i["reason"], i["features"][0]["feature"]) for i in opened] == [(reason, name)]
    requested = published(effects, EventType.RETRAIN_REQUESTED)
    assert bool(requested) == (reason == "distribution-change")


def test_another_environment_is_an_incident_of_its_own(reference: Reference) -> None:
    judge = Judge(SETTINGS, [reference])
    shard = MiniShard(reference)
    rng = np.random.default_rng(1)
    effects = []
    for look in range(5):
        batch = columns(rng, 50)
        serving = {"numpy": "2.1.0" if look > 2 else "1.26.4", "python": "3.11"}
        effects += judge.on_profile(shard.add(batch, look * 1_000, serving), look * 1_000)
    opened = published(effects, EventType.INCIDENT_OPENED)
    assert [i["kind"] for i in opened] == ["environment"]
    row = opened[0]["environment_differences"][0]
    assert (row["name"], row["reference"], row["present"]) == ("numpy", "1.26.4", "2.1.0")


def test_older_and_repeated_profiles_change_nothing(reference: Reference) -> None:
    judge, again = Judge(SETTINGS, [reference]), Judge(SETTINGS, [reference])
    shard, other = MiniShard(reference), MiniShard(reference)
    rng = np.random.default_rng(3)
    seen: list[Profile] = []
    for look in range(20):
        batch = columns(rng, 40)
        seen.append(shard.add(batch, look * 1_000))
        judge.on_profile(seen[-1], 0)
        for profile in (other.add(batch, look * 1_000), seen[-1], seen[0], seen[look // 2]):
            again.on_profile(profile, 0)
    unit = seen[0].unit
    assert judge.snapshot(unit) == again.snapshot(unit)


def test_a_restart_at_any_look_repeats_no_effect_and_changes_none(reference: Reference) -> None:
    whole, shard = Judge(SETTINGS, [reference]), MiniShard(reference)
    straight = play(whole, [shard], 40, 9, age=lambda rng, values: values + 9)
    unit = shard.profile().unit
    rng = np.random.default_rng(9)
    judge, shard = Judge(SETTINGS, [reference]), MiniShard(reference)
    broken: list[Any] = []
    for look in range(40):
        batch = columns(rng, 50)
        batch["age"] = batch["age"] + 9
        at_ms = 1_700_000_000_000 + look * 1_000
        broken += judge.on_profile(shard.add(batch, at_ms), at_ms)
        blob = judge.snapshot(unit)
        judge = Judge(SETTINGS, [reference] if look % 2 else [])
        judge.restore(unit, blob)
        if not look % 2:
            assert not published(judge.on_reference(reference), EventType.INCIDENT_OPENED)
    assert msgspec.json.encode(straight) == msgspec.json.encode(broken)
    assert judge.model_view(unit)["evidence_log10"] == whole.model_view(unit)["evidence_log10"]


def test_a_broken_snapshot_is_refused_by_name(reference: Reference) -> None:
    judge, shard = Judge(SETTINGS, [reference]), MiniShard(reference)
    play(judge, [shard], 2, 1)
    unit = shard.profile().unit
    blob = judge.snapshot(unit)
    for bad in (b"", b"x" * 40, blob[:-1], blob[:6] + b"\0\0\0\0" + blob[10:], blob[:4] + b"\x63\0" + blob[6:]):
        with pytest.raises(CheckpointError, match="fraud"):
            Judge(SETTINGS, [reference]).restore(unit, bad)


def test_a_row_of_the_schema_before_is_restored(reference: Reference) -> None:
    judge, shard = Judge(SETTINGS, [reference]), MiniShard(reference)
    play(judge, [shard], 2, 1)
    unit = shard.profile().unit
    blob = judge.snapshot(unit)
    body = zlib.compress(snapshot.unpack(unit, blob))
    before = snapshot.MAGIC + b"\x01\0" + zlib.crc32(body).to_bytes(4, "little") + body
    again = Judge(SETTINGS, [reference])
    again.restore(unit, before)
    assert again.model_view(unit) == judge.model_view(unit)


def test_a_new_epoch_that_overlaps_counts_nothing_twice(reference: Reference) -> None:
    judge, shard = Judge(SETTINGS, [reference]), MiniShard(reference)
    play(judge, [shard], 10, 1)
    overlapping = MiniShard(reference, first_offset=400, events_before=400)
    effects = play(judge, [overlapping], 20, 2, 10)
    unit = shard.profile().unit
    assert not published(effects, EventType.INCIDENT_OPENED)
    assert judge.model_view(unit)["events"] == 1_400
    old = shard.add(columns(np.random.default_rng(1), 50), 99_000)
    before = judge.snapshot(unit)
    assert judge.on_profile(old, 0) == []
    assert judge.snapshot(unit) == before


def test_profiles_wait_for_a_reference_that_was_not_read_and_the_unit_is_blind(reference: Reference) -> None:
    judge, shard = Judge(SETTINGS), MiniShard(reference)
    play(judge, [shard], 5, 1)
    unit = shard.profile().unit
    judge.on_tick(0)
    assert judge.state(unit) == "blind"
    assert "has not been read" in judge.model_view(unit)["reason"]
    judge.on_reference(reference)
    judge.on_tick(1)
    assert judge.state(unit) == "stable"


def test_only_silence_lag_and_unreadable_records_make_it_blind(reference: Reference) -> None:
    judge, shard = Judge(SETTINGS, [reference]), MiniShard(reference)
    play(judge, [shard], 20, 1)
    unit = shard.profile().unit
    now_ms = 1_700_000_000_000 + 20_000
    assert not judge.on_tick(now_ms)
    judge.on_tick(now_ms, Health(records={"fraud": 200}, invalid={"fraud": 150}))
    assert judge.state(unit) == "blind"
    judge.on_tick(now_ms, Health(records={"fraud": 10_000}, invalid={"fraud": 150}))
    assert judge.state(unit) == "stable", "few of many"
    judge.on_tick(now_ms, Health(records={"fraud": 3}, invalid={"fraud": 3}))
    assert judge.state(unit) == "stable", "a handful"
    late = Health(lag_records=10, lag_seconds=900.0)
    judge.on_tick(now_ms, late)
    assert judge.state(unit) == "stable"
    judge.on_tick(now_ms + 6_000, late)
    assert judge.state(unit) == "blind"
    judge.on_tick(now_ms + 7_000)
    judge.on_tick(now_ms + 600_000)
    assert judge.state(unit) == "blind"
    assert "no event for" in judge.model_view(unit)["reason"]


def test_where_profiles_are_merged_does_not_matter(reference: Reference) -> None:
    """One partition or eight: the same merged counts at the same looks, the same incidents."""
    found = []
    for partitions in (1, 8):
        judge = Judge(SETTINGS, [reference])
        shards = [MiniShard(reference, p) for p in range(partitions)]
        rng = np.random.default_rng(11)
        effects: list[Any] = []
        for look in range(60):
            batch = columns(rng, 64)
            batch["age"] = batch["age"] + (6 if look > 30 else 0)
            profiles = []
            for p, shard in enumerate(shards):
                part = {name: values[p::partitions] for name, values in batch.items()}
                profiles.append(shard.add(part, look * 1_000))
            effects += judge.on_profiles(profiles, look * 1_000)
        found.append(published(effects, EventType.INCIDENT_OPENED))
    assert msgspec.json.encode(found[0]) == msgspec.json.encode(found[1])
    assert found[0]


def test_learning_becomes_a_reference_once(reference: Reference) -> None:
    from detectors.features import Kind
    from detectors.profiles import SCHEMA, Epoch, FeatureProfile
    from detectors.sketches.quantiles import QuantileSketch

    judge = Judge(judge_settings(learning_events=1_000))
    sketch = QuantileSketch()
    rng = np.random.default_rng(0)
    effects: list[Any] = []
    for n in range(1, 25):
        sketch.update_many(rng.normal(size=50))
        x = FeatureProfile("x", Kind.NUMERIC, 50 * n, mean=0.0, m2=50.0 * n, sketch=sketch.to_bytes())
        profile = Profile(
            SCHEMA, "m", "1", None, "t", 0, Epoch(None, "s", 0), 50 * n, 50 * n, 50 * n, [x], last_timestamp_ms=n
        )
        effects += judge.on_profile(profile, n)
    built = [e for e in effects if isinstance(e, ReferenceBuilt)]
    assert [b.reference.rows for b in built] == [1_000]
    view = judge.model_view(profile.unit)
    assert (view["state"], view["features"][0]["count"]) == ("learning", 1_200)


def test_a_new_reference_is_followed_before_the_next_event_and_a_zombie_brings_no_old_one_back(
    reference: Reference,
) -> None:
    """Two references between two events: epochs that begin at the same offset and have no events of their own yet."""
    judge, shard = Judge(SETTINGS, [reference]), MiniShard(reference)
    play(judge, [shard], 4, 1)
    unit = shard.profile().unit
    new = msgspec.structs.replace(reference, source={"revision": "2"})
    between = msgspec.structs.replace(reference, source={"revision": "1"})
    judge.on_reference(between)
    judge.on_reference(new)
    switched = MiniShard(new, first_offset=200, events_before=200)
    judge.on_profile(switched.profile(), 0)
    assert judge.model_view(unit)["reference"]["digest"] == new.digest
    zombie = MiniShard(between, first_offset=200, events_before=200)
    assert judge.on_profile(zombie.profile(), 0) == []
    assert judge.model_view(unit)["reference"]["digest"] == new.digest
    assert judge.model_view(unit)["epoch_events"] == 0
    play(judge, [switched], 1, 2, 4)
    assert judge.model_view(unit)["epoch_events"] == 50


def test_what_happened_to_topics_and_checkpoints_is_shown_apart_from_limits(reference: Reference) -> None:
    judge = Judge(SETTINGS, [reference])
    for partition in range(2):
        shard = MiniShard(reference, partition)
        profile = shard.add(columns(np.random.default_rng(partition), 500), 1_763_700_000_000)
        counted = {"topic_made_anew": 1 + partition, "categories": 5}
        judge.on_profile(msgspec.structs.replace(profile, suppressed=counted), 0)
    view = judge.model_view(profile.unit)
    assert view["interruptions"] == {"topic_made_anew": 3}
    assert view["suppressed"] == {"categories": 10}


def test_a_signal_is_published_once_though_each_profile_holds_it_again(reference: Reference) -> None:
    judge, shard, rng = Judge(SETTINGS, [reference]), MiniShard(reference), np.random.default_rng(3)
    held: list[Signal] = []
    effects: list[Any] = []
    for look in range(1, 9):
        at_ms = 1_700_000_000_000 + look * 1_000
        profile = shard.add(columns(rng, 50), at_ms)
        if look % 3 == 0:
            held.append(Signal("age", "adwin", "u", profile.events, at_ms, profile.next_offset))
        profile = msgspec.structs.replace(profile, signals=list(held), signal_count=len(held))
        effects += judge.on_profile(profile, at_ms)
        if look == 4:
            again = Judge(SETTINGS, [reference])
            again.restore(profile.unit, judge.snapshot(profile.unit))
            judge = again
    assert [signal["event"] for signal in published(effects, EventType.SIGNAL)] == [150, 300]
