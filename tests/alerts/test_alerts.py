"""From a shift in the data to a notification: the real worker, Prometheus and Alertmanager, with the shipped rules and
routes. Only their waiting times are shortened."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.http.local import Handler, LocalServer
from tests.kafka.server import Cluster, free_ports
from tests.service.processes import Deployment, WorkerProcess, population

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

DEPLOY = Path(__file__).parents[2] / "deploy"

BEHIND = 100_000
"""Lag in records that the rule allows."""


class Telephone(LocalServer):
    """A webhook that keeps its notifications. It answers from a thread of its own: Alertmanager repeats a notification
    that is not answered in time, and the tests wait for the worker meanwhile."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        telephone = self

        class Webhook(Handler):
            def post(self) -> None:
                telephone.calls.append(self.body())
                self.answer(200)

        super().__init__(Webhook)

    def received(self) -> list[dict[str, Any]]:
        return [alert for call in self.calls for alert in call["alerts"]]

    def alerts(self) -> list[tuple[str, str]]:
        return [(alert["labels"]["alertname"], alert["status"]) for alert in self.received()]

    async def until(self, true: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"no {what}; received so far: {self.alerts()}"
            await asyncio.sleep(0.05)


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is required where CI is set")
        pytest.skip(f"{name} is not installed")
    return found


def shortened(rules: Any) -> Any:
    """The rules with waits of a second, but keep_firing_for above a group's interval; expressions are unchanged."""
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = "1s"
            if "keep_firing_for" in rule:
                rule["keep_firing_for"] = "4s"
    return rules


@contextmanager
def running(folder: Path, *command: str) -> Iterator[None]:
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
    try:
        yield
        assert process.poll() is None, log.read_text()[-3000:]
    finally:
        process.kill()
        process.wait(30)


@contextmanager
def monitoring(folder: Path, telephone: Telephone, worker_port: int) -> Iterator[None]:
    """Starts a Prometheus that scrapes the worker, and an Alertmanager that notifies."""
    prometheus, alertmanager = tool("prometheus"), tool("prometheus-alertmanager")
    prometheus_port, alertmanager_port = free_ports(2)
    routes = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    routes["route"].update(group_wait="3s", group_interval="2s")
    routes["receivers"][0]["webhook_configs"][0]["url"] = f"http://127.0.0.1:{telephone.port}/alerts"
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(routes))
    rules = shortened(yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text()))
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    scraping = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    scraping["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    scraping["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]
    scraping["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{worker_port}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(scraping))
    with (
        running(
            folder,
            alertmanager,
            "--config.file=alertmanager.yml",
            "--storage.path=alertmanager",
            f"--web.listen-address=127.0.0.1:{alertmanager_port}",
            "--cluster.listen-address=",
        ),
        running(
            folder,
            prometheus,
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=prometheus",
            f"--web.listen-address=127.0.0.1:{prometheus_port}",
        ),
    ):
        yield


@pytest.fixture
def telephone() -> Iterator[Telephone]:
    with Telephone() as made:
        yield made


async def test_drift_rings_once_for_all_features_and_says_when_it_is_over(
    kafka: Cluster, tmp_path: Path, telephone: Telephone
) -> None:
    random = np.random.default_rng(11)
    deployment = Deployment(kafka.bootstrap_servers, tmp_path, detection={"resolve_after_events": 500})
    await deployment.prepare()
    await deployment.publish_reference("fraud", "3", population(random, 10_000))
    with WorkerProcess(deployment) as worker, monitoring(tmp_path, telephone, worker.port):
        worker.until_ready()
        count = await deployment.publish_events("fraud", "3", population(random, 1_000))
        worker.until_events("fraud", "3", count)
        count += await deployment.publish_events("fraud", "3", population(random, 1_500, shift=3.0))
        worker.until_events("fraud", "3", count)
        await telephone.until(lambda: ("DriftlineModelDrifted", "firing") in telephone.alerts(), "alert")
        assert ("DriftlineFeatureDrift", "firing") not in telephone.alerts()
        group = {"model": "fraud", "model_version": "3"}
        assert [call["status"] for call in telephone.calls if call["groupLabels"] == group] == ["firing"]
        for _ in range(40):
            count += await deployment.publish_events("fraud", "3", population(random, 500))
            worker.until_events("fraud", "3", count)
            if (worker.model("fraud", "3") or {})["state"] != "drift":
                break
        await telephone.until(lambda: ("DriftlineModelDrifted", "resolved") in telephone.alerts(), "all-clear")
        assert ("DriftlineFeatureDrift", "firing") not in telephone.alerts()


async def test_a_model_that_falls_silent_and_a_dead_worker_each_ring(
    kafka: Cluster, tmp_path: Path, telephone: Telephone
) -> None:
    blind = {"min_silent_seconds": 3, "max_silent_seconds": 3, "silent_factor": 1}
    deployment = Deployment(kafka.bootstrap_servers, tmp_path, blind=blind)
    await deployment.prepare()
    with WorkerProcess(deployment) as worker, monitoring(tmp_path, telephone, worker.port):
        worker.until_ready()
        count = await deployment.publish_events("fraud", "3", population(np.random.default_rng(3), 200))
        worker.until_events("fraud", "3", count)
        await telephone.until(lambda: ("DriftlineModelBlind", "firing") in telephone.alerts(), "alert of blindness")
        worker.kill()
        await telephone.until(lambda: ("DriftlineWorkerDown", "firing") in telephone.alerts(), "alert of death")


async def test_a_worker_far_behind_rings_until_it_has_caught_up(
    kafka: Cluster, tmp_path: Path, telephone: Telephone
) -> None:
    """The worker is slowed to one record a poll; the lag and the threshold are real."""
    deployment = Deployment(kafka.bootstrap_servers, tmp_path, limits={"poll_records": 1})
    await deployment.prepare()
    await deployment.publish_raw(*[b'{"model":"fraud","version":"3","features":{"x":1}}'] * (BEHIND + 20_000))
    with WorkerProcess(deployment) as worker, monitoring(tmp_path, telephone, worker.port):
        await telephone.until(lambda: ("DriftlineConsumerLag", "firing") in telephone.alerts(), "alert of lag")
        (alert,) = [a for a in telephone.received() if a["labels"]["alertname"] == "DriftlineConsumerLag"][:1]
        assert alert["labels"]["topic"] == deployment.topics["events"][0]
        await telephone.until(lambda: ("DriftlineConsumerLag", "resolved") in telephone.alerts(), "all-clear")


async def test_a_spent_budget_of_false_alarms_and_a_spent_objective_each_ring(
    kafka: Cluster, tmp_path: Path, telephone: Telephone
) -> None:
    random, segments = np.random.default_rng(7), [f"s{number}" for number in range(8)]
    deployment = Deployment(
        kafka.bootstrap_servers,
        tmp_path,
        false_alarms_per_model_per_month=0.01,  # four more than the first, and the fifth raises the alert: see the rule
        models={"fraud": {"segment_by": "country", "objectives": {"accuracy": {"at_least": 0.99}}}},
    )
    await deployment.prepare()
    await deployment.publish_reference("fraud", "3", population(random, 10_000))

    async def publish(segment: str, shift: float) -> None:
        columns = {**population(random, 1_500, shift), "country": [segment] * 1_500}
        await deployment.publish_events("fraud", "3", columns, labels=[False] * 1_500)

    with WorkerProcess(deployment) as worker, monitoring(tmp_path, telephone, worker.port):
        worker.until_ready()
        await publish(segments[0], 3.0)
        drifted = ("DriftlineModelDrifted", "firing")
        await telephone.until(lambda: drifted in telephone.alerts(), "alert of drift")
        for segment in segments[1:]:
            await publish(segment, 3.0)
        for alert in ("DriftlineFalseAlarmBudgetExceeded", "DriftlineObjectiveBurn"):
            await telephone.until(lambda: (alert, "firing") in telephone.alerts(), alert)  # noqa: B023
        spent = [a for a in telephone.received() if a["labels"]["alertname"] == "DriftlineFalseAlarmBudgetExceeded"]
        assert spent[0]["labels"]["model"] == "fraud"
        burning = [a for a in telephone.received() if a["labels"]["alertname"] == "DriftlineObjectiveBurn"]
        assert burning[0]["labels"]["objective"] == "accuracy"
