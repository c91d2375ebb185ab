"""A partition as its checkpoint, its topic's id and the worker's own memory have it. No I/O."""

from collections.abc import Mapping

from detectors.errors import CheckpointError
from detectors.features import UnitKey
from stream.observe import origin as reports
from stream.observe.effects import Interruption
from stream.observe.origin import Origin
from stream.observe.partition import Assigned
from stream.observe.places import Places
from stream.observe.unit_work import UnitWork
from stream.topics import checkpoints, generations
from stream.topics.checkpoints import Manifest, UnitRecord
from stream.topics.generations import MADE_ANEW, Generation
from stream.topics.record import Partition


class Found:
    """What is known of a partition when it is assigned.

    :param checkpoint: the newest record of each key of its checkpoint.
    :param beginning: the first offset that the topic still holds; None: it is not checked.
    :param ids: of the event topics and label topics, as the broker has them now.
    :param committed: the group's offset, if it was committed with a checkpoint.
    """

    __slots__ = ("beginning", "checkpoint", "committed", "ids")

    def __init__(
        self,
        checkpoint: Mapping[bytes, bytes] | None = None,
        beginning: int | None = None,
        ids: Mapping[str, str] | None = None,
        committed: int | None = None,
    ) -> None:
        self.checkpoint = checkpoint or {}
        self.beginning, self.committed = beginning, committed
        self.ids = ids or {}


def restored(
    partition: Partition, found: Found, places: Places, work: UnitWork, left: Assigned | None = None
) -> tuple[Assigned, int | None]:
    """The partition, and the position to seek to; None: there is no checkpoint, and the caller chooses.

    ``left``: the partition as this worker held it before the group changed. It goes on where the topic was made anew:
    the records from which it could be counted again are gone.

    Raises CheckpointError when the checkpoint is broken, or when it continues below ``beginning``.
    """
    manifest, records = _parsed(partition, found.checkpoint)
    known = [record.topics for record in records.values()]
    if manifest is not None:
        known.append(manifest.topics)
    if left is not None and not left.origin.holds(manifest):
        left = None
    if left is not None:
        known.append(left.origin.topics)
    topics = generations.present_of({partition.topic: "", **found.ids}, known)
    begin = topics[partition.topic].begin
    if left is not None and left.origin.begin_of(partition.topic) < begin:
        work.report(reports.made_anew(partition, left.origin.topics[partition.topic], left.position, kept=True))
        left.begin_generation(topics)
        work.resume(left, MADE_ANEW)
        return left, begin
    assigned, seek, reached = _from_checkpoint(partition, found, topics, places, work, manifest, records)
    former = [one[partition.topic] for one in known if partition.topic in one]
    if reached < begin:
        before = max((one for one in former if one.begin < begin), key=lambda one: one.number)
        work.report(reports.made_anew(partition, before, reached, kept=False))
    for topic in topics.keys() - {partition.topic}:
        if known and topics[topic].begin > max(one[topic].begin for one in known if topic in one):
            work.report(reports.labels_made_anew(partition, topic))
    return assigned, seek


def _from_checkpoint(
    partition: Partition,
    found: Found,
    topics: Mapping[str, Generation],
    places: Places,
    work: UnitWork,
    manifest: Manifest | None,
    records: Mapping[UnitKey, UnitRecord],
) -> tuple[Assigned, int | None, int]:
    """See ``restored``; also up to where the checkpoint has counted."""
    begin = topics[partition.topic].begin
    restore = checkpoints.reconcile(manifest, {unit: r.stamp for unit, r in records.items()}, str(partition), begin)
    if restore is None:
        lost = _lost(partition, found)
        if lost is not None:
            work.report(lost)
        origin = Origin(partition, topics, found.committed if lost else None, None)
        return Assigned(-1, 0, places, work, origin), None, begin
    seek = _checked(partition, restore.seek, begin + (found.beginning or 0), complete=manifest is not None)
    origin = Origin(partition, topics, None, None if manifest is None else manifest.next)
    assigned = Assigned(seek, restore.floor, places, work, origin)
    clock_ms = None if manifest is None else manifest.clock_ms
    for rank, (key, record) in enumerate(sorted(records.items(), key=lambda one: repr(one[0]))):
        anew = key in restore.anew
        work.restore(assigned, partition, key, record, restore.skip_below[key], clock_ms, rank, anew=anew)
    held = {key: (unit.stamp, unit.labels) for key, unit in assigned.units.items()}
    assigned.restore_labels(checkpoints.label_positions(manifest, held))
    assigned.restore_clock(manifest)
    work.note(assigned, restore.anew, MADE_ANEW)
    stamps = [begin if manifest is None else manifest.next, *(records[key].stamp for key in restore.anew)]
    return assigned, seek, max(at for at in stamps if at < begin) if min(stamps) < begin else begin


def _lost(partition: Partition, found: Found) -> Interruption | None:
    if not found.committed:
        return None
    return reports.checkpoint_lost(partition, found.committed, found.beginning or 0)


def _checked(partition: Partition, seek: int, first: int, *, complete: bool) -> int:
    """The position to seek to. Raises CheckpointError if the topic's first record comes after it."""
    if complete and seek < first:
        raise CheckpointError(
            f"{partition}: the checkpoint continues at {generations.shown(seek)}, but the topic begins at "
            f"{generations.offset_of(first)}: {first - seek} records are lost to retention; give the partition up with "
            "'driftline checkpoints drop'"
        )
    return max(seek, first)


def _parsed(
    partition: Partition, checkpoint: Mapping[bytes, bytes]
) -> tuple[Manifest | None, dict[UnitKey, UnitRecord]]:
    """Manifest and unit records of one partition. Raises CheckpointError when a record is broken."""
    manifest, records = None, {}
    for key, value in checkpoint.items():
        place, unit = checkpoints.parse_key(key)
        if place != partition:
            continue
        if unit is None:
            manifest = checkpoints.decode_manifest(value, str(partition))
        else:
            records[unit] = checkpoints.decode_unit(value, f"{partition}: {unit}")
    return manifest, records
