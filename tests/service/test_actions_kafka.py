"""Requests about incidents on a real Kafka: any worker accepts them, kills lose none, and the present can be
accepted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kafka.server import Cluster, free_ports
from tests.service.processes import Deployment, WorkerProcess, metric_lines, population


def act(worker: WorkerProcess, incident: str, action: str, **body: Any) -> dict[str, Any]:
    return worker.post(f"/api/v1/incidents/{incident}/{action}", **body)[1]


@pytest.mark.kafka
async def test_changes_survive_kills_whoever_was_asked_and_an_accepted_present_is_the_reference(
    kafka: Cluster, tmp_path: Path
) -> None:
    random = np.random.default_rng(11)
    deployment = Deployment(kafka.bootstrap_servers, tmp_path)
    deployment.let_write()
    await deployment.prepare()
    await deployment.publish_reference("fraud", "3", population(random, 10_000))
    with (
        WorkerProcess(deployment) as worker,
        WorkerProcess(deployment, "--role", "judge", port=free_ports(1)[0]) as other,
    ):
        worker.until_ready()
        other.until_ready()
        count = await deployment.publish_events("fraud", "3", population(random, 1_000))
        worker.until_events("fraud", "3", count)
        count += await deployment.publish_events("fraud", "3", population(random, 1_000, shift=4.0))
        [found] = worker.until(lambda: worker.incidents("state=open"), "incident")
        other.until(lambda: other.incidents("state=open"), "incident elsewhere")
        act(other, found["id"], "ack", note="looking", silence_hours=1)
        act(worker, found["id"], "note", note="a new card")

        def notes() -> bool:
            return len(worker.incidents()[0]["notes"]) == 2

        worker.until(notes, "both notes")
        both = worker.get("/metrics") + other.get("/metrics")
        assert {line[-3:] for line in metric_lines(both, "incident_actions_total")} == {"1.0"}
        assert list(metric_lines(both, "silenced_until_timestamp_seconds"))
        worker.kill()
        other.kill()
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        [known] = worker.incidents()
        assert (known["status"], known["acknowledged_by"]) == ("acknowledged", "ann")
        assert sorted(note["text"] for note in known["notes"]) == ["a new card", "looking"]
        act(worker, known["id"], "accept")
        count += await deployment.publish_events("fraud", "3", population(random, 2_000, shift=4.0))
        worker.until(lambda: worker.incidents("state=resolved"), "end of the incident")
        worker.kill()
    with WorkerProcess(deployment) as worker:
        worker.until_ready()

        def accepted() -> bool:
            detail = worker.model("fraud", "3")
            return detail is not None and (detail["reference"] or {}).get("source", {}).get("kind") == "accepted"

        count += await deployment.publish_events("fraud", "3", population(random, 3_000, shift=4.0))
        worker.until(accepted, "new reference")
        count += await deployment.publish_events("fraud", "3", population(random, 3_000, shift=4.0))
        detail = worker.until_events("fraud", "3", count)
        assert detail["events"] == count
        assert detail["state"] in ("stable", "warning"), detail["reason"]
        [over] = worker.incidents()
        assert (over["resolution"], over["resolved_by"]) == ("accepted", "ann")
        count += await deployment.publish_events("fraud", "3", population(random, 1_000))
        worker.until(lambda: worker.incidents("state=open"), "incident under the new reference")
    written = await deployment.read_all("actions")
    assert sorted(action["action"] for action in written) == ["accept", "ack", "note"]
    told = await deployment.read_all("drift_events")
    opened = {event["id"] for event in told if event["type"] == "io.driftline.incident.opened.v1"}
    assert len(opened) == 2
