"""The observe stage as a whole: a log gives the same state however it is polled, checkpointed and restored."""

import json
import random
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.errors import CheckpointError
from detectors.features import ModelKey, UnitKey
from detectors.profiles import Profile
from detectors.reference.builder import build_reference
from detectors.reference.reference import Reference
from stream.observe import observer as observer_module
from stream.observe.effects import Effects
from stream.observe.observer import Observer
from stream.topics import checkpoints
from stream.topics.record import Partition, Record
from tests.settings.defaults import observe_settings

HERE = Partition("inference-events", 1)
START_MS = 1_763_700_000_000


@cache
def reference(seed: int = 0) -> Reference:
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        "x": rng.normal(size=2000),
        "y": rng.exponential(size=2000),
        "c": [str(c) for c in rng.choice(list("abc"), 2000)],
    }
    return build_reference("m", "1", columns)


def log(seed: int, rows: int) -> list[Record]:
    """Mixed traffic: two versions, missing and wrong values, repeats, late events, arrays, rubbish."""
    chance = random.Random(seed)  # ten times as fast as numpy's for single numbers
    records = []
    for offset in range(rows):
        event: dict[str, Any] = {
            "id": f"e{chance.randrange(rows * 4)}",
            "model": "m",
            "version": "1" if chance.random() < 0.8 else "2",
            "ts": START_MS + offset * 100 - (200_000_000 if chance.random() < 0.01 else 0),
            "features": {"x": chance.gauss(0, 1), "y": chance.expovariate(1), "c": chance.choice("abcd")},
            "prediction": chance.random(),
        }
        if chance.random() < 0.05:
            event["features"][chance.choice("xyc")] = chance.choice([None, "text", 5, True])
        if chance.random() < 0.02:
            event["env"] = {"python": f"3.{chance.randrange(3)}"}
        value: Any = [event, {**event, "id": event["id"] + "b"}] if chance.random() < 0.05 else event
        data = b"rubbish" if chance.random() < 0.01 else json.dumps(value).encode()
        records.append(Record(offset, START_MS + offset * 100, None, data))
    return records


def outcomes(effects: Sequence[Effects]) -> dict[tuple[str, str], int]:
    total: dict[tuple[str, str], int] = {}
    for effect in effects:
        for key, count in effect.outcomes.items():
            total[key] = total.get(key, 0) + count
    return total


def saved(observer: Observer, acknowledged: bool = True) -> dict[bytes, bytes]:
    run = observer.checkpoint(HERE)
    records = dict(run.encode(unit) for unit in run.dirty)
    records.update([run.manifest()])
    if acknowledged:
        run.acknowledged()
    return records


def states(observer: Observer) -> dict[bytes, bytes]:
    """Every unit's whole state, unpacked, once all that may be published is and every slot that has ended is cut."""
    saved(observer)
    for _ in observer.mark(HERE, 1, 0, read_to_end=False):
        """It is published."""
    for unit in observer._partitions[HERE].units.values():
        unit.dirty = True
    run = observer.checkpoint(HERE)
    records = dict(run.encode(unit) for unit in run.dirty)
    return {key: checkpoints.unit_blob(checkpoints.decode_unit(v, ""), "") for key, v in records.items()}


def started(references: Sequence[Reference] = (), checkpoint: Mapping[bytes, bytes] | None = None) -> Observer:
    observer = Observer(observe_settings(look_events=640), references)
    observer.assign(HERE, checkpoint)
    return observer


def read(observer: Observer, records: Sequence[Record]) -> list[Effects]:
    """Reads as the runner does: rows that are not due wait for more."""
    effects = Effects()
    for _ in observer.steps(HERE, records, effects):
        """Every step follows the last one at once."""
    return [observer.drain_aside(), effects]


def test_every_row_is_in_exactly_one_outcome_and_profiles_add_up() -> None:
    observer = started([reference()])
    effects = observer.process(HERE, records := log(1, 1500))
    saved(observer)
    rows = sum(2 if r.value and r.value.startswith(b"[") else 1 for r in records)
    assert sum(effects.outcomes.values()) == rows
    profiles = list({p.version: p for p in observer.profiles_due(0, force=True)}.values())
    assert sum(p.events for p in profiles) == effects.outcomes["m", "accepted"]
    assert sum(p.late for p in profiles) == effects.outcomes["m", "late"] > 0
    assert sum(p.duplicate for p in profiles) == effects.outcomes["m", "duplicate"] > 0
    assert len(effects.dead_letters) == effects.outcomes["", "invalid"] > 0
    for profile in profiles:
        assert profile.epoch_events == profile.events
        for feature in profile.features:
            assert feature.count + feature.missing + feature.invalid == profile.epoch_events
            if feature.cells:
                assert int(np.frombuffer(feature.cells, np.int64).sum()) == feature.count


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 300), min_size=1, max_size=12), st.booleans())
def test_state_and_outcomes_are_the_same_however_the_log_is_polled_and_restored(
    seed: int, lengths: list[int], known: bool
) -> None:
    records = log(seed, 600)
    references = [reference()] if known else []
    whole = started(references)
    expected = outcomes([whole.process(HERE, records)])
    polled = started(references)
    effects, start, store = list[Effects](), 0, dict[bytes, bytes]()
    for length in [*lengths, len(records)]:
        part = records[start : start + length]
        effects += read(polled, part)
        start += len(part)
        if part and length % 2:
            store.update(saved(polled))
            effects.append(polled.drain_aside())
            polled = started(references, store)
        elif part and length % 3 == 0:
            list(polled.profiles_due(0, force=True))
    assert states(polled) == states(whole)
    assert outcomes([*effects, polled.drain_aside()]) == expected


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_profiles_of_looks_stand_at_the_same_places_of_the_log(seed: int) -> None:
    records = log(seed, 400)
    found: list[list[Profile]] = []
    for step in (1, 7, 37, 400):
        observer = started([reference()])
        observer.process(HERE, records[:20])
        saved(observer)
        profiles = []
        for start in range(20, len(records), step):
            profiles += [p for effects in read(observer, records[start : start + step]) for p in effects.profiles]
        saved(observer)  # another version may have begun and held back what came after
        profiles += [one for one in observer.mark(HERE, 1, 0, read_to_end=False) if isinstance(one, Profile)]
        found.append([p for p in profiles if p.version == "1" and not p.slot_open])
    assert found[0]
    assert all(one == found[0] for one in found)


def fleet(seed: int, rows: int) -> list[Record]:
    """Mixed events of many models; those with even numbers have features of their own."""
    chance = random.Random(seed)
    records = []
    for offset in range(rows):
        number = chance.randrange(12)
        names = ("x", "y") if number % 2 else (f"x{number}", f"y{number}", "z")
        event: dict[str, Any] = {
            "id": f"e{chance.randrange(rows)}",
            "model": f"m{number}",
            "version": chance.choice(["1", 1, 2]) if number == 3 else "1",
            "ts": START_MS + offset * 10 - (200_000_000 if chance.random() < 0.01 else 0),
            "features": {name: chance.gauss(0, 1) if chance.random() < 0.99 else "text" for name in names},
            "prediction": chance.random(),
        }
        if number == 5:
            event["features"]["c"] = chance.choice(["a", "b", None])
        data = b"rubbish" if chance.random() < 0.01 else json.dumps(event).encode()
        records.append(Record(offset, START_MS + offset * 10, None, data))
    return records


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 150), st.sampled_from([200, 1_000_000]))
def test_rows_that_wait_for_more_of_their_model_change_no_number(seed: int, length: int, most: int) -> None:
    records, chance = fleet(seed, 1200), random.Random(seed)
    whole, polled = started(), started()
    expected = outcomes([whole.process(HERE, records)])
    effects, longest = list[Effects](), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observer_module, "MOST_WAITING", most)
        for start in range(0, len(records), length):
            effects += read(polled, records[start : start + length])
            waiting = polled._partitions[HERE]
            found = sum(unit.waiting.values for unit in waiting.waiting.values())
            assert found == waiting.waiting_values <= most
            longest = max(longest, found)
            if chance.random() < 0.2:
                list(polled.profiles_due(start * 100))
            if chance.random() < 0.1:
                saved(polled)
    assert longest
    assert states(polled) == states(whole)
    assert outcomes([*effects, polled.drain_aside()]) == expected


def test_a_torn_checkpoint_and_a_zombies_record_count_every_event_once() -> None:
    records = log(5, 900)
    whole = started([reference()])
    whole.process(HERE, records)
    observer = started([reference()])
    observer.process(HERE, records[:300])
    first = saved(observer)
    observer.process(HERE, records[300:600])
    second = saved(observer)
    one = checkpoints.unit_key(HERE, UnitKey("m", "1", None))
    for torn in ({**first, one: second[one]}, {**second, one: first[one]}, first, second):
        again = Observer(observe_settings(look_events=640), [reference()])
        seek = again.assign(HERE, torn)
        assert seek in (300, 600)
        again.process(HERE, records[seek:700])
        again.process(HERE, records[700:])
        assert states(again) == states(whole)


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 10_000), st.integers(1, 300), st.integers(0, 3), st.booleans(), st.booleans())
def test_a_checkpoint_in_a_break_between_two_units_counts_every_event_once(
    seed: int, length: int, at: int, settled: bool, torn: bool
) -> None:
    records = log(seed, 600)
    whole = started([reference()])
    whole.process(HERE, records)
    observer, store = started([reference()]), dict[bytes, bytes]()
    observer.process(HERE, records[:100])
    if settled:
        store.update(saved(observer))
    run = None
    for number, _ in enumerate(observer.steps(HERE, records[100 : 100 + length], Effects())):
        if number == at:
            run = observer.checkpoint(HERE)
            assert run.next == 100
            store.update(run.encode(unit) for unit in run.dirty[: 1 if torn else None])
    if run is not None and not torn:
        store.update([run.manifest()])
    assert observer.next_offset(HERE) == 100 + length
    again = Observer(observe_settings(look_events=640), [reference()])
    again.process(HERE, records[again.assign(HERE, store) or 0 :])
    assert states(again) == states(whole)


def test_a_reference_that_comes_in_a_break_begins_its_epoch_after_all_that_was_read() -> None:
    records = log(3, 500)
    observer = started()
    observer.process(HERE, records[:200])
    before = observer._partitions[HERE].position
    for _ in observer.steps(HERE, records[200:], Effects()):
        if observer._partitions[HERE].position > before:
            observer.set_reference(reference())
    saved(observer)
    switched = next(p for p in observer.profiles_due(0, force=True) if p.version == "1")
    assert (switched.epoch.reference, switched.epoch.first_offset) == (reference().digest, 500)


def test_a_new_reference_begins_an_epoch_that_waits_for_its_checkpoint() -> None:
    observer = started()
    records = [r for r in log(3, 800) if r.value and b'"2"' not in r.value]
    observer.process(HERE, records[:400])
    assert observer.urgent() == [HERE]
    assert list(observer.profiles_due(10_000)) == []
    saved(observer)
    learning = list(observer.profiles_due(10_000))
    assert {p.epoch.reference for p in learning} == {None}
    observer.process(HERE, records[400:500])
    last = observer.set_reference(reference())
    assert {p.epoch.reference for p in last} == {None}
    assert last[-1].events > learning[-1].events
    assert observer.set_reference(reference()) == []
    observer.process(HERE, records[500:])
    assert list(observer.profiles_due(20_000, force=True)) == []
    saved(observer)
    now = list(observer.profiles_due(30_000, force=True))
    assert now[0].epoch.reference == reference().digest
    assert now[0].epoch.first_offset == records[499].offset + 1
    assert now[0].events == last[-1].events + now[0].epoch_events
    observer.set_reference(remove=ModelKey("m", "1"))
    saved(observer)
    assert next(observer.profiles_due(50_000, force=True)).epoch.reference is None


def test_a_reference_changed_while_down_begins_a_new_epoch_with_the_totals() -> None:
    observer = started([reference(0)])
    observer.process(HERE, log(3, 300))
    checkpoint = saved(observer)
    before = {p.version: p.events for p in observer.profiles_due(0, force=True)}
    again = started([reference(1)], checkpoint)
    assert again.urgent() == [HERE]
    saved(again)
    after = {p.version: p for p in again.profiles_due(0, force=True)}
    assert {version: p.events for version, p in after.items()} == before
    assert (after["1"].epoch_events, after["1"].epoch.first_offset) == (0, 300)
    assert after["2"].epoch_events == before["2"]


def test_limits_refuse_new_units_and_leave_the_known_alone() -> None:
    observer = Observer(observe_settings(max_models=2, max_versions=2, max_segments=2, max_units=5))
    observer.assign(HERE)

    def event(offset: int, model: str, version: str, segment: str | None = None) -> Record:
        body = {"model": model, "version": version, "segment": segment, "features": {"x": 1.0}}
        return Record(offset, START_MS, None, json.dumps(body).encode())

    names = [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"), ("c", "1"), ("a", "1")]
    effects = observer.process(HERE, [event(i, *name) for i, name in enumerate(names)])
    assert effects.outcomes == {
        ("a", "accepted"): 3,
        ("b", "accepted"): 1,
        ("a", "unknown_model"): 1,
        ("c", "unknown_model"): 1,
    }
    assert effects.limited == {"versions": 1, "models": 1}
    effects = observer.process(HERE, [event(10 + i, "b", "1", s) for i, s in enumerate("xyz")])
    assert effects.limited == {"units": 1}


def test_broken_and_outdated_checkpoints_are_refused_by_name() -> None:
    observer = started()
    observer.process(HERE, log(3, 200))
    checkpoint = saved(observer)
    unit = checkpoints.unit_key(HERE, UnitKey("m", "1", None))
    fresh = Observer(observe_settings())
    with pytest.raises(CheckpointError, match=r"inference-events/1.*m/1.*no checkpoint"):
        fresh.assign(HERE, {k: v for k, v in checkpoint.items() if k != unit})
    with pytest.raises(CheckpointError, match=r"m/1.*damaged"):
        fresh.assign(HERE, {**checkpoint, unit: checkpoint[unit].replace(b"\x28\xb5\x2f\xfd", b"none")})
    with pytest.raises(CheckpointError, match=r"inference-events/1.*begins at 900"):
        fresh.assign(HERE, checkpoint, beginning=900)
    with pytest.raises(CheckpointError, match="not the key of a checkpoint"):
        fresh.assign(HERE, {b"what": b""})
    for key, value in checkpoint.items():
        assert checkpoints.describe(key, value).stamp == 200


def free_text(features: int, length: int, events: int, model: str = "m") -> list[Record]:
    chance = random.Random(1)
    found = []
    for offset in range(events):
        texts = {f"f{n}": "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=length)) for n in range(features)}
        body = json.dumps({"id": str(offset), "model": model, "version": "1", "features": texts}).encode()
        found.append(Record(offset, START_MS + offset, None, body))
    return found


@pytest.mark.parametrize(("features", "length", "events"), [(24, 256, 1_000), (200, 200, 300)])
def test_red_free_text_stays_within_a_checkpoint_and_says_so(features: int, length: int, events: int) -> None:
    observer = Observer(observe_settings())
    observer.assign(HERE)
    limited: dict[str, int] = {}
    for start in range(0, events, 250):
        effects = observer.process(HERE, free_text(features, length, events)[start : start + 250])
        for name, times in effects.limited.items():
            limited[name] = limited.get(name, 0) + times
    checkpoint = observer.checkpoint(HERE)
    key, value = checkpoint.encode(UnitKey("m", "1", None))
    assert len(value) < 4_000_000
    assert limited["category_texts"] == 1
    (profile,) = observer._partitions[HERE].units[UnitKey("m", "1", None)].hand_out(1 << 62)[-1:] or [
        observer._partitions[HERE].units[UnitKey("m", "1", None)]._counts.profile()
    ]
    assert profile.suppressed["category_texts"] == 1
    assert all(feature.count == profile.events for feature in profile.features)
    manifest = checkpoint.manifest()
    again = Observer(observe_settings())
    assert again.assign(HERE, dict([(key, value), manifest])) == events


def test_records_below_the_manifest_make_no_dead_letters_again_when_a_unit_is_read_again() -> None:
    records = log(5, 900)
    observer = started([reference()])
    letters = [letter.record.offset for letter in observer.process(HERE, records[:300]).dead_letters]
    first = saved(observer)
    letters += [letter.record.offset for letter in observer.process(HERE, records[300:600]).dead_letters]
    assert [offset for offset in letters if offset >= 300], "some lie where records are read again"
    one = checkpoints.unit_key(HERE, UnitKey("m", "1", None))
    again = Observer(observe_settings(look_events=640), [reference()])
    assert again.assign(HERE, {**saved(observer), one: first[one]}) == 300
    effects = again.process(HERE, records[300:])
    letters += [letter.record.offset for letter in effects.dead_letters]
    assert letters == [record.offset for record in records if record.value == b"rubbish"]
    assert outcomes([effects])["", "invalid"] == sum(offset >= 600 for offset in letters)


def test_a_unit_that_is_ahead_of_its_partition_is_saved_as_far_as_it_is() -> None:
    """It has begun a new epoch, so the next checkpoint holds it before the partition is read that far."""
    records = log(5, 900)
    observer = started([reference()])
    observer.process(HERE, records[:300])
    first = saved(observer)
    observer.process(HERE, records[300:600])
    one = checkpoints.unit_key(HERE, UnitKey("m", "1", None))
    torn = {**first, one: saved(observer)[one]}
    under_another = Observer(observe_settings(look_events=640), [reference(1)])
    assert under_another.assign(HERE, torn) == 300
    torn.update(saved(under_another))
    again = started([reference(1)], torn)
    again.process(HERE, records[300:])
    whole = started([reference()])
    whole.process(HERE, records)
    saved(again)
    saved(whole)
    one_run, other = (
        {p.version: (p.events, p.late, p.duplicate) for p in made.profiles_due(0, force=True)}
        for made in (again, whole)
    )
    assert one_run == other


def test_ids_of_both_generations_are_known_after_a_restore() -> None:
    def event(offset: int, name: int) -> Record:
        body = {"id": f"e{name}", "model": "m", "ts": START_MS, "features": {"x": 1.0}}
        return Record(offset, START_MS, None, json.dumps(body).encode())

    made = Observer(observe_settings(recent_ids=100))
    made.assign(HERE)
    made.process(HERE, [event(offset, offset) for offset in range(150)])
    again = Observer(observe_settings(recent_ids=100))
    again.assign(HERE, saved(made))
    effects = again.process(HERE, [event(150 + offset, offset) for offset in range(150)])
    assert effects.outcomes == {("m", "duplicate"): 150}


def test_a_checkpoint_in_a_break_holds_no_record_whose_effects_were_not_returned() -> None:
    records, observer = log(5, 600), started([reference()])
    observer.process(HERE, records[:100])
    seen = set()
    for _ in observer.steps(HERE, records[100:400], Effects()):
        assert observer.checkpoint(HERE).next == 100
        seen.add(observer._partitions[HERE].position)
    assert seen == {100, 400}, "some breaks come after the rows were handed to their units"
    assert observer.checkpoint(HERE).next == 400
