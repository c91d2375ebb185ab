"""A FastAPI handler whose inferences are published: one decorator, and one publisher for the life of the application.

uvicorn examples.publish_fastapi:app
"""

import functools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from driftline import InferencePublisher

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


def published(publisher: Callable[[], InferencePublisher]) -> Callable[[Handler], Handler]:
    """Publishes the input and output of the handler, its latency, and whether it failed. The output is unchanged.

    ``publisher`` is a function, because the handlers are made before the application starts.
    """

    def decorate(handler: Handler) -> Handler:
        @functools.wraps(handler)
        async def wrapper(features: dict[str, Any]) -> dict[str, Any]:
            began = time.perf_counter()
            answer: Mapping[str, Any] = {}
            failed = True
            try:
                answer = result = await handler(features)
                failed = False
                return result
            finally:
                publisher().log(
                    features,
                    answer.get("prediction"),
                    scores=answer.get("scores"),
                    latency_ms=(time.perf_counter() - began) * 1000,
                    error=failed,
                )

        return wrapper

    return decorate


class State:
    """Opens the publisher for the life of the application."""

    publisher: InferencePublisher


@asynccontextmanager
async def lifespan(_app: object) -> AsyncIterator[None]:
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092")
    with InferencePublisher("fraud", "3", bootstrap_servers=servers) as State.publisher:
        yield


async def predict(features: dict[str, Any]) -> dict[str, Any]:
    """A placeholder for your model."""
    score = min(1.0, float(features["amount"]) / 1000)
    return {"prediction": int(score > 0.5), "scores": {"fraud": score}}


def create_app() -> Any:
    from fastapi import FastAPI

    application = FastAPI(lifespan=lifespan)
    application.post("/predict")(published(lambda: State.publisher)(predict))
    return application


def __getattr__(name: str) -> Any:
    """Makes ``app`` for uvicorn on demand, so that this file can be imported without FastAPI."""
    if name == "app":
        return create_app()
    raise AttributeError(name)
