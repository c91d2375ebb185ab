"""The commands replay and reference, which read files. Only their options; no logic."""

from typing import Any

import click

from stream.commands import options

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")


@click.command(short_help="Find the incidents in a file of past events.")
@click.argument("files", metavar="FILE", nargs=-1, required=True)
@click.option("--reference", "reference_file", metavar="FILE", help="Compare the events with this reference.")
@click.option(
    "--reference-rows", type=click.IntRange(min=1), metavar="N", help="Use the first N rows as the reference."
)
@options.table_options
@click.option(
    "--rate",
    type=options.FiniteFloat(min=1e-6, max=1e9),
    default=1.0,
    show_default=True,
    help="Events per second, for rows without a time.",
)
@click.option(
    "--partitions",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Split the rows over N simulated partitions [default: 1, or 4 with --partition-by or --progress].",
)
@click.option(
    "--partition-by",
    metavar="COLUMN",
    help="Split the rows by the value of this feature, as a keyed topic does, and not in turn.",
)
@click.option(
    "--progress",
    type=click.IntRange(min=0),
    metavar="SEED",
    help="Read the partitions unevenly; the seed decides how. The incidents stay the same. Needs a reference.",
)
@click.option(
    "--false-alarms-per-month",
    type=options.FiniteFloat(min=1e-6, max=1e6),
    default=1.0,
    show_default=True,
    help="False alarms per model and month that you accept.",
)
@click.option(
    "--season",
    type=click.Choice(["auto", "none"]),
    default="auto",
    show_default=True,
    help="Learn the season from the times of the rows, or take all hours for alike. Without times there is no season.",
)
@click.option(
    "--clean",
    metavar="FROM:TO",
    help="Events without drift, to calibrate on: event numbers (counted after the reference rows) or times.",
)
@click.option(
    "--bootstrap",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="Resample the clean events N times [default: as often as the budget needs, within about 40 seconds].",
)
@click.option("--seed", type=click.IntRange(min=0), metavar="S", help="Random seed of the calibration [default: 1].")
@JSON
@click.option("--plot", "plot_file", metavar="FILE", help="Write a report: .html, or .png (needs matplotlib).")
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
def replay(
    as_json: bool,
    plot_file: str | None,
    quiet: bool,
    columns: str | None,
    ignore: str | None,
    clean: str | None,
    bootstrap: int | None,
    seed: int | None,
    files: tuple[str, ...],
    **layout: Any,
) -> int:
    """Find the incidents that a file of past events would have raised. The detection is that of the worker; no broker
    is needed.

    FILE is CSV, Parquet or JSON (events or rows), also packed (.gz, .zst) and on s3:// or gs://; a folder or a
    pattern stands for its files; - reads JSON lines from standard input. Every column of a table is a feature unless
    an option gives it another role. Without --reference and --reference-rows the reference is learned from the first
    10,000 events. Exit status 0: rows were judged, no incident; 1: at least one incident; 2: usage, error, or too
    little was judged (no reference, or most rows late or repeated).

    With --clean the report also shows the rate of false alarms on the clean events. For each feature it shows after how
    many events a change would be found: a shift of 0.25, 0.5 and 1 standard deviations, a doubled variance, missing
    values, and another mix of categories.

    \b
      driftline replay history.csv --reference-rows 10000
      driftline replay history.csv --reference-rows 10000 --clean 0:7000 --plot history.html
      driftline replay today.parquet --reference reference.json --prediction score --plot today.html
      driftline replay events.jsonl --reference reference.json --json | jq .state
    """
    if layout["reference_file"] is not None and layout["reference_rows"] is not None:
        raise click.UsageError("--reference and --reference-rows exclude each other; give one of them")
    if clean is None and (bootstrap is not None or seed is not None):
        raise click.UsageError("--bootstrap and --seed need --clean, the events to calibrate on")
    if clean is not None and layout["reference_file"] is None and layout["reference_rows"] is None:
        raise click.UsageError("--clean needs --reference or --reference-rows, to compare the clean events with")
    if layout["progress"] is not None and layout["reference_file"] is None and layout["reference_rows"] is None:
        raise click.UsageError("--progress needs --reference or --reference-rows")
    several = layout["partition_by"] is not None or layout["progress"] is not None
    layout["partitions"] = layout["partitions"] or (4 if several else 1)
    from stream.replay import command as replay_command
    from stream.replay.clean_rows import CalibrationOptions, span
    from stream.replay.options import ReplayOptions

    chosen = ReplayOptions(file=files[0], more=files[1:], **_features(columns, ignore), **layout)

    calibration = None if clean is None else CalibrationOptions(span(clean), bootstrap, 1 if seed is None else seed)
    return replay_command.main(chosen, as_json=as_json, plot_file=plot_file, quiet=quiet, calibration=calibration)


def _features(columns: str | None, ignore: str | None) -> dict[str, Any]:
    """Which columns are features, as members of a file's layout."""
    if columns is not None and ignore is not None:
        raise click.UsageError("--columns and --ignore exclude each other; give one of them")
    return {"columns": options.names(columns), "ignore": options.names(ignore) or ()}


@click.group(short_help="Build, publish, show and compare references.")
def reference() -> None:
    """Build, publish, show and compare references. A reference describes the data that production is compared with."""


@reference.command(short_help="Build a reference from training data.")
@click.argument("files", metavar="FILE", nargs=-1, required=True)
@click.option("-o", "--output", "output_file", metavar="FILE", required=True, help="File to write the reference to.")
@options.table_options
@click.option("--rows", "reference_rows", type=click.IntRange(min=1), metavar="N", help="Use only the first N rows.")
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
def build(
    output_file: str,
    quiet: bool,
    columns: str | None,
    ignore: str | None,
    reference_rows: int | None,
    files: tuple[str, ...],
    **layout: Any,
) -> int:
    """Build a reference from the data that a model was trained or validated on (CSV, Parquet or JSON;
    several files, folders and patterns are one table).

    \b
      driftline reference build train.parquet -o reference.json --model fraud --version 3
    """
    from stream.files.layout import FileLayout
    from stream.references import command as reference_command

    chosen = FileLayout(file=files[0], more=files[1:], **_features(columns, ignore), **layout)
    return reference_command.build(chosen, reference_rows, output_file, quiet)


@reference.command(short_help="Publish a reference to Kafka.")
@click.argument("file", metavar="REFERENCE")
@options.settings_options
def publish(file: str, config_file: str | None, bootstrap_servers: str | None) -> int:
    """Publish a reference to the references topic. Running workers use it at once, without a restart.

    \b
      driftline reference publish reference.json --bootstrap-servers kafka:9092
    """
    from stream.references import command as reference_command

    settings = options.load_settings(config_file, {"kafka.bootstrap_servers": bootstrap_servers})
    return reference_command.publish(settings, file)


@reference.command(short_help="Show a reference: its model, rows and features.")
@click.argument("file", metavar="REFERENCE")
@JSON
def show(file: str, as_json: bool) -> int:
    """Show a reference: its model, its rows, and every feature."""
    from stream.references import command as reference_command

    return reference_command.show(options.output(), file, as_json)


@reference.command(short_help="Compare two references, feature by feature.")
@click.argument("left", metavar="REFERENCE")
@click.argument("right", metavar="OTHER")
@JSON
def diff(left: str, right: str, as_json: bool) -> int:
    """Compare two references, feature by feature. Exit status 1 if a feature differs by a PSI of more than 0.1."""
    from stream.references import command as reference_command

    return reference_command.diff(options.output(), left, right, as_json)


COMMANDS = (replay, reference)
