"""Work in steps: the loop runs other tasks between them, and chunks are fitted to the longest step."""

import asyncio
from collections.abc import Iterator

import pytest

from stream.observe.shell import pace


def steps(count: int, done: list[int]) -> Iterator[None]:
    for number in range(count):
        done.append(number)
        yield


async def test_the_loop_has_its_turn_within_a_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "HELD_SECONDS", 0.0)
    done: list[int] = []
    seen: list[int] = []

    async def look() -> None:
        while len(done) < 5:
            seen.append(len(done))
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    walk = await pace.walk(steps(5, done))
    await looking
    assert done == list(range(5))
    assert seen == [1, 2, 3, 4]
    assert walk is not None
    assert 0 <= walk.longest <= walk.seconds + 1e-3


async def test_a_walk_that_is_not_held_for_long_has_no_break() -> None:
    done: list[int] = []
    other = asyncio.create_task(asyncio.sleep(0))
    assert await pace.walk(steps(3, done)) is not None
    assert not other.done()
    await other


async def test_what_is_not_to_go_on_stops_at_the_next_break(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "HELD_SECONDS", 0.0)
    done: list[int] = []
    assert await pace.walk(steps(9, done), lambda: len(done) < 4) is None
    assert done == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("chunk", "rows", "longest", "wanted"),
    [
        (256, 256, 0.024, 128),  # twice too long: half of it
        (256, 256, 0.001, 512),  # grows by no more than twice
        (256, 10, 1.0, pace.SMALLEST_CHUNK),
        (4_000, 4_000, 0.0, pace.LARGEST_CHUNK),
    ],
)
def test_chunks_are_fitted_to_the_longest_step(chunk: int, rows: int, longest: float, wanted: int) -> None:
    assert pace.fitted(chunk, rows, longest) == wanted
