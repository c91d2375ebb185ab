"""Everything that reads bytes from outside. A target returns whether it accepted them; any exception is a finding."""

import json
import math
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from detectors.columns import MISSING, PRESENT, Columns
from detectors.errors import CheckpointError, DriftlineError, FormatError, ReferenceError, SettingsError
from detectors.features import UnitKey
from detectors.incidents.incident import Change
from detectors.outcomes import measures, task_of
from detectors.reference import reference as references
from detectors.reference.builder import build_reference
from stream.formats import registry
from stream.formats.columns import batches_of
from stream.formats.decoder import Decoded, Decoder
from stream.formats.message import Message
from stream.formats.registry import FORMATS
from stream.formats.row import Limits, Rules
from stream.formats.schemas import Schema, Schemas
from stream.judge import snapshot
from stream.judge.effects import Health
from stream.judge.judge import Judge
from stream.judge.settings import judge_settings
from stream.judge.shell import table
from stream.judge.shell.desk import JudgeDesk
from stream.metrics.registry import Metrics
from stream.observe.observer import Observer
from stream.settings import settings as config
from stream.topics import checkpoints, requests
from stream.topics.checkpoints import UnitRecord
from stream.topics.record import Partition, Record
from stream.topics.requests import ForgetRequest, IncidentRequest
from stream.topics.views import Views
from tests.formats.contract import cases_of
from tests.settings.defaults import bank_settings, observe_settings

HERE = Partition("inference-events", 0)
NOW_MS = 1_763_700_000_000
UNIT = UnitKey("m", "1", None)
SETTINGS = observe_settings(
    bank=bank_settings(detectors=()), message=Limits(1 << 15, 50, 10_000), look_events=4, recent_ids=20
)
RULES = {"m": Rules(segment_by="c", ignore=frozenset(["ignored"]), categorical=frozenset(["code"]))}


class Target(NamedTuple):
    """One target. ``share``: its share of all inputs."""

    name: str
    share: float
    corpus: list[bytes]
    run: Callable[[bytes], bool]


def byte_targets() -> list[Target]:
    """The targets that need no event loop. HTTP has modules of its own."""
    return [_decoder(), _formats(), _labels(), _checkpoints(), _references(), _judge(), _settings(), _topics()]


def event(**more: object) -> bytes:
    plain = {
        "id": "e1",
        "model": "m",
        "version": "1",
        "ts": NOW_MS,
        "features": {"x": 1.5, "y": 2, "c": "a", "flag": True, "code": 7},
        "prediction": 0.25,
        "scores": {"a": 0.5},
        "latency_ms": 3.5,
        "error": False,
        "env": {"python": "3.11"},
    }
    return json.dumps({**plain, **more}).encode()


def _decoder() -> Target:
    columns = {
        "model": "m",
        "ts": [NOW_MS] * 3,
        "features": {"x": [1, 2, 3], "c": ["a", "b", None]},
        "prediction": [1, 2, 3],
    }
    corpus = [
        event(), event(version=3), event(ts="2026-01-01T00:00:00Z", segment="s"), event(features={}),
        b"[" + event() + b"," + event(id=2) + b"]", json.dumps(columns).encode(), event(features={"v": [1, 2]}),
        json.dumps(json.loads(event()), indent=1).encode(),
    ]  # fmt: skip
    decoder, observer, offset = Decoder(RULES, SETTINGS.message), Observer(SETTINGS), 0
    observer.assign(HERE)

    def run(data: bytes) -> bool:
        """Both paths give the same, and every record becomes rows or a dead letter with a reason."""
        nonlocal offset
        offset += 1
        record = Record(offset, NOW_MS + offset, None, data)
        fast, general = decoder.decode(HERE, [record]), decoder.decode(HERE, [record], fast=False)
        assert [r for _, r in fast.rejects] == [r for _, r in general.rejects], "the paths refuse differently"
        assert _meaning(fast) == _meaning(general), "the paths read differently"
        effects = observer.process(HERE, [record])
        assert effects.outcomes, "neither accepted nor refused"
        assert all(letter.reason for letter in effects.dead_letters), "refused without a reason"
        return not effects.dead_letters

    return Target("decoder", 0.5, corpus, run)


AVRO = json.dumps(
    {
        "type": "record",
        "name": "R",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "x", "type": ["null", "double"]},
            {"name": "l", "type": {"type": "array", "items": "float"}},
        ],
    }
)


def _formats() -> Target:
    """Every format's samples, with and without the settings of a topic, and with the headers of each."""
    schemas = Schemas(configured=True)
    for number in range(8):
        schemas.put(str(number), Schema("AVRO", AVRO))
    cases = [cases_of(name) for name in FORMATS]
    samples = [sample for own in cases for sample, _ in (*own.accepted.values(), *own.broken.values())]
    corpus = [sample.value for sample in samples if sample.value] + [b"\0\0\0\0\7\2a\2" + bytes(8) + b"\0"]
    headers = list(dict.fromkeys(sample.headers for sample in samples))
    rules = list({repr(sample.rules): sample.rules for sample in samples}.values())
    turn = 0

    def run(data: bytes) -> bool:
        """Events, or a FormatError."""
        nonlocal turn
        turn += 1
        record = Record(turn, NOW_MS, b"k", data, headers[turn % len(headers)])
        message = Message("t", record, SETTINGS.message.event_bytes, rules[turn // 7 % len(rules)], schemas)
        reason = ""
        try:
            rows = registry.read(message, RULES, SETTINGS.message)
        except FormatError as error:
            rows, reason = [], str(error) or "none"
        assert reason != "none", "refused without a reason"
        if reason:
            return False
        batches_of(rows, [0] * len(rows), np.zeros(len(rows), np.int64))
        return True

    return Target("formats", 0.2, corpus, run)


def _labels() -> Target:
    """Labels of events that were read, and of unknown events."""

    def label(**more: object) -> bytes:
        return json.dumps({"id": "e1", "model": "m", "label": 1, "ts": NOW_MS + 1_000, **more}).encode()

    corpus = [
        label(), label(label="a"), label(label=0.25), label(label=True), label(id=7), label(ts="2026-01-01T00:00:00Z"),
        label(model="other"), b"[" + label(id="e2") + b"," + label(label=-1e300) + b"]",
    ]  # fmt: skip
    place, offset = Partition("inference-labels", 0), 0
    predictions: list[object] = [0.25, 1, "a", True, -1e300]
    observer = Observer(SETTINGS)

    def begun() -> Observer:
        fresh = Observer(SETTINGS)
        fresh.assign(HERE)
        fresh.process(HERE, [Record(n, NOW_MS, None, event(id=f"e{n}", prediction=predictions[n])) for n in range(5)])
        return fresh

    def run(data: bytes) -> bool:
        """Labels are read or refused with a reason. No more are joined than predicted, and the state can be saved."""
        nonlocal offset, observer
        if offset % 1_000 == 0:
            observer = begun()
        offset += 1
        effects = observer.join_labels(place, [Record(offset, NOW_MS + offset, None, data)])
        assert all(letter.reason for letter in effects.dead_letters), "refused without a reason"
        assert effects.dead_letters or any(kind == "read" for _, kind in effects.outcomes), "neither read nor refused"
        saving = observer.checkpoint(HERE)
        for unit in saving.dirty:
            saving.encode(unit)
        saving.acknowledged()
        for profile in observer.profiles_due(0, force=True):
            assert profile.outcomes is not None
            total = profile.outcomes.total
            assert 0 <= total.correct <= total.labelled <= total.predicted, "more labels than predictions"
            assert all(map(math.isfinite, measures(total, task_of(total)).values())), "a measure that is no number"
        return not effects.dead_letters

    return Target("labels", 0.08, corpus, run)


def _meaning(decoded: Decoded) -> object:
    """Units, times and every value with its status. A column without any value is left out."""
    return sorted(
        (
            (str(c.unit), len(c), c.timestamps_ms.tolist(), c.next_offsets.tolist(), _values(c))
            for c in (batch.columns for batch in decoded.batches)
        ),
        key=repr,
    )


def _values(columns: Columns) -> list[object]:
    said: list[object] = []
    for at, name in enumerate(columns.numeric):
        status = [PRESENT] * len(columns) if columns.number_status is None else columns.number_status[:, at].tolist()
        said.append((name, status, columns.numbers[:, at].tolist()))
    for at, spec in enumerate(columns.categorical):
        given = columns.category_status
        status = [PRESENT] * len(columns) if given is None else given[:, at].tolist()
        said.append((spec.feature, status, [str(category) for category in columns.categories[at]]))
    return sorted((one for one in said if set(one[1]) != {MISSING}), key=repr)  # type: ignore[index]


def _saved() -> dict[bytes, bytes]:
    rng = np.random.default_rng(1)
    reference = build_reference("m", "1", {"x": rng.normal(size=100)})
    observer = Observer(SETTINGS, [reference])
    observer.assign(HERE)
    observer.process(HERE, [Record(i, NOW_MS + i * 500, None, event(id=i, ts=NOW_MS + i * 500)) for i in range(20)])
    run = observer.checkpoint(HERE)
    return dict([*(run.encode(unit) for unit in run.dirty), run.manifest()])


def _checkpoints() -> Target:
    saved = _saved()
    keys, values = list(saved), list(saved.values())
    plain = [checkpoints.unit_blob(checkpoints.decode_unit(value, ""), "") for value in values[:-1]]
    corpus = [*keys, *values, *plain]
    turn = 0

    def run(data: bytes) -> bool:
        """The bytes as a key, a unit's record, a manifest, and as a snapshot in a valid envelope."""
        nonlocal turn
        turn += 1
        try:
            if turn % 4 == 0:
                checkpoints.parse_key(data)
                return True
            if turn % 4 == 1:
                broken = {**saved, keys[0]: data}
            elif turn % 4 == 2:
                broken = {**saved, keys[-1]: data}
            else:
                envelope = checkpoints.encode_unit(20, SETTINGS.bank.digest, None, data, "", 1 << 22)
                assert msgspec.msgpack.decode(envelope, type=UnitRecord).size == len(data)
                broken = {**saved, keys[0]: envelope}
            for key, value in broken.items():
                checkpoints.describe(key, value)
            Observer(SETTINGS).assign(HERE, broken)
        except CheckpointError:
            return False
        return True

    return Target("checkpoints", 0.06, corpus, run)


def _references() -> Target:
    rng = np.random.default_rng(2)
    made = build_reference("m", "1", {"x": rng.normal(size=200), "c": ["a", "b"] * 100, "flag": [True, False] * 100})
    corpus = [references.encode(made), references.encode(msgspec.structs.replace(made, features=made.features[:1]))]
    judging = judge_settings(config.Settings())

    def run(data: bytes) -> bool:
        """A reference that is accepted must work in the observer and the judge."""
        try:
            reference = references.decode(data, "fuzz")
        except ReferenceError:
            return False
        observer = Observer(SETTINGS, [reference])
        observer.assign(HERE)
        observer.process(HERE, [Record(0, NOW_MS, None, event(model=reference.model, version=reference.version))])
        observer.checkpoint(HERE).acknowledged()
        judge = Judge(judging, [reference])
        for profile in observer.profiles_due(0, force=True):
            judge.on_profile(profile, NOW_MS)
        return True

    return Target("references", 0.05, corpus, run)


def _judge() -> Target:
    observer, rng = Observer(SETTINGS), np.random.default_rng(3)
    reference = build_reference("m", "1", {"x": rng.normal(size=100)})
    observer = Observer(SETTINGS, [reference])
    observer.assign(HERE)
    observer.process(HERE, [Record(i, NOW_MS + i * 500, None, event(id=i)) for i in range(20)])
    run_ = observer.checkpoint(HERE)
    for unit in run_.dirty:
        run_.encode(unit)
    run_.acknowledged()
    settings = judge_settings(config.Settings())
    judge = Judge(settings, [reference])
    judge.on_profiles(list(observer.profiles_due(0, force=True)), NOW_MS)
    whole = judge.snapshot(UNIT)
    corpus = [whole, snapshot.unpack(UNIT, whole)]
    turn = 0

    def run(data: bytes) -> bool:
        """The bytes as the envelope, and as the state in a valid envelope."""
        nonlocal turn
        turn += 1
        if turn % 2:
            data = snapshot.pack(data)
        fresh = Judge(settings, [reference])
        try:
            fresh.restore(UNIT, data)
        except CheckpointError:
            return False
        return True

    return Target("judge snapshots", 0.02, corpus, run)


def _settings() -> Target:
    corpus = [
        b"kafka:\n  bootstrap_servers: a:9092,b:9092\n  security_protocol: SSL\n",
        b"models:\n  fraud:\n    segment_by: country\n    ignore: [id]\n    features:\n      x: {kind: numeric}\n",
        b"topics: {events: [a, b], labels: []}\nlimits:\n  models: 10\nhttp: {port: 0, token: secret}\n",
        b"false_alarms_per_model_per_month: 1\ndetection:\n  detectors: [adwin]\nblind:\n  lag_seconds: 5.5\n",
    ]

    def run(data: bytes) -> bool:
        with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
            file.write(data)
            file.flush()
            try:
                config.masked(config.load(Path(file.name), {}))
            except SettingsError:
                return False
            except DriftlineError as error:
                raise AssertionError(f"another error than SettingsError: {error}") from error
        return True

    return Target("settings", 0.02, corpus, run)


def _topics() -> Target:
    """Records of driftline's own topics, to which anybody may write: an unreadable one must not end a worker."""
    observer = Observer(SETTINGS)
    observer.assign(HERE)
    observer.process(HERE, [Record(i, NOW_MS + i * 500, None, event(id=i)) for i in range(5)])
    saving = observer.checkpoint(HERE)
    for unit in saving.dirty:
        saving.encode(unit)
    saving.acknowledged()
    profile = msgspec.json.encode(next(observer.profiles_due(0, force=True)))
    action = requests.encode(IncidentRequest(requests.SCHEMA, "a1", "i1", Change.ACK, "ann", NOW_MS, "seen"))
    incident = {"id": "i1", "model": "m", "version": "1", "segment": None, "opened_at_ms": NOW_MS, "features": []}
    view = {"model": "m", "version": "1", "segment": None, "state": "stable", "events": 5, "features": []}
    row = table.encode_stored(UNIT, 3, b"blob", (NOW_MS, 7))
    views, desk_settings = Views(), config.Settings()
    desk = JudgeDesk(desk_settings, Judge(judge_settings(desk_settings)), Metrics(), lambda _: Health())

    def run(data: bytes) -> bool:
        """The bytes as the value of each record, and as a key."""
        desk.apply_request(data[:40], data)
        desk.apply_request(requests.FORGET_KEY + data[:40], data)
        desk.apply_reference(data[:40], data)
        views.apply_view(data[:40], data)
        views.apply_incident(data[:40], data)
        with suppress(FormatError):
            table.decode_profile(data)
        try:
            table.decode_stored(data[:40], data)
        except CheckpointError:
            return False
        return True

    forgotten = requests.encode(ForgetRequest(requests.SCHEMA, "f1", *UNIT, "ann", NOW_MS, "retired"))
    corpus = [profile, action, forgotten, json.dumps(incident).encode(), json.dumps(view).encode(), row]
    return Target("topics", 0.03, corpus, run)
