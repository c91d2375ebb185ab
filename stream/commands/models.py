"""Commands on models: they ask a running worker. No logic."""

import click

from stream.commands import options
from stream.commands.incidents import BY, CONFIG, JSON, NOTE, URL
from stream.terminal.exit_status import ExitStatus


@click.group(short_help="List what is watched; forget what is retired.")
def models() -> None:
    """List the models that are watched, and forget those that are retired.

    They ask a running worker; forgetting needs the token of the settings (http.token).
    """


@models.command("list", short_help="Every model version and segment.")
@URL
@CONFIG
@JSON
def list_(url: str | None, config_file: str | None, as_json: bool) -> int:
    """Every model version and segment: state, events, when the last one came."""
    from stream.commands import worker_client
    from stream.terminal import models as model_tables

    where = url or worker_client.address(options.load_settings(config_file, {}))
    return model_tables.show_list(options.output(), worker_client.get(where, "/api/v1/models")["models"], as_json)


@models.command()
@click.argument("model")
@click.argument("version", required=False)
@click.option("--segment", help="Only this segment [default: all; empty: the whole population].")
@BY
@NOTE
@URL
@CONFIG
def forget(
    model: str,
    version: str | None,
    segment: str | None,
    by: str | None,
    note: str,
    url: str | None,
    config_file: str | None,
) -> int:
    """Watch MODEL no more: all versions, or VERSION. For what is retired: it is blind for ever otherwise.

    Its incidents end, it leaves the page, the metrics and its model's budget. What sends events again is watched again,
    with its counts, and says so.
    """
    from stream.commands import worker_client

    settings = options.load_settings(config_file, {})
    where = url or worker_client.address(settings)
    token = settings.http.token.reveal() if settings.http.token else None
    known = worker_client.get(where, "/api/v1/models")["models"]
    versions = [version] if version else sorted({m["version"] for m in known if m["model"] == model})
    if not versions:
        raise click.ClickException(f"no model {model!r} is watched; see driftline models list")
    for one in versions:
        path = f"/api/v1/models/{worker_client.quoted(model)}/{worker_client.quoted(one)}/forget"
        query = "" if segment is None else f"?segment={worker_client.quoted(segment)}"
        worker_client.post(where, path + query, {"by": by or worker_client.user(), "note": note}, token)
        click.echo(f"{model}/{one}: forget recorded")
    return ExitStatus.OK


COMMANDS = (models,)
