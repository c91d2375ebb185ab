"""Commands that ask a broker: check, survey, checkpoints. No logic."""

import click

from stream.commands import options

JSON = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")


@click.command(short_help="Check settings, broker and topics.")
@options.settings_options
@click.option("--show", is_flag=True, help="Print the settings in force, secrets masked, and ask no broker.")
@click.option("--create/--no-create", default=True, show_default=True, help="Create the topics that are missing.")
@JSON
def check(config_file: str | None, bootstrap_servers: str | None, show: bool, create: bool, as_json: bool) -> int:
    """Check settings, broker and topics; create what is missing, refuse what is wrong.

    \b
      driftline check --bootstrap-servers kafka:9092
      driftline check --config driftline.yaml --show
    """
    from stream.commands import check as check_command

    settings = options.load_settings(config_file, {"kafka.bootstrap_servers": bootstrap_servers})
    if show:
        return check_command.show(options.output(), settings, as_json)
    return check_command.main(options.output(), settings, create, as_json)


@click.command(short_help="What is really on a topic, by feature.")
@click.argument("topic", required=False)
@options.settings_options
@click.option("--events", type=click.IntRange(min=1), default=20_000, show_default=True, help="Read so many records.")
@click.option(
    "--seconds", type=click.FloatRange(min=0.1), default=10.0, show_default=True, help="Read no longer than this."
)
@click.option(
    "--from",
    "start",
    type=click.Choice(["newest", "oldest"]),
    default="newest",
    show_default=True,
    help="Which end of the topic.",
)
@click.option("--html", "html_file", metavar="FILE", help="Write a page.")
@click.option(
    "--write-settings", "settings_file", metavar="FILE", help="Write a first settings file from what is found."
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
    """What is really on a topic, feature by feature: kind, missing, distinct, quantiles or top values, how fresh.

    TOPIC is the events' topic of the settings unless given. Reads without a group, so it disturbs nobody.

    \b
      driftline survey inference-events --bootstrap-servers kafka:9092
      driftline survey --html survey.html --write-settings driftline.yaml
    """
    from stream.survey import command

    settings = options.load_settings(config_file, {"kafka.bootstrap_servers": bootstrap_servers})
    wish = command.Wish(topic, events, seconds, start == "oldest", html_file, settings_file, as_json)
    return command.main(options.output(), settings, wish)


@click.group(short_help="What the workers have saved.")
def checkpoints() -> None:
    """What the workers have saved: list, verify, drop."""


@checkpoints.command("list", short_help="Every saved unit, its offset and size.")
@options.settings_options
@JSON
def list_(config_file: str | None, bootstrap_servers: str | None, as_json: bool) -> int:
    """Every saved unit: partition, model, the offset it stands at, its size."""
    from stream.commands import checkpoints as checkpoints_command

    settings = options.load_settings(config_file, {"kafka.bootstrap_servers": bootstrap_servers})
    return checkpoints_command.show_list(options.output(), settings, as_json)


@checkpoints.command(short_help="Open every saved unit; 2 when one is broken.")
@options.settings_options
@JSON
def verify(config_file: str | None, bootstrap_servers: str | None, as_json: bool) -> int:
    """Open every saved unit and compare it with its partition's manifest. Exit status 2 when one is broken."""
    from stream.commands import checkpoints as checkpoints_command

    settings = options.load_settings(config_file, {"kafka.bootstrap_servers": bootstrap_servers})
    return checkpoints_command.verify(options.output(), settings, as_json)


@checkpoints.command(short_help="Drop what keeps a worker from starting.")
@click.option("--partition", type=click.IntRange(min=0), required=True, help="The input partition.")
@click.option("--topic", help="The input topic [default: the only one of the settings].")
@click.option("--model", help="Only this model's units, else all of the partition.")
@click.option("--version", help="Only this version's.")
@click.option("--yes", is_flag=True, help="Do not ask.")
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
    """Forget what was saved, where a broken checkpoint keeps a worker from starting. Stop the workers first.

    What is dropped starts anew at the partition's committed offset: its counts begin again.
    """
    from stream.commands import checkpoints as checkpoints_command

    settings = options.load_settings(config_file, {"kafka.bootstrap_servers": bootstrap_servers})
    what = checkpoints_command.Choice(topic, partition, model, version)
    if not yes:
        click.confirm(f"Forget the checkpoints of {what}?", abort=True)
    return checkpoints_command.drop(options.output(), settings, what)


COMMANDS = (check, survey, checkpoints)
