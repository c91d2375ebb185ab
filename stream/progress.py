"""Progress and remarks on standard error, so that standard output can be piped. Nothing where it is no terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


def say(text: str) -> None:
    """One line on standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(escape(text))


@contextmanager
def reading(file: str, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar that is told how many bytes of ``file`` have been read; spinning where the size is not known."""
    console = Console(stderr=True)
    path = Path(file)
    size = path.stat().st_size if path.is_file() else None
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    shown = Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)
    with shown:
        task = shown.add_task(escape(path.name), total=size)
        yield lambda read: shown.update(task, completed=read)
