"""Keyed partitions on a real broker: however unevenly they are read, the incidents are those of an undisturbed run."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.kafka.server import Cluster
from tests.service import keyed
from tests.service.keyed import CHANGED, MODEL, PARTITIONS, VERSION, KeyedTopic

pytestmark = pytest.mark.kafka

RUNS = int(os.environ.get("DRIFTLINE_TEST_RUNS", "1"))
FROZEN_SECONDS = 9.0
"""Longer than the session timeout of the group, so that its partitions go to the other worker."""

AWAKE_SECONDS = 4.0
"""In this time a worker that was frozen publishes what it had, and notices that it lost its partitions."""


@pytest.fixture(params=range(RUNS))
def topic(request: pytest.FixtureRequest, kafka: Cluster, tmp_path: Path) -> KeyedTopic:
    return KeyedTopic(kafka.bootstrap_servers, tmp_path, 7 + request.param)


async def test_a_start_on_a_backlog_raises_nothing(topic: KeyedTopic) -> None:
    await topic.prepare()
    await topic.publish_keyed_reference()
    await topic.publish_keyed(topic.rows(50))
    with topic.worker() as worker:
        detail = worker.until_events(MODEL, VERSION, PARTITIONS * topic.sent)
        assert detail["state"] in ("stable", "warning"), detail
    assert await keyed.published(topic) == []


async def test_a_reference_is_learned_from_all_partitions_side_by_side(topic: KeyedTopic) -> None:
    await topic.prepare()
    await topic.publish_keyed(topic.rows(75))
    with topic.worker() as worker:
        worker.until_events(MODEL, VERSION, PARTITIONS * topic.sent)
    assert await keyed.published(topic) == []
    learned = [r for r in await topic.read_all("references") if r["model"] == MODEL]
    assert learned
    country = next(f for f in learned[-1]["features"] if f["feature"] == "country")
    counts = dict(zip(country["categories"], country["category_counts"], strict=True))
    assert abs(counts["DE"] - counts["FR"]) < 0.1 * counts["DE"], counts


async def test_a_change_while_one_worker_is_frozen_is_one_incident_of_the_right_feature(topic: KeyedTopic) -> None:
    """Until the group gives its partitions to the other worker, half of the events are missing everywhere."""
    await topic.prepare()
    await topic.publish_keyed_reference()
    with keyed.two_workers(topic) as (first, second):
        await topic.publish_keyed(topic.rows(20))
        keyed.freeze(second)
        await topic.publish_keyed(topic.rows(20))
        await topic.publish_keyed(topic.rows(20, shift=keyed.SIGMA))
        first.until(lambda: first.incidents("state=open"), "incident")
        keyed.wake(second)
        await topic.publish_keyed(topic.rows(10, shift=keyed.SIGMA))
        await asyncio.sleep(AWAKE_SECONDS)
    published = await keyed.published(topic)
    assert [kind for kind, _, _ in published if kind != "updated"] == ["opened"], published
    assert {tuple(features) for _, features, _ in published} == {(CHANGED,)}


async def test_a_worker_that_freezes_wakes_and_is_joined_by_another_raises_nothing(topic: KeyedTopic) -> None:
    await topic.prepare()
    await topic.publish_keyed_reference()
    with keyed.two_workers(topic) as (_, second):
        await topic.publish_keyed(topic.rows(20))
        keyed.freeze(second)
        await topic.publish_keyed(topic.rows(20))
        await asyncio.sleep(FROZEN_SECONDS)
        await topic.publish_keyed(topic.rows(10))
        keyed.wake(second)
        await topic.publish_keyed(topic.rows(10))
        with topic.worker() as third:
            third.until_ready()
            await topic.publish_keyed(topic.rows(10))
            await asyncio.sleep(AWAKE_SECONDS)
    assert await keyed.published(topic) == []
