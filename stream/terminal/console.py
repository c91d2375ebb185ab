"""The consoles of all commands: the one place that writes to a terminal, and in which text of other people is escaped.

Names of features and categories are chosen by whoever publishes events, and may hold a terminal's own commands.
"""

from collections.abc import Iterable
from typing import Any

from rich import markup
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from stream.terminal.printable import printable


class SafeConsole(Console):
    """A console that sends no control characters but its own: those in text are shown escaped."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                lines = "\n".join(map(printable, segment.text.split("\n")))
                yield Segment(lines, segment.style)


def console(**options: Any) -> Console:
    """A new console, with the options of rich's. Standard output unless ``stderr`` is true."""
    return SafeConsole(emoji=False, **options)  # a name such as :x: is shown as it is


def escape(text: str) -> str:
    """``text`` for a line with markup: on one line, without commands of the terminal, and no markup itself."""
    return markup.escape(printable(text))
