"""A worker on a broker with ACLs, with exactly the rights that ``driftline check --acls`` prints."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.kafka.papers import PASSWORD, USER
from tests.kafka.server import Server
from tests.service.processes import DRIFTLINE, Deployment, WorkerProcess, population

TOOL = "org.apache.kafka.tools.AclCommand"
USED = re.compile(r"Principal = User:(\w+) is (Allowed|Denied) operation = (\w+) .*? on resource = (\w+):\w+:(\S+) ")


def printed(deployment: Deployment, *options: str) -> str:
    done = subprocess.run(
        [str(DRIFTLINE), "check", "--acls", *options, "--config", str(deployment.path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def grant(server: Server, text: str) -> set[tuple[str, str, str]]:
    """Runs every kafka-acls line of ``text``; returns what they grant: kind, name and operation."""
    granted = set()
    for line in text.splitlines():
        if not line.startswith("kafka-acls "):
            continue
        words = shlex.split(line)
        assert words[words.index("--allow-principal") + 1] == f"User:{USER}"
        words[words.index("--bootstrap-server") + 1] = server.bootstrap_servers  # the administrator's listener
        server.tool(TOOL, *words[1:])
        kind, name = words[-2].removeprefix("--"), words[-1]
        operations = [words[i + 1] for i, word in enumerate(words) if word == "--operation"]
        granted |= {(kind, name, operation.upper()) for operation in operations}
    return granted


def of_manifest(text: str) -> set[tuple[str, str, str]]:
    manifest: dict[str, Any] = yaml.safe_load(text.partition("\n---\n")[2])
    assert manifest["kind"] == "KafkaUser"
    return {
        (acl["resource"]["type"], acl["resource"]["name"], operation.upper())
        for acl in manifest["spec"]["authorization"]["acls"]
        for operation in acl["operations"]
    }


@pytest.mark.kafka
async def test_a_worker_runs_with_exactly_the_rights_that_are_printed(guarded_kafka: Server, tmp_path: Path) -> None:
    """Nothing that the worker does is denied: it creates topics, restores, counts, judges, publishes an incident and a
    request to retrain, and takes a person's request. And it uses every right but that to add partitions."""
    kafka = {
        "bootstrap_servers": guarded_kafka.sasl, "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-256", "sasl_username": USER, "sasl_password": PASSWORD, "partitions": 4,
    }  # fmt: skip
    random = np.random.default_rng(5)
    deployment = Deployment(guarded_kafka.bootstrap_servers, tmp_path, kafka=kafka)
    deployment.let_write()
    text = printed(deployment)
    granted = grant(guarded_kafka, text)
    assert of_manifest(text) == granted
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        await deployment.publish_reference("m", "1", population(random, 4_000))
        await deployment.publish_events("m", "1", population(random, 2_000), labels=[True] * 2_000)
        await deployment.publish_raw(b"not an event")
        await deployment.publish_events("m", "1", population(random, 6_000, shift=2.0))
        worker.until_events("m", "1", 8_000)
        (incident, *_) = worker.until(lambda: worker.incidents(), "an incident")
        assert worker.post(f"/api/v1/incidents/{incident['id']}/note", note="seen")[0] == 202
        worker.until(lambda: worker.incidents()[0].get("notes"), "the note")
        assert worker.post(f"/api/v1/incidents/{incident['id']}/accept", note="the new normal")[0] == 202
        written = f"operation = WRITE .* Topic:LITERAL:{deployment.topics['references']} "
        worker.until(lambda: re.search(written, guarded_kafka.log_text()), "the accepted reference")
        status, _ = worker.terminate()
        assert status == 0, worker.text()
        assert not re.search("authori[sz]", worker.log.read_text(), re.IGNORECASE)
    with WorkerProcess(deployment) as worker:  # restores, and finds all topics
        worker.until_ready()
        worker.until_events("m", "1", 8_000)
    found = {
        (kind.lower(), name, operation, verdict)
        for user, verdict, operation, kind, name in USED.findall(guarded_kafka.log_text())
        if user == USER
    }
    ours = [name for _, name, _ in granted]
    assert len(found) > 30
    # The broker's default of replicas may stay unknown: the worker then takes three, or as many as there are brokers.
    denied = {one for one in found if one[3] == "Denied" and one[0] != "cluster"}
    assert not denied, denied
    allowed = {one[:3] for one in found if one[3] == "Allowed"}
    used = {(kind, name, operation.replace("_", "")) for kind, name, operation in allowed}
    assert {name for _, name, _ in used} <= {*ours, "kafka-cluster"}
    unused = granted - used - {("topic", deployment.topics["checkpoints"], "ALTER")}
    assert not unused, unused


def test_a_worker_that_creates_no_topics_needs_no_right_to(tmp_path: Path) -> None:
    few = Deployment("kafka:9092", tmp_path, kafka={"create_topics": False})
    text = printed(few, "--principal", "CN=driftline")
    assert "Create" not in text
    assert "Alter" not in text
    assert "User:CN=driftline" in text
    assert {operation for _, _, operation in of_manifest(text)} == {"READ", "WRITE"}
