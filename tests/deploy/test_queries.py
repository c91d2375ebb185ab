"""Every query of every panel and variable returns data on a real Prometheus."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from detectors.features import UnitKey
from stream.http.server import Server
from stream.metrics.exposition import Exposition
from stream.metrics.models import ModelFamilies
from stream.metrics.outcomes import OutcomeFamilies
from stream.metrics.registry import Metrics
from stream.metrics.worker import ServiceFamilies
from stream.settings.settings import HttpSettings
from stream.topics.views import Views
from tests.deploy import paths
from tests.deploy.prometheus import Prometheus, replaced, scraping, without_data
from tests.deploy.test_dashboards import Loops
from tests.http.page import sample_views
from tests.http.page.sample_views import Json
from tests.http.page.site import Health
from tests.kafka.server import Cluster
from tests.service.processes import Deployment, WorkerProcess, population

CHOSEN = {"model": "fraud", "version": "3", "segment": ".*"}
NO_SEGMENTS = {f"driftline-{board}: variable segment" for board in ("model", "feature", "performance")}
"""Variables without values: a model without segments has none to choose, and "All" is shown."""


def busy(metrics: Metrics, views: Views, detail: Json) -> Json:
    """Counts one batch; returns the detail of the model after it."""
    metrics.counted("fraud", "accepted", 100)
    metrics.published("drift-events", 1)
    metrics.staged("observe", 0.003)
    metrics.staged("judge", 0.002)
    metrics.aged(["fraud"], [100], np.full(100, 0.2))
    metrics.labelled("fraud", "read", 100)
    metrics.labelled("fraud", "matched", 90)
    metrics.label_delayed("fraud", np.full(90, 60.0))
    performance = detail["performance"]
    for member in ("predicted", "labelled"):
        performance[member] += 90
    for objective in detail["objectives"]:
        objective["good"] += 80
        objective["events"] += 90
    sample_views.put(views, detail)
    return detail


@asynccontextmanager
async def exporter() -> AsyncIterator[int]:
    """The real server with the real metrics of a simulated fleet that changes all the time."""
    views, metrics = sample_views.fleet(), Metrics()
    owned = [UnitKey(summary["model"], summary["version"], summary["segment"]) for summary in views.models()]
    models = ModelFamilies(views, lambda: owned, lambda model: 1.0, metrics.suppressed, 100, lambda: 1_763_700_060_500)
    outcomes = OutcomeFamilies(views, lambda: owned)
    metrics.live, metrics.of_models = [ServiceFamilies("0.1.0", "abc", "3.11", Loops(), Loops())], [models, outcomes]
    metrics.detections.increase(("fraud", "3", "feature", "critical"))
    metrics.times.latency.observe(("fraud",), 0.8)
    server = Server(HttpSettings(host="127.0.0.1", port=0), views, Health(), Exposition(metrics))
    await server.start()

    async def work() -> None:
        detail = sample_views.fraud()
        while True:
            detail = busy(metrics, views, detail)
            await asyncio.sleep(0.2)

    working = asyncio.ensure_future(work())
    try:
        yield server.port
    finally:
        working.cancel()
        await server.stop()


async def drawn(prometheus: Prometheus, feature: str) -> list[str]:
    """Waits until rates exist, then runs all queries."""
    for counted in ("event_age_seconds_count", "labels_total", "label_delay_seconds_count"):
        await asyncio.to_thread(prometheus.until, f"rate(driftline_{counted}[5s]) > 0")
    await asyncio.to_thread(prometheus.until, "rate(driftline_published_total[5s])")
    await asyncio.to_thread(prometheus.until, "driftline:objective_bad:ratio_rate5m")
    return await asyncio.to_thread(without_data, prometheus, {**CHOSEN, "feature": feature})


async def test_every_query_returns_data_of_a_made_up_fleet(tmp_path: Path) -> None:
    async with exporter() as port:
        with scraping(tmp_path, port) as prometheus:
            assert set(await drawn(prometheus, "amount")) <= NO_SEGMENTS
            assert await asyncio.to_thread(prometheus.values, incidents()) == [1.0]


def incidents() -> str:
    """The number of incidents on the model dashboard, including the first, with which the counter begins."""
    (board,) = (paths.dashboard(path) for path in paths.DASHBOARDS if path.stem == "driftline-model")
    (panel,) = (panel for panel in board["panels"] if panel["title"] == "Incidents and the budget")
    return replaced(panel["targets"][0]["expr"], CHOSEN)


@pytest.mark.kafka
@pytest.mark.timeout(300)
async def test_every_query_returns_data_of_a_real_worker_that_found_drift(kafka: Cluster, tmp_path: Path) -> None:
    random = np.random.default_rng(11)
    objectives = {"accuracy": {"at_least": 0.9}}
    deployment = Deployment(kafka.bootstrap_servers, tmp_path, models={"fraud": {"objectives": objectives}})
    await deployment.prepare()
    columns = population(random, 10_000)
    await deployment.publish_reference("fraud", "3", columns)
    with WorkerProcess(deployment) as worker, scraping(tmp_path, worker.port) as prometheus:
        worker.until_ready()
        count = await deployment.publish_events("fraud", "3", population(random, 2_000, shift=3.0))
        worker.until_events("fraud", "3", count)
        await asyncio.to_thread(prometheus.until, 'driftline_model_state{state="drift"} == 1')

        over = asyncio.Event()

        async def traffic() -> None:
            while not over.is_set():
                await deployment.publish_events("fraud", "3", population(random, 100, shift=3.0), labels=[True] * 100)

        publishing = asyncio.ensure_future(traffic())
        try:
            assert set(await drawn(prometheus, next(iter(columns)))) <= NO_SEGMENTS
        finally:
            over.set()
            await publishing
