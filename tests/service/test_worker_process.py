"""``driftline worker`` as a process against a real Kafka: from events to an incident, and how it stops."""

import json
from pathlib import Path

import numpy as np
import pytest

from stream.backends.kafka.embedded import EmbeddedBroker
from tests.kafka.server import Cluster, free_ports
from tests.service.processes import Deployment, WorkerProcess, metric_lines, population

STOP_SECONDS = 15.0
"""What the systemd unit and the compose file grant."""


def test_the_end_comes_in_time_with_the_broker_away(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker:
        deployment = Deployment(broker.bootstrap_servers, tmp_path, kafka={"create_topics": False})
        with WorkerProcess(deployment) as worker:
            worker.until_ready()
            broker.down()
            status, seconds = worker.terminate()
            assert (status, seconds < STOP_SECONDS) == (0, True), worker.text()


@pytest.fixture
def deployment(kafka: Cluster, tmp_path: Path) -> Deployment:
    return Deployment(kafka.bootstrap_servers, tmp_path)


@pytest.mark.kafka
async def test_a_shift_becomes_one_incident_everywhere_it_is_told(deployment: Deployment) -> None:
    random = np.random.default_rng(7)
    await deployment.prepare()
    await deployment.publish_reference("fraud", "3", population(random, 10_000))
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        count = await deployment.publish_events("fraud", "3", population(random, 2_000))
        detail = worker.until_events("fraud", "3", count)
        assert detail["state"] in ("stable", "warning"), detail
        assert worker.incidents() == []
        count += await deployment.publish_events("fraud", "3", population(random, 2_000, shift=2.0))
        worker.until(lambda: worker.incidents("state=open"), "incident")
        detail = worker.until_events("fraud", "3", count)
        worker.until(lambda: (worker.model("fraud", "3") or {}).get("state") == "drift", "state drift")

        incidents = worker.incidents()
        assert len(incidents) == 1
        blamed = {feature["feature"] for feature in incidents[0]["features"]}
        assert {"amount", "age"} <= blamed
        assert "country" not in blamed
        for feature in worker.until_events("fraud", "3", count)["features"]:
            seen = feature["count"] + feature["missing"] + feature["invalid"]
            assert seen == detail["epoch_events"] == count

        told = await deployment.read_all("drift_events")
        opened = [event for event in told if event["type"] == "io.driftline.incident.opened.v1"]
        assert [event["data"]["id"] for event in opened] == [incidents[0]["id"]]
        assert len({event["id"] for event in told}) == len(told)

        text = worker.get("/metrics")
        assert f'driftline_events_total{{model="fraud",outcome="accepted"}} {count}.0' in text
        assert [line[-3:] for line in metric_lines(text, "detections_total")] == ["1.0"]
        drifted = {line for line in metric_lines(text, "feature_drifted") if line.endswith(" 1.0")}
        assert len([line for line in drifted if '"amount"' in line or '"age"' in line]) == 2
        status, seconds = worker.terminate()
        assert (status, seconds < STOP_SECONDS) == (0, True), worker.text()
    assert "Traceback" not in worker.text()


@pytest.mark.kafka
async def test_every_event_counts_once_through_kill_and_stop(deployment: Deployment) -> None:
    random = np.random.default_rng(8)
    await deployment.prepare()
    await deployment.publish_reference("m", "1", population(random, 5_000))
    count = 0
    for ending in ("kill", "terminate", "kill", "none"):
        with WorkerProcess(deployment) as worker:
            count += await deployment.publish_events("m", "1", population(random, 700))
            worker.until_events("m", "1", count)
            if ending == "kill":
                worker.kill()
            elif ending == "terminate":
                status, seconds = worker.terminate()
                assert (status, seconds < STOP_SECONDS) == (0, True), worker.text()
            else:
                detail = worker.until_events("m", "1", count)
                assert detail["events"] == count


@pytest.mark.kafka
async def test_what_cannot_be_read_is_a_dead_letter_and_counted(deployment: Deployment) -> None:
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        await deployment.publish_raw(b"not json", b'{"version": "1"}')
        count = await deployment.publish_events("m", "1", population(np.random.default_rng(1), 20))
        worker.until_events("m", "1", count)

        def invalid() -> float:
            lines = metric_lines(worker.get("/metrics"), "events_total")
            return sum(float(line.split()[-1]) for line in lines if 'outcome="invalid"' in line)

        worker.until(lambda: invalid() == 2, "two invalid records")


@pytest.mark.kafka
async def test_observer_and_judge_can_run_apart(deployment: Deployment) -> None:
    with WorkerProcess(deployment, "--role", "observe") as observer:
        observer.until_ready()
        with WorkerProcess(deployment, "--role", "judge", port=free_ports(1)[0]) as judge:
            judge.until_ready()
            count = await deployment.publish_events("m", "1", population(np.random.default_rng(2), 500))
            judge.until_events("m", "1", count)
            assert list(metric_lines(judge.get("/metrics"), "model_state"))
            assert not list(metric_lines(observer.get("/metrics"), "model_state"))
            assert list(metric_lines(observer.get("/metrics"), "events_total"))
            assert judge.terminate()[0] == 0
        assert observer.terminate()[0] == 0


@pytest.mark.kafka
async def test_an_open_incident_survives_a_kill_and_is_not_told_twice(deployment: Deployment) -> None:
    random = np.random.default_rng(9)
    await deployment.prepare()
    await deployment.publish_reference("fraud", "3", population(random, 10_000))
    with WorkerProcess(deployment) as worker:
        count = await deployment.publish_events("fraud", "3", population(random, 1_000))
        worker.until_events("fraud", "3", count)
        count += await deployment.publish_events("fraud", "3", population(random, 1_000, shift=3.0))
        worker.until(lambda: worker.incidents("state=open"), "incident")
        worker.kill()
    with WorkerProcess(deployment) as worker:
        count += await deployment.publish_events("fraud", "3", population(random, 1_000, shift=3.0))
        detail = worker.until_events("fraud", "3", count)
        assert (detail["events"], detail["state"]) == (count, "drift")
        assert len(worker.incidents()) == 1
        assert worker.terminate()[0] == 0
    told = await deployment.read_all("drift_events")
    opened = {json.dumps(event) for event in told if event["type"] == "io.driftline.incident.opened.v1"}
    assert len(opened) == 1


@pytest.mark.kafka
async def test_a_model_without_a_reference_learns_one_and_is_then_judged_by_it(kafka: Cluster, tmp_path: Path) -> None:
    random = np.random.default_rng(10)
    deployment = Deployment(kafka.bootstrap_servers, tmp_path, learning_events=2_000)
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        count = await deployment.publish_events("new", "1", population(random, 1_000))
        assert worker.until_events("new", "1", count)["state"] == "learning"
        count += await deployment.publish_events("new", "1", population(random, 2_000))
        worker.until_events("new", "1", count)
        worker.until(lambda: (worker.model("new", "1") or {}).get("reference"), "reference")
        count += await deployment.publish_events("new", "1", population(random, 2_000))
        detail = worker.until_events("new", "1", count)
        assert detail["state"] in ("stable", "warning"), detail["state"]
        count += await deployment.publish_events("new", "1", population(random, 3_000, shift=3.0))
        worker.until(lambda: worker.incidents("state=open"), "incident")
        assert worker.until_events("new", "1", count)["events"] == count
    assert len(await deployment.read_all("references")) == 1
