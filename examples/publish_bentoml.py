"""A BentoML service whose inferences are published.

bentoml serve examples.publish_bentoml:FraudService
"""

import os
import time
from collections.abc import Sequence
from typing import Any

import bentoml

from driftline import InferencePublisher


def score(features: dict[str, Any]) -> float:
    """A placeholder for your model."""
    return min(1.0, float(features["amount"]) / 1000)


@bentoml.service(name="fraud")
class FraudService:
    """The service. BentoML may run several worker processes; each has its own publisher and queue."""

    def __init__(self) -> None:
        servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092")
        self.publisher = InferencePublisher("fraud", "3", bootstrap_servers=servers)

    @bentoml.api
    def predict(self, rows: Sequence[dict[str, Any]]) -> list[int]:
        """Predicts a batch. Publishes one event per row, with its share of the batch's time as latency."""
        began = time.perf_counter()
        scores = [score(row) for row in rows]
        latency_ms = (time.perf_counter() - began) * 1000 / max(1, len(rows))
        for row, value in zip(rows, scores, strict=True):
            self.publisher.log(row, int(value > 0.5), scores={"fraud": value}, latency_ms=latency_ms)
        return [int(value > 0.5) for value in scores]

    @bentoml.on_shutdown
    def close(self) -> None:
        self.publisher.close()
