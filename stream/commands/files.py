"""Commands over files: replay and reference. No logic."""

from typing import TYPE_CHECKING, Any

import click

from stream.commands import options

if TYPE_CHECKING:
    from stream.files.layout import ReplayOptions

JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")


@click.command(short_help="Which incidents a file would have raised.")
@click.argument("file", metavar="FILE")
@click.option("--reference", "reference_file", metavar="FILE", help="Compare with this reference artefact.")
@click.option("--reference-rows", type=click.IntRange(min=1), metavar="N", help="Compare with the first N rows.")
@options.table_options
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Events per second of the clock where the rows carry no time.",
)
@click.option(
    "--partitions", type=click.IntRange(1, 1024), default=1, show_default=True, help="Deal the rows to so many."
)
@click.option(
    "--false-alarms-per-month",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="The one knob: false alarms per model and month that you accept.",
)
@click.option(
    "--clean",
    metavar="FROM:TO",
    help="Calibrate on these events (by number after the reference's rows, or times), which you call clean.",
)
@click.option(
    "--bootstrap",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="Resample the clean stretch N times [default: as often as the budget needs, within about 40 seconds].",
)
@click.option("--seed", type=click.IntRange(min=0), metavar="S", help="Of the calibration's chance [default: 1].")
@JSON
@click.option("--plot", "plot_file", metavar="FILE", help="Write a picture: .html (needs nothing else) or .png.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def replay(
    as_json: bool,
    plot_file: str | None,
    quiet: bool,
    columns: str | None,
    ignore: str | None,
    clean: str | None,
    bootstrap: int | None,
    seed: int | None,
    **layout: Any,
) -> int:
    """Which incidents a file would have raised: the worker's own detection, with no broker.

    FILE is CSV, Parquet or JSONL (native events); - reads JSONL from standard input. In a table every column is a
    feature unless named otherwise. Without --reference and --reference-rows the first 10,000 events are learned from.
    Exit status 0 stable, 1 drift, 2 error.

    With --clean it also tells the rate of false alarms on that stretch, and after how many events a shift of .25, .5
    and 1 sigma, a doubled variance, missing values and another mix of categories would be found there, by feature.

    \b
      driftline replay history.csv --reference-rows 10000
      driftline replay history.csv --reference-rows 10000 --clean 0:7000 --plot history.html
      driftline replay today.parquet --reference reference.json --prediction score --plot today.html
      driftline replay events.jsonl --reference reference.json --json | jq .state
    """
    if layout["reference_file"] is not None and layout["reference_rows"] is not None:
        raise click.UsageError("--reference and --reference-rows exclude each other")
    if clean is None and (bootstrap is not None or seed is not None):
        raise click.UsageError("--bootstrap and --seed need --clean: a stretch to calibrate on")
    if clean is not None and layout["reference_file"] is None and layout["reference_rows"] is None:
        raise click.UsageError("--clean needs --reference or --reference-rows: what the stretch is compared with")
    wish = _layout(columns, ignore, layout)
    from stream.replay import command as replay_command
    from stream.replay.clean_rows import CalibrationOptions, span

    calibration = None if clean is None else CalibrationOptions(span(clean), bootstrap, 1 if seed is None else seed)
    return replay_command.main(wish, as_json=as_json, plot_file=plot_file, quiet=quiet, wish=calibration)


def _layout(columns: str | None, ignore: str | None, layout: dict[str, Any]) -> "ReplayOptions":
    if columns is not None and ignore is not None:
        raise click.UsageError("--columns and --ignore exclude each other")
    from stream.files.layout import ReplayOptions

    return ReplayOptions(columns=options.names(columns), ignore=options.names(ignore) or (), **layout)


@click.group(short_help="Build, publish, show, compare references.")
def reference() -> None:
    """Build, publish, show and compare references: what production is compared with."""


@reference.command(short_help="Build one from training data.")
@click.argument("file", metavar="FILE")
@click.option("-o", "--output", "output_file", metavar="FILE", required=True, help="Where to write the artefact.")
@options.table_options
@click.option("--rows", "reference_rows", type=click.IntRange(min=1), metavar="N", help="Only the first N rows.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def build(output_file: str, quiet: bool, columns: str | None, ignore: str | None, **layout: Any) -> int:
    """Build a reference from the data a model was trained or validated on (CSV, Parquet or JSONL).

    \b
      driftline reference build train.parquet -o reference.json --model fraud --version 3
    """
    from stream.references import command as reference_command

    return reference_command.build(_layout(columns, ignore, layout), output_file, quiet)


@reference.command(short_help="Publish one; workers take it up at once.")
@click.argument("file", metavar="REFERENCE")
@options.settings_options
def publish(file: str, config_file: str | None, bootstrap_servers: str | None) -> int:
    """Publish an artefact to the references topic; running workers take it up without a restart.

    \b
      driftline reference publish reference.json --bootstrap-servers kafka:9092
    """
    from stream.references import command as reference_command

    settings = options.load_settings(config_file, {"kafka.bootstrap_servers": bootstrap_servers})
    return reference_command.publish(settings, file)


@reference.command()
@click.argument("file", metavar="REFERENCE")
@JSON
def show(file: str, as_json: bool) -> int:
    """Show an artefact: its model, rows, and every feature."""
    from stream.references import command as reference_command

    return reference_command.show(options.output(), file, as_json)


@reference.command()
@click.argument("left", metavar="REFERENCE")
@click.argument("right", metavar="OTHER")
@JSON
def diff(left: str, right: str, as_json: bool) -> int:
    """Compare two artefacts feature by feature. Exit status 1 when a feature differs by more than PSI 0.1."""
    from stream.references import command as reference_command

    return reference_command.diff(options.output(), left, right, as_json)


COMMANDS = (replay, reference)
