"""The command group models, which sends requests to a running worker. Only options; no logic."""

import click

from stream.commands import options
from stream.commands.incidents import BY, CONFIG, JSON, NOTE, URL
from stream.terminal.exit_status import ExitStatus
from stream.terminal.printable import printable


@click.group(short_help="List monitored models; stop monitoring retired ones.")
def models() -> None:
    """List the monitored models, and stop monitoring retired ones.

    These commands send requests to a running worker. forget needs a token: set http.token in the settings file
    (--config) or in the environment variable DRIFTLINE_HTTP__TOKEN.
    """


@models.command("list", short_help="List every model version and segment.")
@URL
@CONFIG
@JSON
def list_(url: str | None, config_file: str | None, as_json: bool) -> int:
    """List every model version and segment with its state, its events and the time of the last event."""
    from stream.commands import worker_client
    from stream.terminal import models as model_tables

    where = url or worker_client.address(options.load_settings(config_file, {}))
    return model_tables.show_list(options.output(), worker_client.get(where, "/api/v1/models")["models"], as_json)


@models.command(short_help="Stop monitoring a model or a version.")
@click.argument("model")
@click.argument("version", required=False)
@click.option("--segment", help="Only this segment [default: all; empty: the events without a segment].")
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
    """Stop monitoring MODEL, or only its VERSION. Without this a retired model stays in the state blind.

    Its incidents are resolved. It is removed from the web page, from the metrics and from the false-alarm budget of the
    model. If it sends events again, monitoring starts again and its counts continue.
    """
    from stream.commands import worker_client

    settings = options.load_settings(config_file, {})
    where = url or worker_client.address(settings)
    token = settings.http.token.reveal() if settings.http.token else None
    known = worker_client.get(where, "/api/v1/models")["models"]
    versions = [version] if version else sorted({m["version"] for m in known if m["model"] == model})
    if not versions:
        raise click.ClickException(f"no model {model!r} is monitored; see driftline models list")
    for one in versions:
        path = f"/api/v1/models/{worker_client.quoted(model)}/{worker_client.quoted(one)}/forget"
        query = "" if segment is None else f"?segment={worker_client.quoted(segment)}"
        worker_client.post(where, path + query, {"by": by or worker_client.user(), "note": note}, token)
        click.echo(printable(f"{model}/{one}: forget recorded"))
    return ExitStatus.OK


COMMANDS = (models,)
