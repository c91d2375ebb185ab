"""The command line: every command explains itself, errors are one line and 2, and 1 means drift and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from detectors.errors import BrokerError
from stream.commands import cli
from stream.settings import settings as config
from tests.architecture.sources import ROOT


def commands(group: click.Group, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command's words."""
    found: list[tuple[str, ...]] = []
    for name, command in sorted(group.commands.items()):
        found.append((*above, name))
        if isinstance(command, click.Group):
            found.extend(commands(command, (*above, name)))
    return found


ALL = commands(cli.cli)


@pytest.mark.parametrize("words", [(), *ALL], ids=lambda words: " ".join(words) or "driftline")
def test_in_a_terminal_of_eighty_columns_no_help_is_cut(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(cli.cli, [*words, "--help"], terminal_width=80).output
    listed = shown.partition("\nCommands:\n")[2]
    assert not [line for line in listed.splitlines() if line.endswith("...")]
    if not words:
        assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_and_option_explains_itself(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Usage: driftline " + " ".join(words))
    command: click.Command = cli.cli
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    assert command.help
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{' '.join(words)} {option.opts[0]}"


def test_the_contract_has_all_its_commands() -> None:
    named = {" ".join(words) for words in ALL}
    assert named >= {
        "worker",
        "replay",
        "demo",
        "check",
        "survey",
        "watch",
        "version",
        "completion",
        "reference build",
        "reference publish",
        "reference show",
        "reference diff",
        "incidents list",
        "incidents show",
        "incidents ack",
        "incidents resolve",
        "incidents accept",
        "checkpoints list",
        "checkpoints verify",
        "checkpoints drop",
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["replay"], "Missing argument 'FILE'"),
        (["replay", "a.csv", "--partitions", "0"], "0 is not in the range"),
        (["replay", "a.csv", "--reference", "r", "--reference-rows", "5"], "exclude each other"),
        (["replay", "a.csv", "--columns", "a", "--ignore", "b"], "exclude each other"),
        (["worker", "--role", "watcher"], "'watcher' is not one of"),
        (["check", "--config", "absent.yaml"], "absent.yaml: cannot be read: No such file"),
    ],
)
def test_wrong_usage_is_said_on_standard_error_and_is_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 2
    shown = capsys.readouterr()
    assert expected in shown.err
    assert shown.out == ""


def _command(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    @click.command()
    def failing() -> int:
        raise error

    monkeypatch.setitem(cli.cli.commands, "failing", failing)


def test_an_error_of_the_world_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _command(monkeypatch, BrokerError("kafka:9092: nobody there"))
    assert cli.run(["failing"]) == 2
    assert capsys.readouterr().err == "driftline: kafka:9092: nobody there\n"


def test_a_bug_never_reads_as_drift(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _command(monkeypatch, AssertionError("ours"))
    assert cli.run(["failing"]) == 2
    assert "this is a bug in driftline" in capsys.readouterr().err


@pytest.mark.parametrize("error", [click.Abort(), KeyboardInterrupt()])
def test_an_interrupt_is_neither_drift_nor_an_error(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    _command(monkeypatch, error)
    assert cli.run(["failing"]) == 130


def test_a_reader_that_goes_away_is_no_drift() -> None:
    program = "import sys; from stream.commands import cli; sys.exit(cli.run(['completion', 'bash']))"
    answer = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'"{sys.executable}" -c "{program}" | true; exit ${{PIPESTATUS[0]}}'],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert answer.returncode in (0, 2)
    assert "Traceback" not in answer.stderr


def test_show_prints_settings_that_load_again_with_secrets_masked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "driftline.yaml"
    path.write_text("http: {token: hunter2}\nmodels: {fraud: {ignore: [id]}}", encoding="utf-8")
    assert cli.run(["check", "--show", "--config", str(path), "--bootstrap-servers", "kafka:1"]) == 0
    shown = capsys.readouterr().out
    assert "hunter2" not in shown
    again = tmp_path / "again.yaml"
    again.write_text(shown, encoding="utf-8")
    settings = config.load(again, {})
    assert settings.kafka.bootstrap_servers == "kafka:1"
    assert settings.models["fraud"].ignore == ("id",)
    assert yaml.safe_load(shown)["http"]["token"] == "****"


def test_show_as_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", "--show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["topics"]["drift_events"] == "drift-events"


def test_version_names_what_it_stands_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["version"]) == 0
    shown = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    assert {"driftline", "faust-streaming", "aiokafka", "river", "python"} <= set(shown)
    assert "not installed" not in shown.values()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["completion", shell]) == 0
    assert "_DRIFTLINE_COMPLETE" in capsys.readouterr().out
