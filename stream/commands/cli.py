"""The command ``driftline``: commands, exit status and one-line errors. No logic, and nothing heavy at import.

Exit status 0 stable, 1 drift, 2 usage or error; 130 after Ctrl-C.
"""

import sys
from typing import NoReturn

import click

from detectors.errors import DriftlineError
from stream.commands import broker, files, incidents, models, service
from stream.terminal.exit_status import ExitStatus


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="driftline", message="%(prog)s %(version)s")
def cli() -> None:
    """Tells within a second, and without crying wolf, that the data or behaviour of a model has changed.

    \b
    Start here:
      driftline demo           see it at work; nothing else is needed
      driftline replay FILE    which incidents your own data would have raised
      driftline survey TOPIC   what the models on your Kafka publish
      driftline worker         watch them; the page is http://127.0.0.1:9108
      driftline watch          the same in the terminal

    Settings come from a YAML file (--config), then the environment (DRIFTLINE_KAFKA__BOOTSTRAP_SERVERS and so on),
    then flags. Exit status: 0 stable, 1 drift, 2 usage or error.
    """


for _command in (*service.COMMANDS, *files.COMMANDS, *broker.COMMANDS, *incidents.COMMANDS, *models.COMMANDS):
    cli.add_command(_command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """The entry point. Ends the process with the exit status."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """The exit status of one command line. A crash is 2 as well: 1 would read as drift."""
    try:
        status = cli.main(arguments, prog_name="driftline", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return ExitStatus.ERROR
    except (click.Abort, KeyboardInterrupt):
        return ExitStatus.INTERRUPTED
    except DriftlineError as error:
        click.echo(f"driftline: {error}", err=True)
        return ExitStatus.ERROR
    except SystemExit as leaving:  # click's own: the reader of our output went away (1), or a shell asked to complete
        return ExitStatus.ERROR if leaving.code else ExitStatus.OK
    except Exception:
        sys.excepthook(*sys.exc_info())
        click.echo("driftline: this is a bug of driftline; please report it with the lines above", err=True)
        return ExitStatus.ERROR
    return status if isinstance(status, int) else ExitStatus.OK
