"""The commands ``formats`` and ``decode``: which records are read, and how one would be."""

import click

from stream.commands import options

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command(short_help="List the formats of records that are read.")
@JSON
def formats(as_json: bool) -> int:
    """List the formats that are read, in the order in which they are tried."""
    from stream.survey import decoding

    return decoding.show_formats(options.output(), as_json)


@click.command(short_help="Show how records would be read, and why not.")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@options.settings_options
@click.option("--topic", help="Read records of this topic from Kafka instead of files.")
@click.option("--partition", type=click.IntRange(min=0), default=0, show_default=True, help="With --topic.")
@click.option("--offset", type=click.IntRange(min=0), help="With --topic: the first record. Default: the newest ones.")
@click.option("--count", type=click.IntRange(min=1, max=10_000), default=1, show_default=True, help="With --topic.")
@JSON
def decode(
    files: tuple[str, ...],
    config_file: str | None,
    bootstrap_servers: str | None,
    topic: str | None,
    partition: int,
    offset: int | None,
    count: int,
    as_json: bool,
) -> int:
    """Show how records would be read, and why not.

    A FILE is one Kafka record as JSON: {"topic", "timestamp_ms", "key", "headers": [[name, value]], "value"}, with key,
    value and the values of headers in Base64. Files are read in their order, as if from one partition. The settings
    apply to the topic that is named in the file.

    \b
      driftline decode record.json
      driftline decode --topic payments --offset 42 --count 3 --bootstrap-servers kafka:9092

    Exit status: 0, or 2 when a record would be a dead letter.
    """
    from stream.survey import decoding

    if bool(files) == bool(topic):
        raise click.UsageError("name one or more files, or a topic with --topic")
    settings = options.load_settings(config_file, {"kafka.bootstrap_servers": bootstrap_servers})
    if topic is None:
        return decoding.from_files(options.output(), settings, files, as_json)
    place = decoding.Place(topic, partition, offset, count)
    return decoding.from_topic(options.output(), settings, place, as_json)


COMMANDS = (formats, decode)
