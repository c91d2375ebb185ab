"""Progress and remarks on standard error, so that standard output can be piped. No bar where it is no terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

BLOCK_BYTES = 1 << 20


def say(text: str) -> None:
    """One line on standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(escape(text))


@contextmanager
def rows(file: str, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar that is told how many more rows of ``file`` are done."""
    with _bar(Path(file).name, lambda: _lines(Path(file)), quiet) as done:
        yield done


@contextmanager
def steps(name: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar that is told how many more of ``total`` steps are done."""
    with _bar(name, lambda: total, quiet) as done:
        yield done


@contextmanager
def _bar(name: str, total: Callable[[], int | None], quiet: bool) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    disabled = quiet or not console.is_terminal
    shown = Progress(*columns, console=console, transient=True, disable=disabled)
    with shown:
        task = shown.add_task(escape(name), total=None if disabled else total())
        yield lambda count: shown.update(task, advance=count)


def _lines(path: Path) -> int | None:
    """Lines of a text file, to know how long the bar is; None where that is not known."""
    if not path.is_file() or path.suffix.lower() in (".parquet", ".pq"):
        return None
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(BLOCK_BYTES), b""))
