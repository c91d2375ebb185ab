"""Commands on incidents: they ask a running worker. No logic."""

from typing import Any

import click

from stream.commands import options
from stream.terminal.exit_status import ExitStatus

BY = click.option("--by", help="Who says so [default: the user name].")
NOTE = click.option("--note", default="", help="Why, for those who come later.")
URL = click.option("--url", help="A worker's address [default: that of the settings].")
CONFIG = click.option("--config", "config_file", metavar="FILE", help="Settings file (YAML); holds the token.")
JSON = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")


@click.group(short_help="List, acknowledge, silence, resolve, accept.")
def incidents() -> None:
    """List incidents, acknowledge, resolve, or accept the present as the new normal.

    They ask a running worker; what changes something needs the token of the settings (http.token).
    """


@incidents.command("list")
@click.option("--model", help="Only this model.")
@click.option(
    "--state", type=click.Choice(["open", "resolved", "all"]), default="open", show_default=True, help="Which of them."
)
@URL
@CONFIG
@JSON
def list_(model: str | None, state: str, url: str | None, config_file: str | None, as_json: bool) -> int:
    """The incidents, newest first. Exit status 1 when one is open."""
    from stream.commands import worker_client
    from stream.terminal import incidents as incident_tables

    where = url or worker_client.address(options.load_settings(config_file, {}))
    answer = worker_client.get(where, "/api/v1/incidents", model=model, state=state)
    return incident_tables.show_list(options.output(), answer["incidents"], as_json)


@incidents.command()
@click.argument("incident")
@URL
@CONFIG
@JSON
def show(incident: str, url: str | None, config_file: str | None, as_json: bool) -> int:
    """One incident with its features, sizes and verdict."""
    from stream.commands import worker_client
    from stream.terminal import incidents as incident_tables

    where = url or worker_client.address(options.load_settings(config_file, {}))
    answer = worker_client.get(where, f"/api/v1/incidents/{worker_client.quoted(incident)}")
    return incident_tables.show_one(options.output(), answer, as_json)


@incidents.command()
@click.argument("incident")
@click.option("--silence-hours", type=click.FloatRange(min=0), help="Do not page about it for so long.")
@BY
@NOTE
@URL
@CONFIG
def ack(incident: str, silence_hours: float | None, by: str | None, note: str, **where: Any) -> int:
    """Say that somebody is looking."""
    return _change(incident, "ack", {"silence_hours": silence_hours}, by, note, **where)


@incidents.command()
@click.argument("incident")
@click.option("--hours", type=click.FloatRange(min=0, max=720), default=4, show_default=True, help="For how long.")
@BY
@NOTE
@URL
@CONFIG
def silence(incident: str, hours: float, by: str | None, note: str, **where: Any) -> int:
    """Do not page about it for a while; 0 hours ends a silence."""
    return _change(incident, "silence", {"silence_hours": hours}, by, note, **where)


@incidents.command()
@click.argument("incident")
@click.argument("text")
@BY
@URL
@CONFIG
def note(incident: str, text: str, by: str | None, **where: Any) -> int:
    """Write TEXT beside it; nothing else changes."""
    return _change(incident, "note", {}, by, text, **where)


@incidents.command()
@click.argument("incident")
@BY
@NOTE
@URL
@CONFIG
def resolve(incident: str, by: str | None, note: str, **where: Any) -> int:
    """Say that it is over."""
    return _change(incident, "resolve", {}, by, note, **where)


@incidents.command()
@click.argument("incident")
@BY
@NOTE
@URL
@CONFIG
def accept(incident: str, by: str | None, note: str, **where: Any) -> int:
    """Make the present the model's new reference."""
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
    click.echo(f"{incident}: {action} recorded")
    return ExitStatus.OK


COMMANDS = (incidents,)
