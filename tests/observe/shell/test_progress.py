"""Progress of partitions: what is running, how far it is read, and up to which time all of it is read."""

import math

from stream.observe.shell.progress import Progress
from stream.topics.record import Partition, Record

A, B = Partition("events", 0), Partition("events", 1)


def test_all_partitions_are_read_up_to_the_time_of_the_one_that_is_furthest_behind() -> None:
    progress = Progress()
    assert progress.read_up_to_ms() == math.inf
    progress.start(A, 10)
    progress.start(B, 0)
    assert progress.read_up_to_ms() == 0
    progress.advance(A, Record(19, 5_000, None, None))
    progress.advance(B, Record(4, 3_000, None, None))
    progress.measure_lags({A: 25, B: 5}.get)
    assert progress.lags == {A: 5, B: 0}
    assert progress.next == {A: 20, B: 5}
    assert progress.read_up_to_ms() == 5_000
    progress.measure_lags({A: 20}.get)
    assert progress.lags == {A: 0, B: None}
    assert progress.read_up_to_ms() == 3_000


def test_a_partition_that_is_lost_is_not_waited_for() -> None:
    progress = Progress()
    progress.start(A, 10)
    assert progress.lose(A)
    assert not progress.lose(B)
    assert not progress.running
    assert not progress.lags
