"""Labels through the whole service on a real Kafka: published by the client, joined, judged, and shown in every
output."""

from pathlib import Path

import numpy as np
import pytest

from stream.publisher import InferencePublisher
from tests.kafka.server import Cluster
from tests.service.processes import Deployment, WorkerProcess, metric_lines, population

COUNT = 600


@pytest.mark.kafka
async def test_every_label_is_joined_once_through_a_kill_and_told_in_api_page_and_metrics(
    kafka: Cluster, tmp_path: Path
) -> None:
    objectives = {"accuracy": {"at_least": 0.9}, "latency": {"at_least": 0.5, "below_ms": 10}}
    deployment = Deployment(kafka.bootstrap_servers, tmp_path, models={"fraud": {"objectives": objectives}})
    await deployment.prepare()
    publisher = InferencePublisher(
        "fraud",
        "3",
        bootstrap_servers=deployment.bootstrap_servers,
        topic=deployment.topics["events"][0],
        labels_topic=deployment.topics["labels"][0],
    )

    def publish(first: int, last: int) -> None:
        for n in range(first, last):
            publisher.log({"amount": n % 17 / 3}, prediction=n % 2 == 0, id=str(n), latency_ms=n % 20 + 0.5)
        for n in range(first, last):
            publisher.log_label(str(n), n % 2 == 0 if n % 4 else n % 2)  # a quarter is wrong
        publisher.log_label(f"unknown-{first}", True)
        assert publisher.flush(30.0)

    def labelled(worker: WorkerProcess) -> int:
        return int(((worker.model("fraud", "3") or {}).get("performance") or {}).get("labelled", 0))

    with publisher:
        with WorkerProcess(deployment) as worker:
            worker.until_ready()
            publish(0, COUNT)
            worker.until(lambda: labelled(worker) == COUNT, "labels")
            worker.kill()
        with WorkerProcess(deployment) as worker:
            publish(COUNT, 2 * COUNT)
            worker.until(lambda: labelled(worker) == 2 * COUNT, "labels after the kill")
            detail = worker.model("fraud", "3") or {}
            assert detail["performance"]["measures"] == {"accuracy": 0.75}
            assert detail["performance"]["predicted"] == detail["events"] == 2 * COUNT
            standing = {row["objective"]: (row["good"], row["events"]) for row in detail["objectives"]}
            assert standing == {"accuracy": (3 * COUNT // 2, 2 * COUNT), "latency": (COUNT, 2 * COUNT)}
            text = worker.get("/metrics")
            assert [line.rsplit(" ", 1)[1] for line in metric_lines(text, "performance{")] == ["0.75"]
            assert 'driftline_slo_ratio{model="fraud",model_version="3",objective="accuracy",segment=""} 0.75' in text
            read = [line for line in metric_lines(text, "labels_total") if 'outcome="read"' in line]
            assert float(read[0].rsplit(" ", 1)[1]) >= COUNT + 1  # those before the last checkpoint are not read again
            assert "Performance and objectives" in worker.get("/models/fraud/3")
    assert "Traceback" not in worker.text()


@pytest.mark.kafka
async def test_a_model_whose_answers_become_wrong_is_an_incident_on_a_real_kafka_though_its_data_is_as_ever(
    kafka: Cluster, tmp_path: Path
) -> None:
    random = np.random.default_rng(4)
    deployment = Deployment(kafka.bootstrap_servers, tmp_path)
    await deployment.prepare()
    await deployment.publish_reference("fraud", "3", population(random, 20_000))

    async def publish(rows: int, right: float) -> None:
        hits = (random.random(rows) < right).tolist()
        await deployment.publish_events("fraud", "3", population(random, rows), labels=hits)

    def labelled(worker: WorkerProcess) -> int:
        return int(((worker.model("fraud", "3") or {}).get("performance") or {}).get("labelled", 0))

    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        wanted = 0
        for _ in range(12):
            await publish(150, 0.95)
            wanted += 150
            worker.until(lambda: labelled(worker) == wanted, "labels")  # noqa: B023
        assert worker.incidents() == []
        for _ in range(8):
            await publish(150, 0.6)
            wanted += 150
            worker.until(lambda: labelled(worker) == wanted, "labels")  # noqa: B023
        (incident,) = worker.until(worker.incidents, "an incident")
        assert (incident["kind"], [row["feature"] for row in incident["features"]]) == ("performance", ["@correct"])
        assert (worker.model("fraud", "3") or {})["state"] == "drift"
        told = await deployment.read_all("drift_events")
        assert "io.driftline.incident.opened.v1" in {event["type"] for event in told}
        assert 'feature="@correct"' in worker.get("/metrics")
        assert "@correct" in worker.get(f"/incidents/{incident['id']}")
    assert "Traceback" not in worker.text()
