"""What the version before the change of folders wrote is read and continued: references, checkpoints, judge rows,
profiles.

``data/`` was written by that version: two partitions of one model with labels, environments, late events and a model
that learns; their checkpoints after 700 records, and rows of the judge in the middle of the profiles after them. The
expected results are that version's own.
"""

import base64
import json
import lzma
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from detectors.reference.reference import Reference, decode, encode
from stream.judge.judge import Judge
from stream.judge.settings import judge_settings
from stream.judge.shell.table import decode_profile, decode_stored
from stream.observe.observer import Observer
from stream.settings.settings import Settings
from stream.topics.record import Partition, Record
from tests.settings.defaults import observe_settings

DATA = Path(__file__).parent / "data"


def stored(name: str) -> Any:
    return json.loads(lzma.decompress((DATA / f"{name}.json.xz").read_bytes()))


def reference() -> Reference:
    return decode((DATA / "reference.json").read_bytes(), "reference.json")


def alike(found: Any, wanted: Any, where: str = "") -> None:
    """Texts and integers are equal. Floats differ by less than 1e-9: processors round differently."""
    if isinstance(wanted, dict):
        assert found.keys() >= wanted.keys(), where
        for key, value in wanted.items():
            alike(found[key], value, f"{where}.{key}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), where
        for at, (one, other) in enumerate(zip(found, wanted, strict=True)):
            alike(one, other, f"{where}[{at}]")
    elif isinstance(wanted, float) and isinstance(found, int | float):
        assert math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-9), where
    else:
        assert found == wanted, where


def test_a_reference_of_the_version_before_is_read_and_written_the_same() -> None:
    assert encode(reference()) == (DATA / "reference.json").read_bytes()


@pytest.mark.parametrize("partition", ["0", "1"])
def test_a_checkpoint_of_the_version_before_is_restored_and_continued(partition: str) -> None:
    given = stored("checkpoints")[partition]
    here = Partition("inference-events", int(partition))
    observer = Observer(observe_settings(look_events=150), [reference()])
    observer.assign(here, {base64.b64decode(key): base64.b64decode(value) for key, value in given["checkpoint"]})
    observer.process(here, [Record(at, ms, key, value.encode()) for at, ms, key, value in given["more"]])
    found = sorted(observer.profiles_due(10**12, force=True), key=lambda p: str(p.unit))
    alike([json.loads(msgspec.json.encode(profile)) for profile in found], given["after"])


def test_rows_of_the_judge_of_the_version_before_are_restored_and_continued() -> None:
    given = stored("judge")
    judge = Judge(judge_settings(Settings()), [reference()])
    for key, value in given["rows"]:
        row = decode_stored(base64.b64decode(key), base64.b64decode(value))
        judge.restore(row.unit, row.blob)
    for at, profile in enumerate(given["more"]):
        place = given["first_offset"] + at
        judge.on_profiles([decode_profile(json.dumps(profile).encode())], given["now_ms"] + (place - 2) * 100, place)
    views = {"/".join(map(str, unit)): judge.model_view(unit) for unit in judge.units}
    alike(json.loads(msgspec.json.encode(judge.incidents())), given["incidents"])
    alike(json.loads(msgspec.json.encode(views)), given["views"])


def test_silence_after_rows_of_the_version_before_is_judged_by_their_gaps_until_hours_are_known() -> None:
    given = stored("judge")
    judge = Judge(judge_settings(Settings()), [reference()])
    for key, value in given["rows"]:
        row = decode_stored(base64.b64decode(key), base64.b64decode(value))
        judge.restore(row.unit, row.blob)
    unit = next(unit for unit in judge.units if unit.segment is None)
    sight = judge._units[unit].standing.sight
    assert sight.activity.snapshot() is None
    assert sight.activity.rhythm.mean_ms > 0
    now_ms, patience_ms = given["now_ms"], round(sight.patience_ms)
    judge.on_tick(now_ms)
    assert judge.state(unit) != "blind"
    judge.on_tick(now_ms + patience_ms + 1_000)
    assert judge.state(unit) == "blind"
    assert "no event for more than" in judge.model_view(unit)["reason"]
    for key, value in given["rows"]:
        again = decode_stored(base64.b64decode(key), base64.b64decode(value)).unit
        assert judge.snapshot(again)
