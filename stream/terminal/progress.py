"""Progress bars and remarks on standard error, so that standard output can be piped. Bars need a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich import markup
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from stream.terminal import output

BLOCK_BYTES = 1 << 20


def note(text: str) -> None:
    """Prints one line on standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(markup.escape(output.printable(text, lines=True)))


@contextmanager
def rows(file: str, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar for the rows of ``file``; call the yielded function with the number of further rows that are done."""
    with _bar(Path(file).name, lambda: _lines(Path(file)), quiet) as done:
        yield done


@contextmanager
def steps(name: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar for ``total`` steps; call the yielded function with the number of further steps that are done."""
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
        task = shown.add_task(output.escape(name), total=None if disabled else total())
        yield lambda count: shown.update(task, advance=count)


def _lines(path: Path) -> int | None:
    """The lines of a text file, for the length of the bar; None if they cannot be counted."""
    if not path.is_file() or path.suffix.lower() in (".parquet", ".pq"):
        return None
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(BLOCK_BYTES), b""))
