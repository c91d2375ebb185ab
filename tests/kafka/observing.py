"""A process that observes, to be killed by tests: ``python -m tests.kafka.observing SERVERS MARK [POISON]``.

It kills itself while it decodes a record that contains POISON, as a crash in a native library does.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Sequence

from stream.backends.clock import SystemClock
from stream.backends.kafka.sink import KafkaSink
from stream.backends.kafka.source import KafkaSource
from stream.backends.kafka.tables import KafkaTableReader
from stream.formats.decoder import Decoded, Decoder
from stream.observe.observer import Observer
from stream.observe.shell.runner import Runner
from stream.observe.shell.settings import observe_settings
from stream.settings.settings import KafkaSettings, Settings, TopicSettings
from stream.topics.record import Partition, Record


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


def die_of(poison: bytes) -> None:
    """Lets the process kill itself at the records that contain ``poison``."""
    steps = Decoder.steps

    def killing(self: Decoder, place: Partition, records: Sequence[Record], decoded: Decoded) -> Iterator[None]:
        if any(poison in (record.value or b"") for record in records):
            os.kill(os.getpid(), signal.SIGKILL)
        yield from steps(self, place, records, decoded)

    Decoder.steps = killing  # type: ignore[method-assign]


if __name__ == "__main__":
    if len(sys.argv) > 3:
        die_of(sys.argv[3].encode())
    asyncio.run(observe(sys.argv[1], sys.argv[2]))
