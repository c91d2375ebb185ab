"""Ids of events as numbers. No I/O.

An id is a text of up to 200 characters, and a unit keeps thousands of them. What is kept is the XXH3 hash of 64 bits.
Every version of that library gives the same hash on every machine. A hash takes 8 bytes for an id of any length, and
hashes are stored side by side in one array, not as separate objects. Two ids among those that a unit keeps have the
same hash once in 2^64 / 2,000 events: at a million events a second of one unit, once in 290 years.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_digest

Identities = npt.NDArray[np.uint64]

NONE = 0
"""The number of an event without an id."""


def numbers_of(texts: Sequence[str]) -> Identities:
    """The numbers of ids, none of which is empty. Cost: 0.1 us each."""
    try:
        digests = b"".join(map(xxh3_64_digest, map(str.encode, texts)))
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can hold
        digests = b"".join(xxh3_64_digest(text.encode(errors="surrogatepass")) for text in texts)
    numbers = np.frombuffer(digests, ">u8").astype(np.uint64)
    numbers[numbers == NONE] = 1
    return numbers


def number_of(text: str) -> int:
    """The number of one id."""
    return int(numbers_of([text])[0])


def numbers_or_none(texts: Sequence[str | None]) -> Identities:
    """The numbers of ids; NONE where there is no id."""
    given = [text for text in texts if text is not None]
    if len(given) == len(texts):
        return numbers_of(given)
    numbers = np.full(len(texts), NONE, np.uint64)
    numbers[[text is not None for text in texts]] = numbers_of(given)
    return numbers


def of_snapshot(packed: bytes, before: Sequence[str | None]) -> Identities:
    """Numbers of the ids in a checkpoint: ``packed`` as uint64, or ``before`` as texts in checkpoints of version 1.

    Raises ValueError when ``packed`` is not a whole number of them.
    """
    return np.frombuffer(packed, np.uint64) if packed else numbers_or_none(before)
