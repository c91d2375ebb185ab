"""The commands worker, demo, watch, version and completion. Only their options; no logic."""

import click

from stream.commands import options
from stream.terminal.exit_status import ExitStatus


@click.command(short_help="Monitor the models that publish to Kafka.")
@options.settings_options
@click.option(
    "--role",
    type=click.Choice(["all", "observe", "judge"]),
    default="all",
    show_default=True,
    help="observe: read and count events; judge: decide about drift; all: both.",
)
@click.option("--host", help="Address of the web page and the metrics [default: 127.0.0.1].")
@click.option("--port", type=int, help="Port of the web page and the metrics [default: 9108].")
@click.option("--create-topics/--no-create-topics", default=None, help="Create missing topics at start [default: yes].")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Least severe log lines to write [default: info].",
)
def worker(
    config_file: str | None,
    bootstrap_servers: str | None,
    role: str,
    host: str | None,
    port: int | None,
    create_topics: bool | None,
    log_level: str | None,
) -> int:
    """Monitor the models that publish to Kafka, until SIGTERM or Ctrl-C.

    Without a settings file the worker reads the topic inference-events and finds models, versions and features by
    itself. Several workers with the same kafka.group_id share the partitions.

    \b
      driftline worker --bootstrap-servers kafka:9092
      driftline worker --config driftline.yaml --role observe
    """
    from stream.service import process

    flags = {
        "kafka.bootstrap_servers": bootstrap_servers,
        "kafka.create_topics": create_topics,
        "http.host": host,
        "http.port": port,
        "log_level": log_level,
    }
    return process.main(options.load_settings(config_file, flags), role)


@click.command(short_help="Run a complete example on a built-in broker.")
@click.option("--seconds", type=click.FloatRange(min=1), help="Length of the demo [default: 60].")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the web page and the metrics [default: 9108].")
@click.option("--headless", is_flag=True, help="Print lines instead of the live view.")
def demo(seconds: float | None, port: int | None, headless: bool) -> int:
    """Run the whole service with three models, on a broker inside this process.

    Nothing else has to be installed or started. Three changes are injected. At the end a table shows when each was
    found. Exit status 0: every change was found and nothing else was reported; 1: otherwise.
    """
    from stream.demo import command as story

    return story.main(seconds=seconds, port=port, headless=headless)


@click.command(short_help="Show models and incidents live in the terminal.")
@click.option("--url", help="Address of a worker [default: http.host and http.port].")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.2),
    default=1.0,
    show_default=True,
    help="Seconds between two requests to the worker.",
)
@click.option("--config", "config_file", metavar="FILE", help="Settings file (YAML).")
def watch(url: str | None, interval: float, config_file: str | None) -> int:
    """Show the models and incidents of a running worker as a live table, the worst models first.

    Ctrl-C ends it. If standard output is not a terminal, lines are printed instead.
    """
    from stream.commands import worker_client
    from stream.terminal import live

    return live.watch(url or worker_client.address(options.load_settings(config_file, {})), interval)


@click.command(short_help="Print the versions of driftline and its libraries.")
def version() -> int:
    """Print the versions of driftline, Python and the libraries that it uses."""
    from stream.service import versions

    for name, text in versions.installed().items():
        click.echo(f"{name} {text}")
    return ExitStatus.OK


@click.command(short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the completion script for a shell.

    \b
      driftline completion bash > ~/.local/share/bash-completion/completions/driftline
    """
    from click import shell_completion

    script = shell_completion.get_completion_class(shell)
    assert script is not None
    click.echo(script(context.find_root().command, {}, "driftline", "_DRIFTLINE_COMPLETE").source())
    return ExitStatus.OK


COMMANDS = (worker, demo, watch, version, completion)
