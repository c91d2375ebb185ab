"""Positions: offsets that go on where a topic was deleted and made again under the same name. Pure.

Kafka gives each topic an id, and a topic that is made again has another one. Its offsets begin at 0. A checkpoint
counts the ids that it has met: that is the topic's generation. The position of a record is ``generation * 2^48 +
offset``, so the records of a later generation come after those of all earlier ones, in checkpoints, profiles and the
judge.

Up to generation 31, positions are exact in JSON of any reader (below 2^53).
"""

from collections.abc import Iterable, Mapping

import msgspec

BITS = 48
"""At a million records a second, a partition reaches 2^48 in nine years."""

_MASK = (1 << BITS) - 1

MADE_ANEW, LOST = INTERRUPTIONS = ("topic_made_anew", "checkpoint_lost")
"""What can happen to a partition's log or checkpoint while it is counted."""


class Generation(msgspec.Struct, frozen=True, array_like=True):
    """A topic as one checkpoint knows it. ``topic_id``: the broker's; empty where the broker has none. ``number``: how
    many topics of that name came before."""

    topic_id: str
    number: int = 0

    @property
    def begin(self) -> int:
        """The position of its first record, at offset 0."""
        return self.number << BITS


def offset_of(position: int) -> int:
    """The offset of a position.

    >>> offset_of(Generation("b", 2).begin + 7)
    7
    """
    return position & _MASK


def begin_of(position: int) -> int:
    """The position of offset 0 in the same generation."""
    return position & ~_MASK


def shown(position: int) -> str:
    """A position for people.

    >>> shown(7), shown(Generation("b", 1).begin + 7)
    ('offset 7', 'offset 7 of generation 1')
    """
    number = position >> BITS
    return f"offset {offset_of(position)}" + (f" of generation {number}" if number else "")


def present(topic_id: str | None, known: Iterable[Generation]) -> Generation:
    """The generation of a topic that the broker has under ``topic_id`` now (None: it does not say).

    ``known``: those in all records of a checkpoint. They need not agree: a checkpoint may be torn, and a former owner
    may have written late.

    >>> present("b", [Generation("a", 3)]), present("a", [Generation("a", 3), Generation("b", 4)])
    (Generation(topic_id='b', number=4), Generation(topic_id='a', number=3))
    """
    newest = max(known := list(known), key=lambda one: one.number, default=None)
    if newest is None:
        return Generation(topic_id or "")
    if not topic_id:
        return newest
    same = [one for one in known if one.topic_id == topic_id]
    if same:
        return max(same, key=lambda one: one.number)
    return Generation(topic_id, newest.number + 1 if newest.topic_id else newest.number)


def present_of(ids: Mapping[str, str], known: Iterable[Mapping[str, Generation]]) -> dict[str, Generation]:
    """``present`` of every topic in ``ids``, and of those that ``known`` has."""
    known = list(known)
    topics = {*ids, *(topic for one in known for topic in one)}
    return {topic: present(ids.get(topic), [one[topic] for one in known if topic in one]) for topic in sorted(topics)}
