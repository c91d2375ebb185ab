"""Dead letters: records that driftline cannot use, as they came, with the reason. Pure.

Every dead letter of a worker is made here, so that one limit of size and one limit of rate hold for all of them:
events, labels and profiles.
"""

from collections.abc import Callable, Sequence

from stream.settings.settings import Settings
from stream.topics.generations import offset_of
from stream.topics.record import OutRecord, Partition, Record

HEADROOM_BYTES = 8_192
"""Room for the key, the headers and the framing of the largest record."""

REASON_CHARACTERS = 500

RATE_LIMIT = "dead_letters_per_second"
"""The setting of ``limits`` that bounds the rate, and its name in ``driftline_limit_reached_total``."""


class DeadLetters:
    """Makes the dead letters of one worker, at most ``limits.dead_letters_per_second`` in a second of wall time.

    ``limited`` is called with RATE_LIMIT and the number of records that got no dead letter because of that rate.
    """

    __slots__ = ("_largest", "_limited", "_made", "_per_second", "_second", "_topic")

    def __init__(self, settings: Settings, limited: Callable[[str, int], None]) -> None:
        self._topic = settings.topics.dead_letters
        self._per_second = settings.limits.dead_letters_per_second
        self._largest = settings.kafka.max_message_bytes - HEADROOM_BYTES
        self._second = 0
        self._made = 0  # in that second
        self._limited = limited

    def records(self, place: Partition, rejected: Sequence[tuple[Record, str]], now_ms: int) -> list[OutRecord]:
        """Returns dead letters for ``rejected``: records of the partition ``place``, each with the reason."""
        if now_ms // 1000 != self._second:
            self._second, self._made = now_ms // 1000, 0
        room = min(max(0, self._per_second - self._made), len(rejected))
        self._made += room
        if len(rejected) > room:
            self._limited(RATE_LIMIT, len(rejected) - room)
        return [self._letter(place, record, reason) for record, reason in rejected[:room]]

    def _letter(self, place: Partition, record: Record, reason: str) -> OutRecord:
        """The record's own value and headers; of one above the size limit, half of that limit and no headers."""
        own = (
            ("topic", place.topic.encode()),
            ("partition", str(place.partition).encode()),
            ("offset", str(offset_of(record.offset)).encode()),
            ("reason", reason[:REASON_CHARACTERS].encode()),
        )
        names = {name for name, _ in own}
        value, headers = record.value, tuple(header for header in record.headers if header[0] not in names)
        size = len(value or b"") + sum(len(name) + len(text or b"") for name, text in headers)
        if size > self._largest:
            value, headers = (value or b"")[: self._largest // 2], (("cut_from_bytes", str(size).encode()),)
        return OutRecord(self._topic, str(place).encode(), value, (*own, *headers))
