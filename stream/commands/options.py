"""The options that several commands share, and their consoles. No heavy library at import."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

    from stream.settings.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


class FiniteFloat(click.FloatRange):
    """A number in a range, which nan is not."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is not a number in the range {self._describe_range()}.", param, ctx)
        return found


def settings_options(function: F) -> F:
    """Adds ``--config`` and ``--bootstrap-servers`` to a command."""
    function = click.option(
        "--bootstrap-servers", metavar="HOST:PORT[,...]", help="Kafka brokers [default: 127.0.0.1:9092]."
    )(function)
    return click.option("--config", "config_file", metavar="FILE", help="Settings file (YAML).")(function)


def table_options(function: F) -> F:
    """Adds the options that give the columns of a table their roles."""
    for option in (
        click.option(
            "--timestamp",
            metavar="COL",
            help="Column with the event time: ISO 8601, YYYYMMDD, or seconds to nanoseconds.",
        ),
        click.option("--label", metavar="COL", help="Column with the true outcome; it is not a feature."),
        click.option("--prediction", metavar="COL", help="Column with the model's prediction."),
        click.option("--ignore", metavar="A,B", help="Columns that are not features."),
        click.option("--columns", metavar="A,B", help="The columns that are features [default: all]."),
        click.option("--version", metavar="V", help="Model version [default: 1]."),
        click.option("--model", metavar="M", help="Model name [default: the file's name]."),
    ):
        function = option(function)
    return function


def load_settings(config_file: str | None, flags: Mapping[str, Any]) -> "Settings":
    """The settings from the file, the environment and these options."""
    from stream.settings import settings

    return settings.load(config_file, flags=flags)


def names(text: str | None) -> tuple[str, ...] | None:
    """The names in ``a,b``; None if the option is not given."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def output() -> "Console":
    """The console for standard output; without colours if it is not a terminal."""
    from stream.terminal.console import console

    return console(highlight=False, soft_wrap=False)
