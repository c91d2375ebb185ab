"""The command group models, which sends requests to a running worker. Only options; no logic."""

import click

from stream.commands import options
from stream.commands.incidents import BY, CONFIG, JSON, NOTE, URL
from stream.terminal.exit_status import ExitStatus
from stream.terminal.printable import printable


@click.group(short_help="List monitored models; stop monitoring retired ones.")
def models() -> None:
    """List the monitored models, and stop monitoring retired ones.

    These commands send requests to a running worker. forget and release need a token: set http.token in the settings
    file (--config) or in the environment variable DRIFTLINE_HTTP__TOKEN.
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
    return _request_for_units("forget", model, version, segment, {"by": by, "note": note}, url, config_file)


@models.command(short_help="End the quarantine of a model.")
@click.argument("model")
@click.argument("version", required=False)
@click.argument("segment_name", metavar="[SEGMENT]", required=False)
@click.option("--segment", help="Only this segment [default: all; empty: the events without a segment].")
@BY
@NOTE
@URL
@CONFIG
def release(
    model: str,
    version: str | None,
    segment_name: str | None,
    segment: str | None,
    by: str | None,
    note: str,
    url: str | None,
    config_file: str | None,
) -> int:
    """End the quarantine of MODEL, or only of its VERSION, or of one SEGMENT.

    A model is put into quarantine after an unexpected error while it is counted or judged. Its events are ignored from
    then on. After the release it begins a new epoch with the next event; its counts before are kept.
    """
    wanted = segment if segment is not None else segment_name
    return _request_for_units("release", model, version, wanted, {"by": by, "note": note}, url, config_file)


def _request_for_units(
    what: str,
    model: str,
    version: str | None,
    segment: str | None,
    given: dict[str, str | None],
    url: str | None,
    config_file: str | None,
) -> int:
    """Sends the request ``what`` for each version of a model, or for one."""
    from stream.commands import worker_client

    settings = options.load_settings(config_file, {})
    where = url or worker_client.address(settings)
    token = settings.http.token.reveal() if settings.http.token else None
    known = [m for m in worker_client.get(where, "/api/v1/models")["models"] if m["model"] == model]
    if what == "release" and version is None:
        held = [m for m in known if m.get("quarantined")]
        if known and not held:
            raise click.ClickException(f"no version of model {model!r} is in quarantine")
        known = held
    versions = [version] if version else sorted({m["version"] for m in known})
    if not versions:
        raise click.ClickException(f"no model {model!r} is monitored; see driftline models list")
    for one in versions:
        path = f"/api/v1/models/{worker_client.quoted(model)}/{worker_client.quoted(one)}/{what}"
        query = "" if segment is None else f"?segment={worker_client.quoted(segment)}"
        body = {**given, "by": given["by"] or worker_client.user()}
        worker_client.post(where, path + query, body, token)
        click.echo(printable(f"{model}/{one}: {what} recorded"))
    return ExitStatus.OK


COMMANDS = (models,)
