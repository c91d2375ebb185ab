"""The program ``driftline``: its commands, exit statuses and one-line errors. No logic, no heavy library at import.

Exit status 0 stable, 1 drift, 2 usage or error; 130 after Ctrl-C.
"""

import sys
from typing import NoReturn

import click

from detectors.errors import DriftlineError
from stream.commands import broker, files, formats, incidents, models, service
from stream.terminal import logs
from stream.terminal.exit_status import ExitStatus
from stream.terminal.printable import message


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="driftline", message="%(prog)s %(version)s")
def cli() -> None:
    """Monitors deployed models and reports when their data or behaviour changes.

    A change is reported about a second after the events that prove it. You set how many false alarms you accept.

    \b
    Start here:
      driftline demo           a complete example; needs nothing else
      driftline replay FILE    the incidents that your own data would have raised
      driftline survey TOPIC   a summary of the events on your Kafka
      driftline worker         monitor models; web page at http://127.0.0.1:9108
      driftline watch          show models and incidents in the terminal

    Settings come from a YAML file (--config), from environment variables such as DRIFTLINE_KAFKA__BOOTSTRAP_SERVERS,
    and from options; the later ones win. Exit status: 0 stable, 1 drift, 2 usage or error.
    """


for _module in (service, files, broker, formats, incidents, models):
    for _command in _module.COMMANDS:
        cli.add_command(_command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """The entry point of the program. Ends the process with the exit status."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Runs one command line and returns its exit status. A crash returns 2 too, because 1 means drift."""
    logs.guard_warnings()
    try:
        status = cli.main(arguments, prog_name="driftline", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return ExitStatus.ERROR
    except (click.Abort, KeyboardInterrupt):
        return ExitStatus.INTERRUPTED
    except DriftlineError as error:
        click.echo(message(f"driftline: {error}"), err=True)
        return ExitStatus.ERROR
    except SystemExit as leaving:  # raised by click: the reader of our output left (1), or a shell asked to complete
        return ExitStatus.ERROR if leaving.code else ExitStatus.OK
    except Exception:
        click.echo(logs.traceback_text(), err=True)
        click.echo("driftline: this is a bug in driftline; please report it together with the lines above", err=True)
        return ExitStatus.ERROR
    return status if isinstance(status, int) else ExitStatus.OK
