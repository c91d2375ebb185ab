"""driftline's observe stage in a process of its own, which waits for a signal before it reads and returns its cost.

``python -m benchmarks.scale.observing '{"servers": ...}'`` (an ``Order``) writes one line of JSON when its partitions
are restored (``Ready``), begins with the first line on its standard input, writes a second one when all is counted
(``Done``), and leaves the group with the next: one that left before the others are done would give them its partitions.
"""

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from benchmarks.scale.memory import resident_bytes
from benchmarks.throughput.ours import Meter, own_topics
from benchmarks.throughput.traffic import PARTITIONS
from stream.backends.clock import SystemClock
from stream.backends.kafka.sink import KafkaSink
from stream.backends.kafka.source import KafkaSource
from stream.backends.kafka.tables import KafkaTableReader
from stream.observe.observer import Observer
from stream.observe.shell.runner import Runner
from stream.observe.shell.settings import observe_settings
from stream.service import process
from stream.settings.settings import KafkaSettings, Settings
from stream.topics.record import Partition
from tests.kafka.server import ROOT

START_SECONDS = 120.0

T = TypeVar("T")


class Order(msgspec.Struct, frozen=True):
    """What a process has to do.

    ``events``: how many events it counts, of which the first ``skip`` are not measured; 0: it only restores. ``mark``:
    part of the names of consumer group and topics. Processes with the same mark are workers of one deployment.
    """

    servers: str
    topic: str
    mark: str
    workers: int = 1
    events: int = 0
    skip: int = 0


class Ready(msgspec.Struct, frozen=True):
    """``seconds``: since the runner started, with references and joining the group; ``restore_seconds``: part of it."""

    seconds: float
    restore_seconds: float
    units: int


class Done(msgspec.Struct, frozen=True):
    """The measurement; ``began`` and ``ended`` by the machine's monotonic clock."""

    events: int
    began: float
    ended: float
    cpu_seconds: float
    units: int
    resident_bytes: int
    written: dict[str, int]
    other: dict[str, int]


class HeldSource(KafkaSource):
    """A source that fetches nothing before ``release``, so that all processes start together."""

    released = False

    def resume(self, partitions: Sequence[Partition]) -> None:
        if self.released:
            super().resume(partitions)

    def release(self, partitions: Sequence[Partition]) -> None:
        self.released = True
        super().resume(partitions)


async def _run(order: Order) -> None:
    kafka = KafkaSettings(bootstrap_servers=order.servers, group_id=order.mark)
    settings = Settings(
        kafka=kafka,
        topics=own_topics(order.topic, order.mark),
        shutdown_seconds=60,
    )
    counted, stop = asyncio.Event(), asyncio.Event()
    meter = Meter(order.events, counted, order.skip)
    source = HeldSource(kafka, settings.topics.event_names)
    observer = Observer(observe_settings(settings))
    tables = lambda: KafkaTableReader(kafka)  # noqa: E731
    runner = Runner(settings, observer, source, KafkaSink(kafka), tables, SystemClock(), meter)
    began = time.perf_counter()
    running = asyncio.create_task(runner.run(stop))
    wanted = PARTITIONS // order.workers
    while not (runner.ready and len(runner.lags) == wanted):
        if running.done():
            await running
        await asyncio.sleep(0.01)
    _say(Ready(time.perf_counter() - began, runner.restore_seconds, runner.units))
    if order.events:
        await asyncio.to_thread(sys.stdin.readline)
        gc.collect()
        source.release(tuple(runner.lags))
        waiting = asyncio.create_task(counted.wait())
        await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running  # raises the error that ended it
        _say(_done(meter, runner, order.mark + "-"))
    await asyncio.to_thread(sys.stdin.readline)
    stop.set()
    await running


def _done(meter: Meter, runner: Runner, prefix: str) -> Done:
    began, spent = meter.began.seconds, meter.spent
    return Done(
        events=meter.measured,
        began=began,
        ended=began + spent.seconds,
        cpu_seconds=spent.cpu_seconds,
        units=runner.units,
        resident_bytes=resident_bytes(),
        written={name.removeprefix(prefix): count for name, count in meter.written.items()},
        other=meter.other,
    )


def _say(what: msgspec.Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.flush()


class Observing:
    """The process, seen from the one that started it."""

    def __init__(self, order: Order) -> None:
        command = [sys.executable, "-m", "benchmarks.scale.observing", msgspec.json.encode(order).decode()]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)

    def ready(self) -> Ready:
        return self._next(Ready)

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def done(self) -> Done:
        return self._next(Done)

    def leave(self) -> None:
        """Ends the process after a last checkpoint."""
        self.go()
        self._process.wait(90)

    def end(self) -> None:
        """Ends the process at once if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _next(self, kind: type[T]) -> T:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"an observing process ended with status {self._process.wait(10)}")
        return msgspec.json.decode(line, type=kind)


if __name__ == "__main__":
    process.collect_seldom()  # as the worker does
    asyncio.run(_run(msgspec.json.decode(sys.argv[1], type=Order)))
