"""From a topic that exists to a watched model: survey writes the settings, and a worker reads rows and envelopes."""

import asyncio
import io
import json
import time
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
import yaml

from stream.commands import cli
from tests.backends.schema_registry import SchemaRegistry
from tests.kafka.server import Cluster
from tests.service.processes import Deployment, WorkerProcess, metric_lines

pytestmark = pytest.mark.kafka

COUNT = 1_200


def rows(first: int, count: int, shift: float = 0.0) -> list[bytes]:
    random, now_ms = np.random.default_rng(first), time.time_ns() // 1_000_000
    return [
        json.dumps(
            {
                "txn_id": f"t-{first + at}",
                "created_at": (now_ms - 5 * (count - at)) / 1000,
                "amount": round(random.normal(20 + shift, 2), 3),
                "customer": {"country": str(random.choice(["DE", "FR"]))},
                "score": round(random.random(), 3),
            }
        ).encode()
        for at in range(count)
    ]


async def test_two_commands_lead_from_an_unknown_topic_to_an_incident(
    kafka: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = Deployment(kafka.bootstrap_servers, tmp_path, learning_events=500)
    await deployment.prepare()
    await deployment.publish_raw(*rows(0, COUNT))
    topic, written = deployment.topics["events"][0], tmp_path / "proposed.yaml"
    assert (
        await asyncio.to_thread(
            cli.run, ["survey", topic, "--bootstrap-servers", kafka.bootstrap_servers, "--write-settings", str(written)]
        )
        == 0
    )
    shown = capsys.readouterr().out
    assert "The records name no model" in shown
    (entry,) = yaml.safe_load(written.read_text())["topics"]["events"]
    assert (entry["id"], entry["ts"], entry["prediction"]) == ("txn_id", "created_at", "score")
    deployment.config["topics"] = {**deployment.topics, "events": [entry]}
    deployment.path.write_text(yaml.safe_dump(deployment.config))
    assert (
        await asyncio.to_thread(
            cli.run, ["decode", "--topic", topic, "--offset", "3", "--config", str(deployment.path), "--json"]
        )
        == 0
    )
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (answer["offset"], answer["format"], answer["events"][0]["id"]) == (3, "flat", "t-3")
    change = {"before": None, "after": {"amount": 1}, "source": {"table": "t"}, "ts_ms": 1}
    with WorkerProcess(deployment) as worker:
        worker.until_events(topic, "unversioned", COUNT)
        await deployment.publish_raw(
            *rows(COUNT, 600, shift=8),
            json.dumps({**change, "op": "d", "after": None}).encode(),
            json.dumps({"schema": None, "payload": {**change, "op": "c"}}).encode(),
        )
        detail = worker.until_events(topic, "unversioned", COUNT + 601)
        worker.until(lambda: (worker.model(topic, "unversioned") or {}).get("state") == "drift", "a drift")
        assert {feature["feature"] for feature in detail["features"]} >= {"amount", "customer.country"}
        lines = metric_lines(worker.get("/metrics"), "events_total")
        assert [line.split()[-1] for line in lines if 'outcome="ignored"' in line] == ["1.0"]
        incidents = worker.get("/api/v1/incidents")["incidents"]
        assert [one["features"][0]["feature"] for one in incidents] == ["amount"]


SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Scored",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "amount", "type": "double"},
        {"name": "prediction", "type": ["null", "double"]},
    ],
}


async def test_avro_behind_a_registry_that_is_down_at_first_loses_nothing(kafka: Cluster, tmp_path: Path) -> None:
    deployment = Deployment(kafka.bootstrap_servers, tmp_path)
    await deployment.prepare()
    random, parsed = np.random.default_rng(3), fastavro.parse_schema(SCHEMA)
    values = []
    for at in range(300):
        out = io.BytesIO(b"\0\0\0\0\7")
        out.seek(5)
        value = {"id": f"a-{at}", "amount": random.normal(), "prediction": None if at % 3 else 0.5}
        fastavro.schemaless_writer(out, parsed, value)
        values.append(out.getvalue())
    with SchemaRegistry({"7": json.dumps(SCHEMA)}) as registry:
        registry.failing = 4
        topic = deployment.topics["events"][0]
        deployment.config["topics"] = {
            **deployment.topics,
            "events": [{"topic": topic, "model": "fraud", "version": "3"}],
        }
        deployment.config["schema_registry"] = {"url": registry.url}
        deployment.path.write_text(yaml.safe_dump(deployment.config))
        await deployment.publish_raw(*values, b"\0\0\0\0\x08unknown")
        with WorkerProcess(deployment) as worker:
            detail = worker.until_events("fraud", "3", 300)
            features = {one["feature"]: one for one in detail["features"]}
            assert features["amount"]["count"] == 300
            assert features["@prediction"]["count"] == 100
            lines = metric_lines(worker.get("/metrics"), "events_total")
            assert [line.split()[-1] for line in lines if 'outcome="invalid"' in line] == ["1.0"]
        assert registry.failing == 0
