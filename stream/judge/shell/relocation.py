"""Rows of the judge that lie elsewhere than their model's profiles, brought there before the judge starts.

They do after profiles were dealt out by unit and not by model, and after the profiles topic got more partitions. No
judge of the deployment may run meanwhile that still has them where they were. Profiles which nobody had judged yet are
sent on by the judge that meets them.
"""

import logging

from stream.backends.ports import Output, TableReader
from stream.judge.shell import faust, table
from stream.settings.settings import Settings
from stream.topics.record import OutRecord

log = logging.getLogger(__name__)


async def move_rows(settings: Settings, reader: TableReader, sink: Output) -> int:
    """How many were moved; none a second time. Raises CheckpointError and BrokerError. Cost: reads the changelog."""
    topic = faust.changelog_topic(settings.kafka)
    partitions = await sink.partitions(settings.topics.profiles)
    rows = []
    for number in range(partitions):
        found = await reader.read_to_end(topic, [number])
        rows += [(key, record.value) for key, record in found.items() if record.value is not None]
    moved = table.moved(rows, partitions)
    await sink.send([OutRecord(topic, key, value, partition=place) for place, key, value in moved])
    if moved:
        log.warning("%s: %d units were moved to the partition of their model", topic, len(moved))
    return len(moved)
