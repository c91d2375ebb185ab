"""Which label topics the assigned partitions have joined, and up to where. No I/O."""

from collections.abc import Mapping

from stream.observe.partition import Assigned
from stream.topics import checkpoints
from stream.topics.generations import offset_of
from stream.topics.record import Partition


class LabelTopics:
    """The label topics of one worker. ``partitions``: those that are assigned; their owner keeps them up to date."""

    __slots__ = ("_partitions",)

    def __init__(self, partitions: Mapping[Partition, Assigned]) -> None:
        self._partitions = partitions

    def positions(self) -> dict[str, int]:
        """The offset to read labels from, by label partition; one that is not named is read from its beginning."""
        parts = [assigned.labels for assigned in self._partitions.values()]
        return checkpoints.lowest([{name: offset_of(at) for name, at in labels.items()} for labels in parts])

    def follow(self, ids: Mapping[str, str]) -> list[str]:
        """Notes the ids of label topics. Returns those that were made anew: they are read from their first record."""
        found = [topic for topic, own in ids.items() for a in self._partitions.values() if a.follow_labels(topic, own)]
        return sorted(set(found))

    def have(self, ids: Mapping[str, str]) -> bool:
        """Whether these are the ids of the label topics whose records are joined now, as far as is known."""
        for assigned in self._partitions.values():
            for topic, own in ids.items():
                known = assigned.origin.topics.get(topic)
                if known is not None and known.topic_id not in ("", own):
                    return False
        return True
