"""The commands check, survey and checkpoints, which read from a broker. Only their options; no logic."""

import click

from stream.commands import options

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


@click.command(short_help="Check the settings, the broker and the topics.")
@options.settings_options
@click.option(
    "--show", is_flag=True, help="Only print the settings in use, with secrets masked; no broker is contacted."
)
@click.option("--create/--no-create", default=True, show_default=True, help="Create missing topics.")
@click.option(
    "--acls",
    is_flag=True,
    help="Only print the least rights of a worker, as kafka-acls lines and as a Strimzi KafkaUser; no broker is "
    "contacted.",
)
@click.option("--principal", metavar="USER", help="The user of --acls [default: kafka.sasl_username, or the group].")
@JSON
def check(
    config_file: str | None,
    bootstrap_servers: str | None,
    show: bool,
    create: bool,
    acls: bool,
    principal: str | None,
    as_json: bool,
) -> int:
    """Check the settings, the broker and the topics.

    Missing topics are created. A topic with wrong settings is reported and not changed. Exit status 0: everything is
    correct; 2: something is missing or wrong.

    \b
      driftline check --bootstrap-servers kafka:9092
      driftline check --config driftline.yaml --show
      driftline check --config driftline.yaml --acls
    """
    from stream.commands import check as check_command

    settings = options.load_settings(config_file, {"kafka.bootstrap_servers": bootstrap_servers})
    if show:
        return check_command.show(options.output(), settings, as_json)
    if acls:
        return check_command.show_acls(options.output(), settings, principal, as_json)
    return check_command.main(options.output(), settings, create, as_json)


@click.command(short_help="Summarise the events on a topic, feature by feature.")
@click.argument("topic", required=False)
@options.settings_options
@click.option(
    "--events", type=click.IntRange(min=1), default=20_000, show_default=True, help="Number of records to read."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    help="Stop reading after this many seconds.",
)
@click.option(
    "--from",
    "start",
    type=click.Choice(["newest", "oldest"]),
    default="newest",
    show_default=True,
    help="Read the newest or the oldest records.",
)
@click.option("--html", "html_file", metavar="FILE", help="Write the summary as an HTML page.")
@click.option(
    "--write-settings",
    "settings_file",
    metavar="FILE",
    help="Write a first settings file for the models that were found.",
)
@JSON
def survey(
    topic: str | None,
    config_file: str | None,
    bootstrap_servers: str | None,
    events: int,
    seconds: float,
    start: str,
    html_file: str | None,
    settings_file: str | None,
    as_json: bool,
) -> int:
    """Summarise the events on a topic.

    For each feature: its kind, the missing and distinct values, and quantiles or the most frequent values. TOPIC
    defaults to the first events topic of the settings. No consumer group is used, so other consumers are not affected.

    \b
      driftline survey inference-events --bootstrap-servers kafka:9092
      driftline survey --html survey.html --write-settings driftline.yaml
    """
    from stream.survey import command

    settings = options.load_settings(config_file, {"kafka.bootstrap_servers": bootstrap_servers})
    wanted = command.SurveyOptions(topic, events, seconds, start == "oldest", html_file, settings_file, as_json)
    return command.main(options.output(), settings, wanted)


@click.group(short_help="List, verify or delete the workers' checkpoints.")
def checkpoints() -> None:
    """List, verify or delete the checkpoints that the workers have saved."""


@checkpoints.command("list", short_help="List every saved unit with its offset and size.")
@options.settings_options
@JSON
def list_(config_file: str | None, bootstrap_servers: str | None, as_json: bool) -> int:
    """List every saved unit: its partition, its model, the offset that it has reached, and its size.

    A unit is one model version, or one segment of it, in one partition.
    """
    from stream.commands import checkpoints as checkpoints_command

    settings = options.load_settings(config_file, {"kafka.bootstrap_servers": bootstrap_servers})
    return checkpoints_command.show_list(options.output(), settings, as_json)


@checkpoints.command(short_help="Check that every saved unit can be read.")
@options.settings_options
@JSON
def verify(config_file: str | None, bootstrap_servers: str | None, as_json: bool) -> int:
    """Read every saved unit and compare it with its partition's manifest. Exit status 2 if one is broken."""
    from stream.commands import checkpoints as checkpoints_command

    settings = options.load_settings(config_file, {"kafka.bootstrap_servers": bootstrap_servers})
    return checkpoints_command.verify(options.output(), settings, as_json)


@checkpoints.command(short_help="Delete checkpoints that keep a worker from starting.")
@click.option("--partition", type=click.IntRange(min=0), required=True, help="The partition of the events topic.")
@click.option("--topic", help="The events topic [default: the only one in the settings].")
@click.option("--model", help="Only units of this model [default: all of the partition].")
@click.option("--version", help="Only units of this version.")
@click.option("--yes", is_flag=True, help="Delete without asking.")
@options.settings_options
def drop(
    partition: int,
    topic: str | None,
    model: str | None,
    version: str | None,
    yes: bool,
    config_file: str | None,
    bootstrap_servers: str | None,
) -> int:
    """Delete checkpoints, for example a broken one that keeps a worker from starting. Stop the workers first.

    A unit without a checkpoint starts at the partition's committed offset, and its counts start at zero.
    """
    from stream.commands import checkpoints as checkpoints_command

    settings = options.load_settings(config_file, {"kafka.bootstrap_servers": bootstrap_servers})
    selected = checkpoints_command.Selection(topic, partition, model, version)
    if not yes:
        click.confirm(f"Delete the checkpoints of {selected}?", abort=True)
    return checkpoints_command.drop(options.output(), settings, selected)


COMMANDS = (check, survey, checkpoints)
