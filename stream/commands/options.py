"""Options that several commands share, and the consoles. Nothing heavy at import."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

    from stream.settings.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(function: F) -> F:
    """``--config`` and ``--bootstrap-servers``."""
    function = click.option(
        "--bootstrap-servers", metavar="HOST:PORT[,...]", help="The Kafka brokers [default: 127.0.0.1:9092]."
    )(function)
    return click.option("--config", "config_file", metavar="FILE", help="Settings file (YAML).")(function)


def table_options(function: F) -> F:
    """What the columns of a table mean."""
    for option in (
        click.option("--timestamp", metavar="COL", help="Column with the time: milliseconds, seconds or RFC 3339."),
        click.option("--label", metavar="COL", help="Column with the truth; not a feature."),
        click.option("--prediction", metavar="COL", help="Column with the model's prediction."),
        click.option("--ignore", metavar="A,B", help="Columns to leave out."),
        click.option("--columns", metavar="A,B", help="The features; without it every column is one."),
        click.option("--version", metavar="V", help="Model version [default: 1]."),
        click.option("--model", metavar="M", help="Model name [default: the file's name]."),
    ):
        function = option(function)
    return function


def load_settings(config_file: str | None, flags: Mapping[str, Any]) -> "Settings":
    """The settings in force under these flags."""
    from stream.settings import settings

    return settings.load(config_file, flags=flags)


def names(text: str | None) -> tuple[str, ...] | None:
    """``a,b`` as names; None where the option is not given."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def output() -> "Console":
    """Standard output: tables, plain where it is no terminal."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def notes() -> "Console":
    """Standard error: progress and remarks, so that standard output can be piped."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)
