"""A real stream through the whole service: 45,312 half-hours of an electricity market, published at full speed."""

import csv
import os
from pathlib import Path
from typing import Any

import pytest

from stream.publisher import InferencePublisher
from tests.kafka.server import Cluster
from tests.service.processes import Deployment, WorkerProcess, metric_lines

DATA = Path(os.environ.get("DRIFTLINE_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
ELEC2 = DATA / "elec2" / "electricity.csv"
REFERENCE_ROWS, CHANGED_AT = 10_000, 17_424
CHANGED = {"vicprice", "vicdemand", "transfer"}


def _columns() -> dict[str, list[Any]]:
    with ELEC2.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    numeric = [name for name in rows[0] if name != "class"]
    return {**{n: [float(r[n]) for r in rows] for n in numeric}, "class": [r["class"] for r in rows]}


@pytest.mark.kafka
@pytest.mark.skipif(not ELEC2.exists(), reason=f"left out for want of {ELEC2.name}: set DRIFTLINE_TEST_DATA")
async def test_the_known_change_of_an_electricity_market_is_named_and_every_row_counted(
    kafka: Cluster, tmp_path: Path
) -> None:
    columns = _columns()
    count = len(columns["class"])
    deployment = Deployment(kafka.bootstrap_servers, tmp_path)
    await deployment.prepare()
    await deployment.publish_reference("elec2", "1", {n: v[:REFERENCE_ROWS] for n, v in columns.items()})
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        publisher = InferencePublisher(
            "elec2", "1", bootstrap_servers=deployment.bootstrap_servers, topic=deployment.topics["events"][0]
        )

        def publish(first: int, last: int) -> None:
            for row in range(first, last):
                publisher.log({name: values[row] for name, values in columns.items()}, id=str(row))
            assert publisher.flush(30.0)

        def named() -> dict[str, Any] | None:
            """The incident that names what is known to change."""
            for incident in worker.incidents():
                if {feature["feature"] for feature in incident["features"]} >= CHANGED:
                    return incident
            return None

        with publisher:
            publish(0, CHANGED_AT)
            worker.until_events("elec2", "1", CHANGED_AT)
            early = {f["feature"] for incident in worker.incidents() for f in incident["features"]}
            assert not early & CHANGED
            publish(CHANGED_AT, count)
        stats = publisher.stats()
        assert (stats.delivered, sum(stats.dropped.values())) == (count, 0)

        detail = worker.until_events("elec2", "1", count)
        assert detail["events"] == detail["epoch_events"] == count
        assert {f["count"] + f["missing"] + f["invalid"] for f in detail["features"]} == {count}
        assert worker.until(named, f"incident that names {sorted(CHANGED)}")["opened_at_event"] > CHANGED_AT

        told = await deployment.read_all("drift_events")
        kinds = ("io.driftline.incident.opened.v1", "io.driftline.incident.updated.v1")
        assert any(
            event["type"] in kinds and {f["feature"] for f in event["data"]["features"]} >= CHANGED for event in told
        )
        worker.until(lambda: (worker.model("elec2", "1") or {}).get("state") == "drift", "state drift")
        flagged = [line for line in metric_lines(worker.get("/metrics"), "feature_drifted") if line.endswith(" 1.0")]
        assert {name for name in CHANGED if any(f'feature="{name}"' in line for line in flagged)} == CHANGED

        profiles = [p for p in await deployment.read_all("profiles") if "next_offset" in p]  # others are marks
        newest = {(p["topic"], p["partition"]): p for p in sorted(profiles, key=lambda p: p["next_offset"])}
        assert sum(profile["events"] for profile in newest.values()) == count
