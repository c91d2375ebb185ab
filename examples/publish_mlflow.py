"""An MLflow pyfunc model that publishes what it predicts, wherever it is served.

mlflow.pyfunc.save_model("published", python_model=Published("fraud", "3"), artifacts={"model": "runs:/.../model"})
"""

import os
import time
from typing import Any

import mlflow.pyfunc

from driftline import InferencePublisher


class Published(mlflow.pyfunc.PythonModel):
    """Wraps the logged model ``artifacts["model"]``; rows of the data frame become one event each."""

    def __init__(self, model: str, version: str) -> None:
        self.model, self.version = model, version

    def load_context(self, context: Any) -> None:
        """Makes the publisher in the serving process: it is not pickled, and records the server's library versions."""
        self.inner = mlflow.pyfunc.load_model(context.artifacts["model"])
        servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092")
        self.publisher = InferencePublisher(self.model, self.version, bootstrap_servers=servers)

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        began = time.perf_counter()
        predictions = self.inner.predict(model_input, params=params)
        latency_ms = (time.perf_counter() - began) * 1000 / max(1, len(model_input))
        for row, prediction in zip(model_input.to_dict("records"), list(predictions), strict=True):
            self.publisher.log(row, prediction, latency_ms=latency_ms)
        return predictions
