"""A worker that a broker's downtime ended is followed by another one in the same process."""

import asyncio
import errno
from typing import Any

import pytest

from detectors.errors import BrokerAway, BrokerError
from stream.service import process
from stream.settings.settings import Settings


class FakeWorker:
    """Ends with the next of the errors; without one it runs."""

    errors: list[Exception]
    made: list["FakeWorker"]
    host, port = "127.0.0.1", 1

    def __init__(self, settings: Settings, role: str, before: "FakeWorker | None" = None) -> None:
        self.before, self.stopped = before, False
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self.made.append(self)

    async def start(self) -> None:
        if self.errors and len(self.made) % 2:
            raise self.errors.pop(0)
        if self.errors:
            self.failed.set_result(self.errors.pop(0))

    async def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> type[FakeWorker]:
    class Fakes(FakeWorker):
        made: list[Any] = []  # noqa: RUF012  # of one test
        errors: list[Exception] = []  # noqa: RUF012

    monkeypatch.setattr(process, "Worker", Fakes)
    monkeypatch.setattr(process, "RESTART_SECONDS", 0.001)
    return Fakes


async def test_errors_of_a_broker_that_is_away_start_the_worker_again(fakes: type[FakeWorker]) -> None:
    fakes.errors += [BrokerAway("a"), BrokerAway("b"), TimeoutError("c"), ConnectionResetError("d")]
    stop = asyncio.Event()
    running = asyncio.create_task(process.run(Settings(), "all", stop))
    async with asyncio.timeout(5):
        while len(fakes.made) < 5:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert not running.done()
    stop.set()
    await running
    assert [worker.before for worker in fakes.made] == [None, *fakes.made[:-1]]
    assert all(worker.stopped for worker in fakes.made)


@pytest.mark.parametrize("error", [BrokerError("refused"), AssertionError("a bug"), ValueError("a bug")])
async def test_other_errors_end_the_process(fakes: type[FakeWorker], error: Exception) -> None:
    fakes.errors += [BrokerAway("a"), error]
    with pytest.raises(type(error)):
        await process.run(Settings(), "all", asyncio.Event())
    assert len(fakes.made) == 2
    assert all(worker.stopped for worker in fakes.made)


async def test_a_stop_between_two_workers_is_obeyed_at_once(
    fakes: type[FakeWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "RESTART_SECONDS", 60.0)
    fakes.errors += [BrokerAway("a")]
    stop = asyncio.Event()
    running = asyncio.create_task(process.run(Settings(), "all", stop))
    await asyncio.sleep(0.05)
    stop.set()
    await asyncio.wait_for(running, 2)


def test_running_out_of_files_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    handler = process.LoopErrors()
    loop = asyncio.new_event_loop()
    try:
        for _ in range(1_000):
            handler(loop, {"message": "accept", "exception": OSError(errno.EMFILE, "Too many open files")})
        assert len(caplog.records) == 1
        assert caplog.records[0].exc_info is None
        handler(loop, {"message": "a bug", "exception": ValueError("x")})
        assert caplog.records[-1].exc_info
    finally:
        loop.close()
