"""The production of the demo: a thread in which the models serve requests, publish events, and get injected changes."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from stream.demo import models as demo_models
from stream.demo.models import ColourResponse, DeployedModel
from stream.demo.story import Injected, Injection
from stream.fingerprint import fingerprint
from stream.publisher import InferencePublisher

EVENTS_PER_SECOND = 150.0
"""Events per second of each model. All three need a tenth of one core."""

TRAINED_WITH_NUMPY, SERVED_WITH_NUMPY = "1.26.4", "2.1.0"
NEW_CAMERA = ColourResponse(red=1.3, green=1.0, blue=0.75, gamma=0.9)
SLEEP_SECONDS = 0.01


def train(seed: int) -> list[DeployedModel]:
    """The three models, trained on their data sets."""
    here = fingerprint(["numpy", "river"])
    then = {**here, "numpy": TRAINED_WITH_NUMPY}
    return [
        demo_models.train_image_segments(here, seed),
        demo_models.train_phishing(here, seed),
        demo_models.train_land_cover(then, seed),
    ]


def _swap_camera(model: DeployedModel) -> None:
    model.deploy(demo_models.with_camera(NEW_CAMERA))


def _lose_feature(model: DeployedModel) -> None:
    model.deploy(demo_models.without(frozenset({"age_of_domain"})))


def _bump_library(model: DeployedModel) -> None:
    model.deploy(demo_models.with_pixels_as(np.uint8), {**model.environment, "numpy": SERVED_WITH_NUMPY})


DAMAGE: Mapping[str, Callable[[DeployedModel], None]] = {
    "image-segments": _swap_camera,
    "phishing": _lose_feature,
    "land-cover": _bump_library,
}


class Traffic:
    """Serves requests at a steady rate until it is stopped. Any thread may read ``elapsed`` and ``made``.

    Events are keyed by what the model predicted, so each partition has a distribution of its own, as a topic that is
    keyed by customer has.
    """

    def __init__(
        self,
        models: Sequence[DeployedModel],
        story: Sequence[Injection],
        seconds: float,
        bootstrap_servers: str,
        now_ms: Callable[[], int],
        events_per_second: float = EVENTS_PER_SECOND,
    ) -> None:
        self._models = {model.model: model for model in models}
        self._pending = sorted(story, key=lambda injection: injection.at_share)
        self._seconds = seconds
        self._bootstrap_servers = bootstrap_servers
        self._now_ms = now_ms
        self._events_per_second = events_per_second
        self._publishers = {model.model: self._publisher(model) for model in models}
        self._logged = dict.fromkeys(self._models, 0)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="driftline-demo-traffic", daemon=True)
        self._began = 0.0
        self.made: list[Injected] = []
        self.dropped: dict[str, int] = {}
        self.crash: Exception | None = None

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began if self._began else 0.0

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def logged(self) -> dict[str, int]:
        """Events published so far, by model."""
        return dict(self._logged)

    def start(self) -> None:
        self._began = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Stops serving and sends queued events. Blocks for at most some seconds."""
        self._stopping.set()
        self._thread.join(10)
        for name in self._models:
            self._close_publisher(name)

    def _publisher(self, model: DeployedModel) -> InferencePublisher:
        return InferencePublisher(
            model.model, model.version, bootstrap_servers=self._bootstrap_servers, environment=model.environment
        )

    def _run(self) -> None:
        try:
            while not self._stopping.is_set() and self.elapsed < self._seconds:
                self._inject()
                self._serve()
                self._stopping.wait(SLEEP_SECONDS)
        except Exception as error:
            self.crash = error

    def _serve(self) -> None:
        due = int(self.elapsed * self._events_per_second)
        for name, model in self._models.items():
            publisher = self._publishers[name]
            for _ in range(due - self._logged[name]):
                features, prediction, scores = model.serve()
                publisher.log(features, prediction, scores=scores, key=str(prediction))
                self._logged[name] += 1

    def _inject(self) -> None:
        while self._pending and self.elapsed >= self._pending[0].at_share * self._seconds:
            injection = self._pending.pop(0)
            model = self._models[injection.model]
            environment = model.environment
            DAMAGE[injection.model](model)
            if model.environment != environment:  # another library version means a new process of the service
                self._close_publisher(injection.model)
                self._publishers[injection.model] = self._publisher(model)
            self.made.append(Injected(injection, self._now_ms(), self._logged[injection.model]))

    def _close_publisher(self, name: str) -> None:
        publisher = self._publishers[name]
        publisher.close()
        for reason, count in publisher.stats().dropped.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + count
