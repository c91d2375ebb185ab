"""An Airflow 3 DAG that retrains on request: a message-queue trigger watches ``retrain-requests``.

Needs apache-airflow-providers-apache-kafka and -common-messaging, and a Kafka connection named ``driftline`` with
``{"bootstrap.servers": "kafka:9092", "group.id": "airflow-retrain", "auto.offset.reset": "earliest"}``.
"""

import json
from typing import Any

from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger
from airflow.sdk import Asset, AssetWatcher, dag, task


def retrain_request(message: Any) -> dict[str, Any] | None:
    """Called by the triggerer for every message. Returns the payload of the asset event, or None for no event."""
    event = json.loads(message.value())
    if event.get("type") != "io.driftline.retrain.requested.v1":
        return None
    return dict(event["data"])


trigger = MessageQueueTrigger(
    scheme="kafka",
    kafka_config_id="driftline",
    topics=["retrain-requests"],
    apply_function="airflow_dag.retrain_request",
    poll_timeout=1,
    poll_interval=5,
)

requests = Asset("driftline-retrain-requests", watchers=[AssetWatcher(name="driftline", trigger=trigger)])


@dag(schedule=[requests], catchup=False, tags=["driftline"])
def retrain() -> None:
    @task
    def train(triggering_asset_events: dict[Any, list[Any]] | None = None) -> list[str]:
        """Trains once for each request id: a request may arrive several times, and several may arrive at once."""
        found: dict[str, dict[str, Any]] = {}
        for events in (triggering_asset_events or {}).values():
            for event in events:
                payload = event.extra.get("payload", event.extra)
                request = json.loads(payload) if isinstance(payload, str) else payload
                found[request["request_id"]] = request
        for request in found.values():
            print(f"train {request['model']} on {request['window']}, because {request['reason']}")
        return sorted(found)

    train()


retrain()
