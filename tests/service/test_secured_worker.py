"""A whole worker, both stages, on a broker that requires passwords, tokens or certificates; no output contains a
secret."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.chaos import oracle
from tests.kafka.papers import KEY_PASSWORD, PASSWORD, USER
from tests.kafka.server import Server
from tests.service.processes import DRIFTLINE, Deployment, WorkerProcess, population

pytestmark = pytest.mark.kafka

TOKEN = "http-token-secret"
WAYS: dict[str, Callable[[Server], dict[str, Any]]] = {
    "SCRAM over TLS": lambda server: {
        "bootstrap_servers": server.sasl_tls,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_username": USER,
        "sasl_password": PASSWORD,
    },
    "OAUTHBEARER over TLS": lambda server: {
        "bootstrap_servers": server.sasl_tls,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "OAUTHBEARER",
        "sasl_oauth_token": server.papers.token(),
    },
    "client certificate": lambda server: {
        "bootstrap_servers": server.mutual_tls,
        "security_protocol": "SSL",
        "ssl_certfile": str(server.papers.certfile),
        "ssl_keyfile": str(server.papers.keyfile),
        "ssl_key_password": KEY_PASSWORD,
    },
}


def run(command: str, deployment: Deployment) -> "subprocess.CompletedProcess[str]":
    arguments = [str(DRIFTLINE), command, "--config", str(deployment.path)]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("way", WAYS)
async def test_a_worker_gets_in_and_shows_no_secret_anywhere(secured_kafka: Server, tmp_path: Path, way: str) -> None:
    kafka = {**WAYS[way](secured_kafka), "ssl_cafile": str(secured_kafka.papers.cafile)}
    deployment = Deployment(secured_kafka.bootstrap_servers, tmp_path, kafka=kafka)
    deployment.config["http"]["token"] = TOKEN
    deployment.path.write_text(yaml.safe_dump(deployment.config))
    await deployment.prepare()
    random = np.random.default_rng(1)
    await deployment.publish_reference("m", "1", population(random, 500))
    with WorkerProcess(deployment) as worker:
        await deployment.publish_events("m", "1", population(random, 400))
        await deployment.publish_raw(b"not an event")
        worker.until_events("m", "1", 400)
        shown = [str(worker.get(path)) for path in ("/metrics", "/api/v1/status", "/api/v1/models", "/")]
        worker.terminate()
        shown.append(worker.log.read_text(errors="replace"))
    check = await asyncio.to_thread(run, "check", deployment)
    assert check.returncode == 0, check.stderr
    shown += [check.stdout, check.stderr]
    for topic in deployment.topics.values():
        for name in [topic] if isinstance(topic, str) else topic:
            shown += [repr(record) for records in (await oracle.read(deployment, name)).values() for record in records]
    secrets = [kafka[name] for name in ("sasl_password", "sasl_oauth_token", "ssl_key_password") if name in kafka]
    assert len(shown) > 20
    for secret in [TOKEN, *secrets]:
        assert not [text[:300] for text in shown if secret in text]


@pytest.mark.slow  # a worker waits half a minute for a broker before it gives up
def test_a_worker_whose_token_is_refused_says_so_without_the_token(secured_kafka: Server, tmp_path: Path) -> None:
    kafka = {**WAYS["OAUTHBEARER over TLS"](secured_kafka), "ssl_cafile": str(secured_kafka.papers.cafile)}
    kafka["sasl_oauth_token"] = "wr0ng-secret"
    done = run("worker", Deployment(secured_kafka.bootstrap_servers, tmp_path, kafka=kafka))
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert "refused the token" in said, said
    assert "wr0ng-secret" not in said
