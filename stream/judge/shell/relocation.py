"""Moves rows of the judge to the partition of their model's profiles, before the judge starts.

Needed after an upgrade from partitioning by unit, and after the profiles topic was given more partitions. Meanwhile no
judge that still reads the old partitions may run in the deployment. A profile that is in a wrong partition and was not
judged yet is sent to the right one by the judge that reads it.
"""

import logging
from collections.abc import Iterable

from stream.backends.ports import Output, TableReader
from stream.judge.shell import faust, table
from stream.judge.shell.table import Stored
from stream.settings.settings import Settings
from stream.topics import keys
from stream.topics.record import OutRecord

log = logging.getLogger(__name__)


async def move_rows(settings: Settings, reader: TableReader, sink: Output) -> int:
    """Returns how many rows were moved; a second call moves none. Raises CheckpointError and BrokerError.

    Cost: reads the whole changelog.
    """
    topic = faust.changelog_topic(settings.kafka)
    partitions = await sink.partitions(settings.topics.profiles)
    rows = []
    for number in range(partitions):
        found = await reader.read_to_end(topic, [number])
        rows += [(key, record.value) for key, record in found.items() if record.value is not None]
    moves = relocated(rows, partitions)
    await sink.send([OutRecord(topic, key, value, partition=place) for place, key, value in moves])
    if moves:
        log.warning("%s: %d units were moved to the partition of their model", topic, len(moves))
    return len(moves)


def relocated(rows: Iterable[tuple[bytes, bytes]], partitions: int) -> list[tuple[int, bytes, bytes]]:
    """Partition, key and value of the rows to write so that each unit has one in the partition of its profiles.

    ``rows``: those of all partitions; if a unit has several, the furthest counts. The copy reaches one offset further
    than its original. The original stays: a table holds one row per key, whatever its partition, and a tombstone would
    delete both.
    """
    furthest_rows: dict[bytes, Stored] = {}
    for key, value in rows:
        stored = table.decode_stored(key, value)
        if key not in furthest_rows or stored.reach > furthest_rows[key].reach:
            furthest_rows[key] = stored
    found = []
    for key, stored in furthest_rows.items():
        home = keys.model_partition(stored.unit.model, partitions)
        if stored.partition != home:
            at_ms, offset = stored.reach
            copy = table.encode_stored(stored.unit, home, stored.blob, (at_ms, offset + 1))
            found.append((home, key, copy))
    return found
