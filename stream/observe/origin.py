"""Which topic an assigned partition is of, and what happened to it: made anew, or without its checkpoint. Pure."""

from collections.abc import Mapping

from stream.observe.effects import Interruption
from stream.topics.checkpoints import Manifest
from stream.topics.generations import LOST, MADE_ANEW, Generation, shown
from stream.topics.record import Partition


class Origin:
    """``topics``: the generations of the topic of ``partition`` and of the label topics. ``lost_below``: a
    checkpoint that is gone held events below this position; None: no checkpoint is missing."""

    __slots__ = ("_saved", "lost_below", "partition", "topics")

    def __init__(
        self, partition: Partition, topics: Mapping[str, Generation], lost_below: int | None, saved: int | None
    ) -> None:
        """``saved``: ``next`` of the manifest that was restored; None: there is none."""
        self.partition, self.topics = partition, dict(topics)
        self.lost_below = lost_below
        self._saved = {saved}

    def begin_of(self, topic: str) -> int:
        """The position at which the present generation of a topic begins."""
        known = self.topics.get(topic)
        return 0 if known is None else known.begin

    def note_saved(self, following: int, *, acknowledged: bool) -> None:
        """Notes that a manifest with this ``next`` is being written, or is acknowledged."""
        self._saved = {following} if acknowledged else {*self._saved, following}

    def holds(self, manifest: Manifest | None) -> bool:
        """Whether the newest manifest is the partition's own: nobody has written another one since."""
        return (None if manifest is None else manifest.next) in self._saved

    def loses(self, first_offset: int) -> bool:
        """Whether a unit that begins there lacks what a checkpoint held that is gone."""
        return self.lost_below is not None and first_offset < self.lost_below


def made_anew(partition: Partition, before: Generation, position: int, *, kept: bool) -> Interruption:
    """The report of a topic that was made again. ``position``: the partition was read up to there. ``kept``: by
    this worker; otherwise by the checkpoint, which may lack the last records that were read."""
    reached = "this worker has counted" if kept else "the checkpoint holds"
    return Interruption(
        partition,
        MADE_ANEW,
        f"{partition.topic} was made anew (its id was {before.topic_id}). {partition} is read from its first record. "
        f"Of the topic before, {reached} all up to {shown(position)}; the broker has no record of it any more",
    )


def labels_made_anew(partition: Partition, topic: str) -> Interruption:
    """The report of a label topic that was made again since the checkpoint of ``partition``."""
    place = Partition(topic, partition.partition)
    return Interruption(
        place, MADE_ANEW, f"{topic} was made anew since the checkpoint of {partition}; it is read from its first record"
    )


def checkpoint_lost(partition: Partition, committed: int, beginning: int) -> Interruption:
    """The report of a checkpoint that is gone. ``committed``: the group's offset, which was committed with it;
    ``beginning``: the first offset that the broker has."""
    gone = f"those of {beginning} records below it cannot be read again" if beginning else "all can be read again"
    return Interruption(
        partition,
        LOST,
        f"{partition} has no checkpoint, and the group had committed offset {committed}: the counts of this partition "
        f"are lost and begin again. The broker has records from offset {beginning} on: {gone}",
    )
