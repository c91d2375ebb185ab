"""``driftline checkpoints`` on a real Kafka: saved is listed, broken is named, dropped is gone."""

import asyncio
import io
import json
import uuid
from pathlib import Path
from typing import NamedTuple

import pytest
from aiokafka import AIOKafkaProducer

from detectors.features import UnitKey
from stream.backends.kafka.cluster import KafkaCluster
from stream.commands import cli
from stream.settings.settings import KafkaSettings
from stream.topics import checkpoints
from stream.topics.record import Partition

pytestmark = pytest.mark.kafka

PLACE = Partition("inference-events", 0)
FRAUD, CHURN = UnitKey("fraud", "3", None), UnitKey("churn", "1", "DE/west")


class Saved(NamedTuple):
    """A topic with two saved units, and the command's options for it."""

    servers: str
    topic: str
    options: list[str]

    def write(self, key: bytes, value: bytes | None) -> None:
        asyncio.run(self._write(key, value))

    async def _write(self, key: bytes, value: bytes | None) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.servers) as producer:
            await producer.send_and_wait(self.topic, value, key, partition=0)


@pytest.fixture
def saved(kafka, tmp_path: Path) -> Saved:  # type: ignore[no-untyped-def]
    topic = f"{uuid.uuid4().hex[:8]}-checkpoints"
    asyncio.run(_create(kafka.bootstrap_servers, topic))
    path = tmp_path / "driftline.yaml"
    path.write_text(f"topics: {{checkpoints: {topic}}}", encoding="utf-8")
    found = Saved(
        kafka.bootstrap_servers, topic, ["--config", str(path), "--bootstrap-servers", kafka.bootstrap_servers]
    )
    for unit, stamp in ((FRAUD, 40), (CHURN, 42)):
        value = checkpoints.encode_unit(stamp, "settings", None, b"state" * 100, "here", 100_000)
        found.write(checkpoints.unit_key(PLACE, unit), value)
    found.write(checkpoints.manifest_key(PLACE), checkpoints.encode_manifest(42, {FRAUD: 40, CHURN: 42}))
    return found


async def _create(servers: str, topic: str) -> None:
    cluster = KafkaCluster(KafkaSettings(bootstrap_servers=servers))
    await cluster.start()
    await cluster.create(topic, 2, 1, {"cleanup.policy": "compact"})
    await cluster.stop()


def answer(capsys: pytest.CaptureFixture[str]) -> dict:  # type: ignore[type-arg]
    return json.loads(capsys.readouterr().out)


def test_every_unit_is_listed_with_its_stamp(saved: Saved, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["checkpoints", "list", *saved.options, "--json"]) == 0
    stamps = {tuple(unit["unit"] or ()): unit["stamp"] for unit in answer(capsys)["units"]}
    assert stamps == {(): 42, tuple(FRAUD): 40, tuple(CHURN): 42}
    assert cli.run(["checkpoints", "list", *saved.options]) == 0
    assert "fraud/3" in capsys.readouterr().out


def test_what_is_whole_is_said_to_be(saved: Saved, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["checkpoints", "verify", *saved.options]) == 0
    assert "3 records are correct" in capsys.readouterr().out


def test_a_broken_unit_and_a_missing_one_are_named(saved: Saved, capsys: pytest.CaptureFixture[str]) -> None:
    saved.write(checkpoints.unit_key(PLACE, FRAUD), b"torn")
    saved.write(checkpoints.unit_key(PLACE, CHURN), None)
    assert cli.run(["checkpoints", "verify", *saved.options]) == 2
    shown = capsys.readouterr().out
    assert "fraud" in shown
    assert "names churn" in shown
    assert "driftline checkpoints drop" in shown


def test_dropping_a_model_leaves_a_whole_rest(saved: Saved, capsys: pytest.CaptureFixture[str]) -> None:
    what = ["--partition", "0", "--model", "fraud", "--yes"]
    assert cli.run(["checkpoints", "drop", *what, *saved.options]) == 0
    capsys.readouterr()
    assert cli.run(["checkpoints", "verify", *saved.options]) == 0
    capsys.readouterr()
    assert cli.run(["checkpoints", "list", *saved.options, "--json"]) == 0
    assert [tuple(unit["unit"] or ()) for unit in answer(capsys)["units"]] == [(), tuple(CHURN)]


def test_dropping_a_partition_leaves_nothing(saved: Saved, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["checkpoints", "drop", "--partition", "0", "--yes", *saved.options]) == 0
    assert cli.run(["checkpoints", "drop", "--partition", "0", "--yes", *saved.options]) == 2
    assert "holds nothing for all units of partition 0" in capsys.readouterr().err


def test_without_a_yes_nothing_is_dropped(
    saved: Saved, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert cli.run(["checkpoints", "drop", "--partition", "0", *saved.options]) == 130
    capsys.readouterr()
    assert cli.run(["checkpoints", "list", *saved.options, "--json"]) == 0
    assert len(answer(capsys)["units"]) == 3
