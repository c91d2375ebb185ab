"""A client library that logs the same thousands of times a second fills no log."""

import logging

from stream.terminal import logs


def record(name: str, text: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, text, values, None)


def test_26_000_lines_in_eight_seconds_become_one_and_their_number_is_shown_later() -> None:
    now = [0.0]
    gate = logs.FloodGate(("aiokafka",), lambda: now[0])
    passed = []
    for number in range(26_000):
        one = record("aiokafka.client", "Unable connect to node with id %s: %s", number % 3, "refused")
        passed += [one] if gate.filter(one) else []
        now[0] += 8 / 26_000
    assert len(passed) == 1
    now[0] += logs.FLOOD_SECONDS
    last = record("aiokafka.client", "Unable connect to node with id %s: %s", 1, "refused")
    assert gate.filter(last)
    assert last.getMessage() == "Unable connect to node with id 1: refused (and 25,999 more such lines before)"


def test_another_kind_of_line_passes_and_so_does_every_line_of_ours() -> None:
    gate = logs.FloodGate(("aiokafka",), lambda: 0.0)
    assert gate.filter(record("aiokafka.client", "a"))
    assert not gate.filter(record("aiokafka.client", "a"))
    assert gate.filter(record("aiokafka.client", "b"))
    assert gate.filter(record("aiokafka.conn", "a"))
    assert all(gate.filter(record("stream.service.worker", "a")) for _ in range(100))
    assert all(gate.filter(record("aiokafkaesque", "a")) for _ in range(100))


def test_texts_that_are_all_different_take_bounded_memory() -> None:
    gate = logs.FloodGate(("aiokafka",), lambda: 0.0)
    for number in range(5_000):
        gate.filter(record("aiokafka", f"{number} " * 1_000))
    assert len(gate._kinds) <= logs.KINDS
