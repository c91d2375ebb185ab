"""The label book: one record that cannot be read never ends the reading."""

import pytest

from stream.labels import book
from stream.labels.book import LabelBook
from stream.topics.record import Partition, Record

HERE = Partition("inference-labels", 0)


def labels(offset: int, more: bytes = b"") -> Record:
    return Record(offset, 1_763_700_000_000, None, b'{"id": "e%d", "model": "m", "label": true%s}' % (offset, more))


def test_a_label_nested_at_any_depth_is_read_or_rejected_and_those_behind_it_are_read() -> None:
    depths = [1, 400, 498, 499, *range(900, 1_010), 50_000]
    records = [labels(n, b', "more": ' + b"[" * depth + b"]" * depth) for n, depth in enumerate(depths)]
    found, rejects = LabelBook().read(HERE, [*records, labels(len(records))], 1_000_000)
    assert [depths[record.offset] for record, _ in rejects] == [depth for depth in depths if depth > 499]
    assert all("nested more than 500 deep" in reason for _, reason in rejects)
    assert len(found["m"]) == len(records) + 1 - len(rejects)


def test_an_unexpected_error_at_one_label_makes_its_record_a_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    read = book.read_labels

    def failing(place: Partition, record: Record, max_bytes: int) -> list[book.Label]:
        return read(place, record, 1 // (record.offset - 3) and max_bytes)

    monkeypatch.setattr(book, "read_labels", failing)
    found, rejects = LabelBook().read(HERE, [labels(3), labels(4)], 1_000_000)
    assert [(record.offset, reason[:31]) for record, reason in rejects] == [(3, "unexpected ZeroDivisionError: i")]
    assert len(found["m"]) == 1
