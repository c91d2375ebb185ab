"""Commands that run: worker, demo, watch; and version and completion. No logic."""

import click

from stream.commands import options
from stream.terminal.exit_status import ExitStatus


@click.command(short_help="Watch the models that publish to Kafka.")
@options.settings_options
@click.option(
    "--role",
    type=click.Choice(["all", "observe", "judge"]),
    default="all",
    show_default=True,
    help="Read and count events, judge the models, or both.",
)
@click.option("--host", help="Address of the page and the metrics [default: 127.0.0.1].")
@click.option("--port", type=int, help="Port of the page and the metrics [default: 9108].")
@click.option("--create-topics/--no-create-topics", default=None, help="Create missing topics at start [default: yes].")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="How much is told [default: info]."
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
    """Watch the models that publish to Kafka, until SIGTERM or Ctrl-C.

    Without a settings file it watches whatever arrives on the topic inference-events: models, versions and features
    are found as they come. More workers with the same group share the partitions.

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


@click.command(short_help="See it at work on a broker inside this process.")
@click.option("--seconds", type=click.FloatRange(min=1), help="End by itself after so long [default: about a minute].")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the page and the metrics [default: 9108].")
@click.option("--headless", is_flag=True, help="Plain lines instead of the live view.")
def demo(seconds: float | None, port: int | None, headless: bool) -> int:
    """The whole service on a broker inside this process, with three models and three injected changes.

    Nothing has to be installed or started. Ends with a table of what was injected, when it was found and at what
    delay; exit status 0 when every change was found and nothing else was reported.
    """
    from stream.demo import command as story

    return story.main(seconds=seconds, port=port, headless=headless)


@click.command(short_help="Models and incidents, live in the terminal.")
@click.option("--url", help="A worker's address [default: that of the settings].")
@click.option(
    "--interval", type=click.FloatRange(min=0.2), default=1.0, show_default=True, help="Seconds between two looks."
)
@click.option("--config", "config_file", metavar="FILE", help="Settings file (YAML).")
def watch(url: str | None, interval: float, config_file: str | None) -> int:
    """The models, the worst first, and their incidents as a live table in the terminal, from a running worker.

    Ctrl-C ends it. Where there is no terminal it writes lines.
    """
    from stream.commands import worker_client
    from stream.terminal import live

    return live.watch(url or worker_client.address(options.load_settings(config_file, {})), interval)


@click.command(short_help="The versions of driftline and what it stands on.")
def version() -> int:
    """Print the version of driftline and of what it stands on."""
    from stream.service import versions

    for name, text in versions.installed().items():
        click.echo(f"{name} {text}")
    return ExitStatus.OK


@click.command(short_help="The completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the completion script of a shell.

    \b
      driftline completion bash > ~/.local/share/bash-completion/completions/driftline
    """
    from click import shell_completion

    script = shell_completion.get_completion_class(shell)
    assert script is not None
    click.echo(script(context.find_root().command, {}, "driftline", "_DRIFTLINE_COMPLETE").source())
    return ExitStatus.OK


COMMANDS = (worker, demo, watch, version, completion)
