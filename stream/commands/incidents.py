"""The command group incidents, which sends requests to a running worker. Only options; no logic."""

from typing import Any

import click

from stream.commands import options
from stream.terminal.exit_status import ExitStatus
from stream.terminal.printable import printable

BY = click.option("--by", help="Your name, for the record [default: the user name].")
NOTE = click.option("--note", default="", help="Your reason, for the record.")
URL = click.option("--url", help="Address of a worker [default: http.host and http.port].")
CONFIG = click.option("--config", "config_file", metavar="FILE", help="Settings file (YAML) with the token.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


@click.group(short_help="List incidents; acknowledge, silence or resolve them.")
def incidents() -> None:
    """List incidents; acknowledge, silence or resolve them, or accept the present data as the new reference.

    These commands send requests to a running worker. All but list and show need a token: set http.token in the settings
    file (--config) or in the environment variable DRIFTLINE_HTTP__TOKEN.
    """


@incidents.command("list")
@click.option("--model", help="Only incidents of this model.")
@click.option(
    "--state",
    type=click.Choice(["open", "resolved", "all"]),
    default="open",
    show_default=True,
    help="Only incidents in this state.",
)
@URL
@CONFIG
@JSON
def list_(model: str | None, state: str, url: str | None, config_file: str | None, as_json: bool) -> int:
    """List incidents, newest first. Exit status 1 if one of them is open."""
    from stream.commands import worker_client
    from stream.terminal import incidents as incident_tables

    where = url or worker_client.address(options.load_settings(config_file, {}))
    answer = worker_client.get(where, "/api/v1/incidents", model=model, state=state)
    return incident_tables.show_list(options.output(), answer["incidents"], as_json)


@incidents.command(short_help="Show one incident with its verdict and features.")
@click.argument("incident")
@URL
@CONFIG
@JSON
def show(incident: str, url: str | None, config_file: str | None, as_json: bool) -> int:
    """Show one incident: its verdict, its features and how much they changed."""
    from stream.commands import worker_client
    from stream.terminal import incidents as incident_tables

    where = url or worker_client.address(options.load_settings(config_file, {}))
    answer = worker_client.get(where, f"/api/v1/incidents/{worker_client.quoted(incident)}")
    return incident_tables.show_one(options.output(), answer, as_json)


@incidents.command()
@click.argument("incident")
@click.option("--silence-hours", type=click.FloatRange(min=0), help="Also send no alerts for this many hours.")
@BY
@NOTE
@URL
@CONFIG
def ack(incident: str, silence_hours: float | None, by: str | None, note: str, **where: Any) -> int:
    """Acknowledge an incident: somebody is working on it."""
    return _change(incident, "ack", {"silence_hours": silence_hours}, by, note, **where)


@incidents.command(short_help="Send no alerts about an incident for a while.")
@click.argument("incident")
@click.option(
    "--hours", type=click.FloatRange(min=0, max=720), default=4, show_default=True, help="Hours without alerts."
)
@BY
@NOTE
@URL
@CONFIG
def silence(incident: str, hours: float, by: str | None, note: str, **where: Any) -> int:
    """Send no alerts about an incident for some hours; 0 hours ends the silence."""
    return _change(incident, "silence", {"silence_hours": hours}, by, note, **where)


@incidents.command()
@click.argument("incident")
@click.argument("text")
@BY
@URL
@CONFIG
def note(incident: str, text: str, by: str | None, **where: Any) -> int:
    """Add TEXT to an incident as a note; nothing else changes."""
    return _change(incident, "note", {}, by, text, **where)


@incidents.command()
@click.argument("incident")
@BY
@NOTE
@URL
@CONFIG
def resolve(incident: str, by: str | None, note: str, **where: Any) -> int:
    """Resolve an incident: it has ended."""
    return _change(incident, "resolve", {}, by, note, **where)


@incidents.command(short_help="Make the present data the new reference.")
@click.argument("incident")
@BY
@NOTE
@URL
@CONFIG
def accept(incident: str, by: str | None, note: str, **where: Any) -> int:
    """Make the present data the model's new reference."""
    return _change(incident, "accept", {}, by, note, **where)


def _change(
    incident: str,
    action: str,
    more: dict[str, Any],
    by: str | None,
    note: str,
    url: str | None,
    config_file: str | None,
) -> int:
    from stream.commands import worker_client

    settings = options.load_settings(config_file, {})
    body = {"by": by or worker_client.user(), "note": note, **{k: v for k, v in more.items() if v is not None}}
    path = f"/api/v1/incidents/{worker_client.quoted(incident)}/{action}"
    token = settings.http.token.reveal() if settings.http.token else None
    worker_client.post(url or worker_client.address(settings), path, body, token)
    click.echo(printable(f"{incident}: {action} recorded"))
    return ExitStatus.OK


COMMANDS = (incidents,)
