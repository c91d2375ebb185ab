"""A process that observes, to be killed by tests: ``python -m tests.kafka.observing SERVERS MARK``."""

import asyncio
import signal
import sys

from stream.backends.clock import SystemClock
from stream.backends.kafka.sink import KafkaSink
from stream.backends.kafka.source import KafkaSource
from stream.backends.kafka.tables import KafkaTableReader
from stream.observe.observer import Observer
from stream.observe.shell.runner import Runner
from stream.observe.shell.settings import observe_settings
from stream.settings.settings import KafkaSettings, Settings, TopicSettings


def settings(servers: str, mark: str) -> Settings:
    """The settings of the process: its own topics and group, and short intervals."""
    return Settings(
        kafka=KafkaSettings(
            bootstrap_servers=servers, group_id=mark, session_timeout_ms=6_000, rebalance_timeout_ms=6_000
        ),
        topics=TopicSettings(
            events=(f"{mark}-events",),
            references=f"{mark}-references",
            profiles=f"{mark}-profiles",
            checkpoints=f"{mark}-checkpoints",
            dead_letters=f"{mark}-dead-letters",
        ),
        checkpoint_interval_seconds=0.3,
    )


async def observe(servers: str, mark: str) -> None:
    chosen = settings(servers, mark)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Runner(
        chosen,
        Observer(observe_settings(chosen)),
        KafkaSource(chosen.kafka, chosen.topics.event_names),
        KafkaSink(chosen.kafka),
        lambda: KafkaTableReader(chosen.kafka),
        SystemClock(),
    ).run(stop)


if __name__ == "__main__":
    asyncio.run(observe(sys.argv[1], sys.argv[2]))
