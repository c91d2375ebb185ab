"""Goes past a record at which the process ended twice: a crash in a native library, or memory that ran out.

The trace is kept in the metadata of the group's committed offset. A worker that ends in order leaves LEFT there. Where
it is missing, the last process ended while it read, and this one reads carefully for a while: before each record, and
after SINGLE records before each chunk, it commits a note with the offsets that are about to be read. Where a note is
found, exactly those records are read one by one. One at which two processes have ended with a note of it alone becomes
a dead letter. Reading that is not careful costs one look into a dictionary for each chunk.
"""

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from detectors.errors import BrokerError
from stream.backends.ports import Source
from stream.observe.shell.telemetry import Telemetry
from stream.topics.generations import shown
from stream.topics.record import UNREADABLE, Partition, Record

log = logging.getLogger(__name__)

LEFT = "left"
SINGLE = 256
"""Records that are read one by one first: half a second."""

ENDS = 2
"""After so many ends at a record it is left out."""


class Note(msgspec.Struct, frozen=True, array_like=True):
    """The records from position ``begin`` to below ``end`` are about to be read. ``ends``: how many processes will
    have ended at this single record if this one ends now."""

    begin: int
    end: int
    ends: int


_notes = msgspec.json.Decoder(Note)


def _decode(text: str) -> Note | None:
    try:
        return _notes.decode(text)
    except msgspec.MsgspecError:
        return None


class _Careful:
    """A partition that is read carefully. ``until``: when that ends, by the loop's clock. ``found``: the note of the
    process before."""

    __slots__ = ("found", "until")

    def __init__(self, until: float, found: Note | None) -> None:
        self.until, self.found = until, found


class Attempts:
    """``seconds``: how long a partition is read carefully; longer than the time between two checkpoints."""

    def __init__(self, source: Source, seconds: float, telemetry: Telemetry) -> None:
        self._source, self._seconds, self._telemetry = source, seconds, telemetry
        self._careful: dict[Partition, _Careful] = {}
        self._noted: Partition | None = None  # of the newest note that names records
        self._originals: dict[tuple[Partition, int], Record] = {}
        self._held: set[Partition] = set()  # by this process, now or before
        self._single = 0
        self._left_out = False

    async def begin(self, place: Partition) -> None:
        """Decides how a partition is read."""
        self._careful.pop(place, None)
        text = await self._source.noted(place)
        found = _decode(text or "")
        known = place in self._held
        self._held.add(place)
        if text is None or text == LEFT:
            await self._commit({place: ""})
            return
        if known and found is None:
            return  # the group has changed, and no process has ended
        self._single = SINGLE
        self._careful[place] = _Careful(asyncio.get_running_loop().time() + self._seconds, found)
        if found is not None:
            log.warning("%s: the last process ended while it read from %s on", place, shown(found.begin))

    def careful(self, place: Partition) -> bool:
        """Whether the partition is read carefully."""
        return place in self._careful

    async def admit(self, place: Partition, chunk: Sequence[Record]) -> Sequence[Record]:
        """Those of the next records that may be read now, at least one."""
        careful = self._careful.get(place)
        if careful is None:
            if self._noted is not None:
                await self.rest()
            return chunk
        first, found = chunk[0].offset, careful.found
        if found is not None and first >= found.end:
            found = careful.found = None
        if found is None and asyncio.get_running_loop().time() >= careful.until:
            del self._careful[place]
            await self.rest()
            return chunk
        if found is not None and first < found.begin:
            return [record for record in chunk if record.offset < found.begin]
        if found is None and self._single <= 0:
            await self._write(place, Note(first, chunk[-1].offset + 1, 0))
            return chunk
        self._single -= 1
        ends = found.ends if found is not None and found.end - found.begin == 1 else 0
        if ends >= ENDS:
            return [self._leave_out(place, chunk[0], ends)]
        await self._write(place, Note(first, first + 1, ends + 1))
        return chunk[:1]

    async def rest(self) -> None:
        """Notes that nothing is being read now."""
        place, self._noted = self._noted, None
        if place is not None:
            await self._commit({place: ""})

    async def leave(self, places: Sequence[Partition]) -> None:
        """Notes that this worker ends in order."""
        self._careful.clear()
        self._noted = None
        await self._commit(dict.fromkeys(places, LEFT))

    def original(self, place: Partition, record: Record) -> Record:
        """The record as it came, of one that was left out."""
        return self._originals.pop((place, record.offset), record)

    def drain_left_out(self) -> bool:
        """Whether a record was left out since the last call. A checkpoint has to hold that before anything else is
        read: its note is overwritten then."""
        found, self._left_out = self._left_out, False
        return found

    def _leave_out(self, place: Partition, record: Record, ends: int) -> Record:
        reason = f"the process ended {ends} times while it read this record"
        self._telemetry.error("observer.left_out")
        log.error("%s at %s: %s; it is left out", place, shown(record.offset), reason)
        self._originals[place, record.offset], self._left_out = record, True
        return record._replace(value=b"", headers=((UNREADABLE, reason.encode()),))

    async def _write(self, place: Partition, note: Note) -> None:
        notes = {} if self._noted is None else {self._noted: ""}
        self._noted = place
        await self._commit({**notes, place: msgspec.json.encode(note).decode()})

    async def _commit(self, notes: dict[Partition, str]) -> None:
        try:
            await self._source.note(notes)
        except BrokerError as error:  # reading goes on without a trace
            log.warning("no trace of what is read: %s", error)
