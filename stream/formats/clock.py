"""The clock of a partition: how far its event time has come, at each of its records. Pure.

It is a function of the log alone, so it does not depend on how the log was cut into polls.
"""

import numpy as np

from detectors.columns import Integers
from stream.formats.row import LAST_MS

NONE_MS = -(1 << 63)
"""Stands for the time of a record that holds no event."""


def clocks_of(newest_ms: Integers, record_ms: Integers, clock_ms: int | None) -> Integers:
    """The clock at each record: the running maximum of min(newest event time of the record, time of the record).

    ``newest_ms``, shape (n,): the newest event time in each record, NONE_MS where it holds no event. ``record_ms``,
    shape (n,): the times of the records; a negative one is unknown and bounds nothing. ``clock_ms``: the clock before
    these records. A time in the future of its record does not move the clock. Cost: 5 us for 256 records.

    >>> clocks_of(np.array([5, 9, 7]), np.array([6, 8, 9]), None).tolist()
    [5, 8, 8]
    """
    if int(record_ms[0]) < 0 or int(record_ms.min()) < 0:
        record_ms = np.where(record_ms < 0, LAST_MS, record_ms)
    clocks = np.minimum(newest_ms, record_ms)
    clocks[0] = max(int(clocks[0]), NONE_MS if clock_ms is None else clock_ms)
    found: Integers = np.minimum(np.maximum.accumulate(clocks), LAST_MS)
    return found
