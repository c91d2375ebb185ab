"""Topics on a real Kafka are created, verified, grown and refused, and a survey reads them."""

import asyncio
import json
import uuid
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from detectors.errors import BrokerError
from stream.backends.kafka.cluster import KafkaCluster
from stream.backends.kafka.sample import sample
from stream.commands import cli
from stream.settings import settings as config
from stream.settings.settings import KafkaSettings, Settings, TopicSettings
from stream.topics import rules
from stream.topics.rules import Level

pytestmark = pytest.mark.kafka


def settings_for(bootstrap_servers: str) -> Settings:
    """Settings with topics that no other test uses."""
    run = uuid.uuid4().hex[:8]
    names = {field.name: f"{run}-{field.name}" for field in msgspec.structs.fields(TopicSettings)}
    topics = TopicSettings(**{**names, "events": (f"{run}-events",), "labels": (f"{run}-labels",)})
    kafka = KafkaSettings(bootstrap_servers=bootstrap_servers, group_id=run, partitions=3, replication_factor=1)
    return Settings(kafka=kafka, topics=topics)


async def test_what_is_missing_is_created_and_then_found_well(kafka) -> None:  # type: ignore[no-untyped-def]
    settings = settings_for(kafka.bootstrap_servers)
    first = await rules.ensure(settings, KafkaCluster(settings.kafka), create=True)
    assert sum(finding.level is Level.CREATED for finding in first) == 2 + len(settings.topics.own()) + 1
    second = await rules.ensure(settings, KafkaCluster(settings.kafka), create=True)
    assert {finding.level for finding in second if finding.topic} == {Level.OK}
    assert [finding.text for finding in second if "compact" in finding.text]
    rules.refuse(second)


async def test_a_wrong_topic_is_refused_and_left_as_it_is(kafka) -> None:  # type: ignore[no-untyped-def]
    settings = settings_for(kafka.bootstrap_servers)
    cluster = KafkaCluster(settings.kafka)
    await cluster.start()
    await cluster.create(settings.topics.references, 3, 1, {"cleanup.policy": "delete"})
    await cluster.stop()
    findings = await rules.ensure(settings, KafkaCluster(settings.kafka), create=True)
    with pytest.raises(BrokerError) as caught:
        rules.refuse(findings)
    assert "cleanup.policy is delete and must be compact" in str(caught.value)
    assert "max.message.bytes is 1,048,588" in str(caught.value)


async def test_checkpoints_grow_with_the_events(kafka) -> None:  # type: ignore[no-untyped-def]
    settings = settings_for(kafka.bootstrap_servers)
    await rules.ensure(settings, KafkaCluster(settings.kafka), create=True)
    cluster = KafkaCluster(settings.kafka)
    await cluster.start()
    await cluster.grow(settings.topics.event_names[0], 5)
    await cluster.stop()
    await rules.ensure(settings, KafkaCluster(settings.kafka), create=True)
    findings = await rules.ensure(settings, KafkaCluster(settings.kafka), create=False)
    assert [f.text[:12] for f in findings if f.topic == settings.topics.checkpoints] == ["5 partitions"]


async def test_no_broker_is_one_clear_error() -> None:
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1: cannot connect"):
        await rules.ensure(Settings(kafka=settings), KafkaCluster(settings), create=True)


async def test_a_sample_holds_the_newest_of_every_partition_without_a_group(kafka) -> None:  # type: ignore[no-untyped-def]
    settings = settings_for(kafka.bootstrap_servers)
    topic = settings.topics.event_names[0]
    await rules.ensure(settings, KafkaCluster(settings.kafka), create=True)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        for number in range(60):
            await producer.send(topic, str(number).encode(), partition=number % 3)
    told: list[int] = []
    newest = await sample(settings.kafka, topic, 30, 20, oldest=False, read=told.append)
    assert newest.held == 60
    assert sum(told) == 30
    offsets = [[record.offset for record in found] for found in newest.records.values()]
    assert offsets == [list(range(10, 20))] * 3
    oldest = await sample(settings.kafka, topic, 6, 20, oldest=True)
    assert sorted(r.value or b"" for found in oldest.records.values() for r in found) == [
        b"0",
        b"1",
        b"2",
        b"3",
        b"4",
        b"5",
    ]


async def test_a_sample_of_a_topic_that_is_not_there_is_an_error(kafka) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BrokerError, match="there is no topic absent"):
        await sample(KafkaSettings(bootstrap_servers=kafka.bootstrap_servers), "absent", 10, 10, oldest=False)


def test_the_command_creates_then_finds_all_well_and_refuses_what_is_missing(  # type: ignore[no-untyped-def]
    kafka, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for field in msgspec.structs.fields(TopicSettings):
        monkeypatch.setenv(f"DRIFTLINE_TOPICS__{field.name.upper()}", f"{uuid.uuid4().hex[:8]}-{field.name}")
    monkeypatch.setenv("DRIFTLINE_KAFKA__GROUP_ID", uuid.uuid4().hex[:8])
    servers = ["--bootstrap-servers", kafka.bootstrap_servers]
    assert cli.run(["check", *servers, "--no-create"]) == 2
    assert "does not exist" in capsys.readouterr().out
    assert cli.run(["check", *servers]) == 0
    assert "are correct" in capsys.readouterr().out
    assert cli.run(["check", *servers, "--no-create", "--json"]) == 0
    levels = {finding["level"] for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert levels == {"ok", "warning"}


async def _publish(bootstrap_servers: str, topic: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers) as producer:
        for number in range(200):
            features = {"amount": number / 2, "country": "DE" if number % 4 else "FR", "order": f"order-{number}"}
            event = {"model": "fraud", "version": "3", "ts": 1_700_000_000_000 + number * 100, "features": features}
            await producer.send(topic, json.dumps(event).encode())
        await producer.send(topic, b"broken")


def test_a_survey_shows_what_is_on_a_topic_and_writes_settings_that_load(  # type: ignore[no-untyped-def]
    kafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = f"{uuid.uuid4().hex[:8]}-events"
    asyncio.run(_publish(kafka.bootstrap_servers, topic))
    page, settings = tmp_path / "survey.html", tmp_path / "driftline.yaml"
    wish = ["survey", topic, "--bootstrap-servers", kafka.bootstrap_servers]
    assert cli.run([*wish, "--html", str(page), "--write-settings", str(settings), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (model,) = found["models"]
    assert (found["read"], model["events"], sum(found["rejected"].values())) == (201, 200, 1)
    assert model["events_per_second"] == pytest.approx(10)
    assert {f["feature"]: (f["kind"], f["identifier"]) for f in model["features"]} == {
        "amount": ("numeric", False),
        "country": ("categorical", False),
        "order": ("categorical", True),
    }
    assert "country" in page.read_text(encoding="utf-8")
    assert config.load(settings, {}).models["fraud"].ignore == ("order",)
    assert cli.run(wish) == 0
    assert "nearly all differ" in capsys.readouterr().out
