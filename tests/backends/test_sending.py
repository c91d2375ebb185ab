"""Records are sent with a bounded number of attempts; what was acknowledged and what failed is counted."""

from collections.abc import Sequence

import pytest

from detectors.errors import BrokerError
from stream.backends import sending
from stream.backends.sending import SEND_ATTEMPTS, Sender
from stream.metrics.registry import Metrics
from stream.topics.record import OutRecord

RECORDS = [OutRecord("a", None, b"1"), OutRecord("b", None, b"2"), OutRecord("a", None, b"3")]


class Sink:
    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls: list[Sequence[OutRecord]] = []

    async def start(self) -> None: ...

    async def send(self, records: Sequence[OutRecord]) -> None:
        self.calls.append(records)
        if len(self.calls) <= self.failures:
            raise BrokerError("unreachable")

    async def stop(self) -> None: ...


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "FIRST_PAUSE_SECONDS", 0.0)


async def test_all_records_are_sent_again_until_they_are_acknowledged() -> None:
    sink, metrics = Sink(failures=SEND_ATTEMPTS - 1), Metrics()
    await Sender(sink, metrics, "judge.send").send(RECORDS)
    assert sink.calls == [RECORDS] * SEND_ATTEMPTS
    assert metrics.errors.value(("judge.send",)) == SEND_ATTEMPTS - 1
    assert metrics.published_records.value(("a", "acknowledged")) == 2
    assert metrics.published_records.value(("b", "acknowledged")) == 1


async def test_after_the_last_attempt_the_error_is_raised_and_nothing_counts_as_published() -> None:
    sink, metrics = Sink(failures=SEND_ATTEMPTS), Metrics()
    with pytest.raises(BrokerError, match="unreachable"):
        await Sender(sink, metrics, "judge.send").send(RECORDS)
    assert len(sink.calls) == SEND_ATTEMPTS
    assert metrics.published_records.values() == {}


async def test_nothing_is_sent_or_counted_once_it_is_not_wanted_any_more() -> None:
    sink, metrics = Sink(failures=1), Metrics()
    await Sender(sink, metrics, "observer.send").send(RECORDS, lambda: not sink.calls)
    assert sink.calls == [RECORDS]
    assert metrics.published_records.values() == {}


async def test_no_records_are_no_request() -> None:
    sink = Sink(failures=0)
    await Sender(sink, Metrics(), "observer.send").send([])
    assert sink.calls == []
