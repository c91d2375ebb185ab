"""The test cases that every format must have: ``CASES`` in ``tests/formats/test_NAME.py``, which ``test_registry``
runs.

A sample is one record. ``accepted`` gives the rows that must come out of it, ``broken`` a part of the reason for which
it must be refused.
"""

import json
import math
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from detectors.columns import MISSING, PRESENT
from detectors.features import Kind
from stream.formats import registry
from stream.formats.decoder import Decoded, Decoder
from stream.formats.message import Message
from stream.formats.registry import Headers
from stream.formats.row import Limits, Row
from stream.formats.topic_rules import NO_TOPIC_RULES, TopicRules
from stream.topics.record import Partition, Record
from tests.settings.defaults import default_decoder

HERE = Partition("inference-events", 0)
NOW_MS = 1_763_700_000_000
LIMITS = Limits(event_bytes=100_000, rows_per_message=100, names_per_event=10_000)


class Sample(NamedTuple):
    """One record, read from ``topic``."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    topic: str = "inference-events"
    timestamp_ms: int = NOW_MS
    rules: TopicRules = NO_TOPIC_RULES

    def record(self, offset: int = 0) -> Record:
        return Record(offset, self.timestamp_ms, self.key, self.value, self.headers)

    def message(self) -> Message:
        return Message(self.topic, self.record(), LIMITS.event_bytes, self.rules)

    def partition(self) -> Partition:
        return Partition(self.topic, 0)


class Cases(NamedTuple):
    """The samples of one format, by a name that describes what is special about each."""

    accepted: dict[str, tuple[Sample, list[Row]]]
    broken: dict[str, tuple[Sample, str]]


def cases_of(name: str) -> Cases:
    """The cases of a format. Fails when the format has no test file, or the file has no cases."""
    cases = getattr(import_module(f"tests.formats.test_{name}"), "CASES", None)
    assert isinstance(cases, Cases), f"tests/formats/test_{name}.py has no CASES: every format needs samples"
    assert cases.accepted, f"tests/formats/test_{name}.py: CASES has no sample that is accepted"
    assert cases.broken, f"tests/formats/test_{name}.py: CASES has no sample that is broken"
    return cases


def record(value: Any, offset: int = 0, timestamp_ms: int = NOW_MS) -> Record:
    data = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
    return Record(offset, timestamp_ms, None, data)


def one(value: Any, decoder: Decoder | None = None, **more: Any) -> Decoded:
    return (decoder or default_decoder()).decode(HERE, [record(value, **more)])


def cells(decoded: Decoded) -> dict[tuple[Any, ...], Any]:
    """Every value that is not missing, by unit, place, feature and kind: the meaning, without the order of columns."""
    found: dict[tuple[Any, ...], Any] = {}
    for batch in decoded.batches:
        columns = batch.columns
        assert columns.numbers.shape == (len(columns), len(columns.numeric))
        offsets = columns.next_offsets.tolist()
        places = [(offset, offsets[:row].count(offset)) for row, offset in enumerate(offsets)]
        rows = zip(places, columns.timestamps_ms.tolist(), batch.identities.tolist(), strict=True)
        for row, (place, *rest) in enumerate(rows):
            found[columns.unit, place] = rest
            for at, name in enumerate(columns.numeric):
                status = PRESENT if columns.number_status is None else columns.number_status[row, at]
                number = float(columns.numbers[row, at])
                assert math.isfinite(number)
                if status != MISSING:
                    found[columns.unit, place, name, Kind.NUMERIC] = (int(status), repr(number))
            for at, spec in enumerate(columns.categorical):
                status = PRESENT if columns.category_status is None else columns.category_status[row, at]
                category = columns.categories[at][row]
                assert (category is None) == (status != PRESENT)
                if status != MISSING:
                    found[columns.unit, place, spec.feature, spec.kind] = (int(status), category)
        for row, text in batch.environments:
            found[columns.unit, places[row], "env"] = text
        assert (np.diff(columns.next_offsets) >= 0).all()
    return found


def registry_read(sample: Sample) -> list[Row]:
    """The rows of a sample. Raises FormatError."""
    return registry.read(sample.message(), {}, LIMITS)
