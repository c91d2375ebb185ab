"""A worker, assembled from its parts: observe, judge, HTTP. The one place that knows all of them."""

import asyncio
import logging
import platform
from collections.abc import Coroutine
from typing import Any

import msgspec

from detectors.bank import bank
from detectors.errors import BrokerError
from detectors.evidence import e_detector, explanations, sizes
from stream.backends.clock import SystemClock
from stream.backends.kafka import connection
from stream.backends.kafka.outage import OUTAGE
from stream.backends.kafka.source import KafkaSource
from stream.backends.ports import Clock, Output
from stream.backends.registry_client import RegistryClient
from stream.formats.schemas import Schemas
from stream.http.api import WriteApi
from stream.http.page import routes
from stream.http.server import Server
from stream.judge import settings as judge_settings
from stream.judge.judge import Judge
from stream.judge.shell import faust, relocation
from stream.judge.shell.app import JudgeApp
from stream.judge.shell.desk import JudgeDesk
from stream.metrics.exposition import Exposition
from stream.metrics.models import ModelFamilies
from stream.metrics.outcomes import OutcomeFamilies
from stream.metrics.registry import Metrics
from stream.metrics.worker import ServiceFamilies
from stream.observe import recent_ids
from stream.observe.observer import Observer
from stream.observe.shell import settings as observe_settings
from stream.observe.shell.label_reader import LabelReader
from stream.observe.shell.runner import Runner
from stream.references import configured
from stream.service import versions
from stream.service.brokers import Brokers
from stream.service.follower import Follower
from stream.service.health import HealthWatch
from stream.settings.settings import Settings
from stream.topics import requests
from stream.topics.dead_letters import DeadLetters
from stream.topics.record import OutRecord
from stream.topics.requests import Request
from stream.topics.views import Json, Views

log = logging.getLogger(__name__)

ROLES = ("all", "observe", "judge")

STUCK_AFTER_MS = 300_000
"""Longer than any bounded retry inside a loop, so that an unreachable broker never looks like a loop that hangs."""


class Worker:
    """One process's share of the service. ``failed`` resolves with the error that ended a loop which must not end."""

    def __init__(
        self, settings: Settings, role: str = "all", clock: Clock | None = None, before: "Worker | None" = None
    ) -> None:
        """``before``: the worker of this process that ended and that this one follows; its counters, its port and what
        it showed are kept."""
        assert role in ROLES, role
        self._settings = settings
        self._role = role
        self._clock = clock or SystemClock()
        self._brokers = Brokers(settings, self._clock)
        self._started_ms = self._clock.now_ms()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stop_observing = asyncio.Event()
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self.views: Views = Views(max_incidents=settings.limits.incidents_kept) if before is None else before.views
        self.metrics: Metrics = Metrics() if before is None else before.metrics
        self.metrics.forget_gauges()
        dead_letters = DeadLetters(settings, self.metrics.limited)
        self._runner = self._make_runner(dead_letters) if role != "judge" else None
        desk = self._make_desk() if role != "observe" else None
        self._sink = None if desk is None else self._brokers.sink()
        self._judge = None if desk is None else self._make_judge(desk, dead_letters)
        self._follower = None if desk is None else self._make_follower(desk)
        self._make_gauges(desk)
        self._server = Server(
            settings.http if before is None else msgspec.structs.replace(settings.http, port=before.port),
            self.views,
            self,
            Exposition(self.metrics),
            lambda app, views: routes.add_pages(app, views, self._clock.now_ms),
            WriteApi(self.views, self._publish_request, self._clock.now_ms) if desk is not None else None,
            self.metrics.refused,
        )

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def host(self) -> str:
        return self._settings.http.host

    @property
    def ready(self) -> bool:
        return not self.waiting_for()

    async def start(self) -> None:
        """Returns when the loops run; ``ready`` becomes true later. Raises DriftlineError if the worker cannot run."""
        await self._server.start()
        if self._settings.kafka.create_topics:
            await self._brokers.prepare_topics()
        await self._publish_file_references()
        if self._follower is not None:
            self._spawn("follower", self._follower.run())
        if self._judge is not None:
            assert self._sink is not None
            assert self._follower is not None
            await self._brokers.wait_for(self._sink.start)
            await self._move_rows(self._sink)
            # The judge must know a profile's reference before it reads the profile.
            await self._first(self._follower.caught_up.wait())
            await self._first(self._judge.start())
        if self._runner is not None:
            self._spawn("observer", self._runner.run(self._stop_observing))

    async def _publish_file_references(self) -> None:
        records = configured.records(self._settings)
        if records:
            sink = await self._brokers.started_sink()
            try:
                await sink.send(records)
            finally:
                await sink.stop()

    async def _move_rows(self, sink: Output) -> None:
        reader = self._brokers.reader()
        try:
            await relocation.move_rows(self._settings, reader, sink)
        finally:
            await reader.stop()

    async def stop(self) -> None:
        """Checkpoints, leaves the groups and closes, within ``shutdown_seconds`` even if the broker does not answer."""
        seconds = self._settings.shutdown_seconds
        self._stop_observing.set()
        await asyncio.gather(self._end_observing(seconds), self._end_judging(seconds))
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=0.3)
        await self._server.stop()

    def alive(self) -> bool:
        if OUTAGE.lasting:  # loops wait for the broker; a restart would not help
            return not self.failed.done()
        now_ms = self._clock.now_ms()
        turned = [loop.turned_at_ms for loop in (self._runner, self._judge) if loop is not None]
        return not self.failed.done() and all(now_ms - at_ms < STUCK_AFTER_MS for at_ms in turned)

    def waiting_for(self) -> list[str]:
        waiting = []
        if self._runner is not None:
            if "observer" not in self._tasks:
                waiting.append("start of the observer")
            elif not self._runner.ready:
                waiting.extend(self._runner.waiting_for or ["the observer"])
        if self._judge is not None and not self._judge.ready:
            waiting.append("restore of the judge")
        if self._follower is not None and not self._follower.caught_up.is_set():
            waiting.append("references and views")
        if OUTAGE.lasting:
            waiting.append("Kafka, which does not answer")
        return waiting

    def status(self) -> Json:
        lags = self._runner.lags if self._runner is not None else {}
        waiting = self.waiting_for()
        return {
            "version": versions.installed()["driftline"],
            "role": self._role,
            "ready": not waiting,
            "waiting_for": waiting,
            "uptime_seconds": (self._clock.now_ms() - self._started_ms) / 1000,
            "partitions": {str(partition): lag for partition, lag in sorted(lags.items())},
            "models": len(self.views.models()),
            "incidents_open": len(self.views.incidents(state="open")),
        }

    def _make_runner(self, dead_letters: DeadLetters) -> Runner:
        settings = self._settings
        bank.compile_loops()
        recent_ids.compile_loops()
        schemas = Schemas(configured=settings.schema_registry.url is not None)
        observer = Observer(observe_settings.observe_settings(settings), schemas=schemas)
        registry = RegistryClient(settings.schema_registry, schemas, self._clock) if schemas.configured else None
        source = KafkaSource(settings.kafka, settings.topics.event_names)
        sink = self._brokers.sink()
        labels = None
        if settings.topics.labels:
            labels = LabelReader(settings.topics.labels, self._brokers.reader, observer, self.metrics)
        return Runner(
            settings, observer, source, sink, self._brokers.reader, self._clock, self.metrics, labels, dead_letters,
            registry,
        )  # fmt: skip

    def _make_desk(self) -> JudgeDesk:
        e_detector.compile_loops()
        explanations.compile_loops()
        sizes.compile_loops()
        runner = self._runner
        health = HealthWatch(self.metrics, lambda: {} if runner is None else runner.lags)
        return JudgeDesk(self._settings, Judge(judge_settings.judge_settings(self._settings)), self.metrics, health)

    def _make_judge(self, desk: JudgeDesk, dead_letters: DeadLetters) -> JudgeApp:
        assert self._sink is not None
        return JudgeApp(
            self._settings,
            desk,
            self._sink,
            self._clock,
            self.metrics,
            self._fail,
            faust.application(
                self._settings,
                connection.ssl_context(self._settings.kafka),
                connection.token_provider(self._settings.kafka),
            ),
            dead_letters,
        )

    def _make_follower(self, desk: JudgeDesk) -> Follower:
        topics = self._settings.topics
        return Follower(
            self._brokers.reader,
            {
                topics.references: desk.apply_reference,
                topics.actions: desk.apply_request,
                topics.incidents: self.views.apply_incident,
                topics.views: self.views.apply_view,
            },
        )

    async def _publish_request(self, request: Request) -> None:
        if self._sink is None or not self._sink.connected:
            raise BrokerError("not connected to Kafka yet; retry later")
        topic = self._settings.topics.actions
        await self._sink.send([OutRecord(topic, requests.key(request), requests.encode(request))])
        self.metrics.published(topic, 1)

    def _make_gauges(self, desk: JudgeDesk | None) -> None:
        installed = versions.installed()
        self.metrics.live.append(
            ServiceFamilies(installed["driftline"], "", platform.python_version(), self._runner, self._judge)
        )
        if desk is not None:
            budget = lambda model: float(self._settings.model(model).false_alarms_per_model_per_month or 0)  # noqa: E731
            shown = self._settings.limits.feature_series_per_model
            self.metrics.of_models.append(OutcomeFamilies(self.views, lambda: desk.units))
            self.metrics.of_models.append(
                ModelFamilies(
                    self.views, lambda: desk.units, budget, self.metrics.suppressed, shown, self._clock.now_ms
                )
            )

    async def _first(self, work: Coroutine[Any, Any, Any]) -> None:
        """Waits for ``work``; raises what failed if something else fails first."""
        task = asyncio.ensure_future(work)
        await asyncio.wait((task, self.failed), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            raise self.failed.result()
        await task

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks[name] = task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._stop_observing.is_set():
            return
        self._fail(task.exception() or BrokerError(f"the {task.get_name()} ended by itself"))

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_result(error)

    async def _end_observing(self, seconds: float) -> None:
        task = self._tasks.get("observer")
        if task is None:
            return
        _, late = await asyncio.wait((task,), timeout=seconds)
        if late:
            log.warning(
                "the last checkpoint was not acknowledged within %.0f s; the next start reads from the one before",
                seconds,
            )
        elif not task.cancelled() and (error := task.exception()) is not None:
            log.warning("the observer ended with: %s", error)

    async def _end_judging(self, seconds: float) -> None:
        if self._judge is not None:
            await self._judge.stop(0.9 * seconds)
        if self._sink is not None:
            await asyncio.wait((asyncio.ensure_future(self._sink.stop()),), timeout=0.1 * seconds)
