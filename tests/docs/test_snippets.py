"""Every snippet of the README and the documentation runs."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
import yaml

from detectors.reference import reference
from detectors.reference.builder import build_reference
from stream.backends.kafka.embedded import EmbeddedBroker
from stream.commands import cli
from stream.settings import settings
from stream.topics.record import Partition, Record
from tests.docs import blocks
from tests.docs.blocks import ROOT, Block
from tests.kafka import server
from tests.service.processes import DRIFTLINE, Deployment, WorkerProcess, topic_names
from tests.settings.defaults import default_decoder

LANGUAGES = {"python", "json", "yaml", "console", "text"}

NOT_RUN = {
    "make demo": "tests/demo runs what it starts",
    "make test": "this is it",
    "make check": "it would run this test within itself",
    "make docs": "tests/docs/test_site.py builds the site",
    "make bench-detection ARGS='--data DIR --out docs'": "half an hour: tests/benchmarks",
    "make chaos": "six minutes: tests/chaos has its short form",
    "make fuzz": "half an hour: tests/fuzz has its short form",
    "make soak": "half an hour: tests/soak has its short form",
    "make mutants": "half an hour: tests/mutants has its short form",
    "docker compose up --build --detach": "needs a container engine: deploy/compose/smoke.sh",
    "docker compose --profile demo up --build": "needs a container engine: deploy/compose/smoke.sh",
    "driftline demo --headless --seconds 25": "tests/demo runs it, and tests/docs/test_release.py from a wheel",
    "driftline watch": "it never ends: tests/terminal/test_live.py has its table",
    "driftline replay FILE [--reference reference.json | --reference-rows N] [--clean FROM:TO] "
    "[--plot FILE.html] [--json]": "a synopsis",
    "driftline replay electricity.csv --reference-rows 10000 --ignore date --plot replay.png": (
        "needs the elec2 data: tests/replay has the same, where there is data"
    ),
    "driftline replay electricity.csv --reference-rows 10000 --ignore date --rate 0.000556 --clean 0:7424 "
    "--plot calibration.png": "needs the elec2 data: tests/replay/test_clean_rows.py calibrates on rows of its own",
}
"""Commands that are not run by these tests, each with its reason."""

COMMANDS = [(block, command) for block in blocks.blocks("console") for command in block.commands]
WITHOUT_A_BROKER = (
    "driftline replay",
    "driftline reference build",
    "driftline reference show",
    "driftline reference diff",
)


def ids(found: list[Block]) -> dict[str, list[str]]:
    return {"ids": [str(block) for block in found]}


def needs_a_broker(command: str) -> bool:
    return command not in NOT_RUN and not command.startswith(WITHOUT_A_BROKER) and command.startswith("driftline ")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with a history, training data and a reference, as the pages suppose."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    rows = 12_000
    amounts, merchants = rng.gamma(2.0, 10.0, rows), rng.choice(["books", "food", "travel"], rows)
    lines = [f"{amount:.4f},{merchant}" for amount, merchant in zip(amounts, merchants, strict=True)]
    Path("history.csv").write_text("amount,merchant\n" + "\n".join(lines) + "\n")
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(
        pyarrow.table(
            {"amount": amounts, "merchant": merchants.tolist(), "is_fraud": [n % 2 for n in range(len(amounts))]}
        ),
        "train.parquet",
    )
    columns = {"amount": amounts.tolist(), "merchant": merchants.tolist()}
    Path("reference.json").write_bytes(reference.encode(build_reference("fraud", "3", columns)))
    return tmp_path


def test_every_block_is_in_a_language_that_is_tested() -> None:
    strange = [str(block) for block in blocks.blocks() if block.language not in LANGUAGES]
    assert not strange


def test_commands_that_are_not_run_are_still_in_the_pages() -> None:
    assert set(NOT_RUN) <= {command for _, command in COMMANDS}


@pytest.mark.parametrize("block", blocks.blocks("json"), **ids(blocks.blocks("json")))
def test_json_can_be_read_and_an_event_is_accepted(block: Block) -> None:
    value = json.loads(block.text)
    if "features" in value and "incidents" not in value:
        decoded = default_decoder().decode(Partition("t", 0), [Record(0, 1_763_700_000_000, None, block.text.encode())])
        assert not decoded.rejects


@pytest.mark.parametrize("block", blocks.blocks("yaml"), **ids(blocks.blocks("yaml")))
def test_yaml_is_a_settings_file_that_is_accepted(block: Block, folder: Path) -> None:
    file = folder / "driftline.yaml"
    file.write_text(block.text)
    assert set(yaml.safe_load(block.text)) <= set(settings.Settings.__struct_fields__)
    settings.load(file, {})


@pytest.mark.parametrize("block", blocks.blocks("python"), **ids(blocks.blocks("python")))
def test_python_runs(block: Block, folder: Path) -> None:
    broker = EmbeddedBroker(partitions=1)
    try:
        text = block.text.replace("kafka:9092", broker.bootstrap_servers)
        exec(compile(text, str(block), "exec"), {"__name__": "snippet"})
    finally:
        broker.close()


def test_every_command_of_make_is_a_target() -> None:
    named = {command.split()[1] for _, command in COMMANDS if command.startswith("make ")}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert named <= targets


def test_every_other_command_is_run_or_has_its_reason() -> None:
    strange = {command for _, command in COMMANDS if not command.startswith("driftline ")} - set(NOT_RUN)
    assert not {command for command in strange if not command.startswith("make ")}
    assert {command for command in strange if command.startswith("make ")} <= {"make bench"}


def named_in_prose() -> list[tuple[str, str]]:
    """Every ``driftline ...`` between back-quotes outside the blocks, by page."""
    found = []
    for page in blocks.PAGES:
        text = blocks._BLOCK.sub("", (ROOT / page).read_text(encoding="utf-8"))
        found += [(page, command) for command in re.findall(r"`driftline ([a-z][^`]*)`", text)]
    return found


@pytest.mark.parametrize(("page", "command"), named_in_prose())
def test_a_command_named_in_the_text_exists_with_its_options(page: str, command: str) -> None:
    here: click.Command = cli.cli
    for word in shlex.split(command.replace("|", " ").replace("/", " ")):
        if isinstance(here, click.Group) and word in here.commands:
            here = here.commands[word]
        elif word.startswith("--"):
            known = {option for parameter in here.params for option in (*parameter.opts, *parameter.secondary_opts)}
            assert word in known | {"--help"}, f"{page}: {command}"
    assert here is not cli.cli, f"{page}: driftline {command}"


FILE_COMMANDS = sorted({command for _, command in COMMANDS if command.startswith(WITHOUT_A_BROKER)} - set(NOT_RUN))


@pytest.mark.parametrize("command", FILE_COMMANDS)
def test_a_command_over_files_runs(command: str, folder: Path) -> None:
    """Runs the command in this process; status 1 is drift, not an error."""
    program, *arguments = shlex.split(command)
    assert program == "driftline"
    if "--clean" in arguments:
        arguments += ["--bootstrap", "20"]  # the budget asks for 4,000 copies of so short a stretch: ten seconds
    assert cli.run(arguments) in (0, 1)
    for made in re.findall(r"(?:--plot|-o) (\S+)", command):
        assert (folder / made).stat().st_size > 0


@pytest.mark.kafka
async def test_the_commands_that_need_a_broker_run_in_the_order_of_getting_started(
    kafka: server.Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = Deployment(kafka.bootstrap_servers, folder)
    monkeypatch.setenv("DRIFTLINE_CONFIG", str(deployment.path))
    commands = list(dict.fromkeys(command for _, command in COMMANDS if needs_a_broker(command)))
    first = [command for command in commands if command.startswith("driftline check ")]
    workers = [command for command in commands if command.startswith("driftline worker")]
    rest = [command for command in commands if command not in (*first, *workers)]
    assert first
    assert workers
    for command in first:
        run(on(kafka, command, deployment))
    await kafka.create_topics({"payments": 1})
    await deployment.publish_rows("payments", [{"txn_id": f"t-{at}", "amount": at % 7} for at in range(100)])
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        await deployment.publish_events("fraud", "3", {"amount": [1.0, 2.0, 3.0] * 20})
        worker.until_events("fraud", "3", 60)
        for command in rest:
            run(on(kafka, command, deployment))
    for command in workers:
        with Running(deployment, on(kafka, command, deployment)) as worker:
            worker.until_ready()
            assert worker.terminate()[0] == 0


def run(command: str) -> None:
    """Runs one line as a shell would."""
    answer = subprocess.run(
        [str(DRIFTLINE), *shlex.split(command)[1:]], capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.returncode == 0, f"{command}\n{answer.stdout}{answer.stderr}"


class Running(WorkerProcess):
    """A worker that a line of a page starts; settings come from DRIFTLINE_CONFIG."""

    def __init__(self, deployment: Deployment, command: str) -> None:
        self.port = deployment.port
        self.log = deployment.folder / "worker.log"
        environ = dict(os.environ)
        if "--config" in command:  # a settings file of the page: the other topics have names of their own
            own = topic_names(f"{deployment.prefix}-own")
            environ |= {f"DRIFTLINE_TOPICS__{name.upper()}": topic for name, topic in own.items() if name != "events"}
            environ["DRIFTLINE_TOPICS__LABELS"] = own["labels"][0]
            environ["DRIFTLINE_KAFKA__GROUP_ID"] = f"{deployment.prefix}-own"
        with self.log.open("wb") as out:
            line = [str(DRIFTLINE), *shlex.split(command)[1:]]
            self.process = subprocess.Popen(line, stdout=out, stderr=out, env=environ)


def on(kafka: server.Cluster, command: str, deployment: Deployment) -> str:
    """The command with the broker and topics of the test instead of those of the page."""
    text = command.replace("kafka:9092", kafka.bootstrap_servers)
    text = text.replace("inference-events", deployment.topics["events"][0])
    own_settings = "worker" in text and "--config" in text
    return f"{text} --port {deployment.port}" if own_settings else text
