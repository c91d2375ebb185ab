"""``driftline check``: compares the topics of a cluster with the topic plan of the settings and prints the result."""

import asyncio

import yaml
from rich.console import Console

from stream.backends.kafka.cluster import KafkaCluster
from stream.settings import settings as config
from stream.settings.settings import Settings
from stream.terminal import output
from stream.terminal.exit_status import ExitStatus
from stream.terminal.output import escape
from stream.topics import rules

STYLES = {"ok": "green", "created": "cyan", "warning": "yellow", "missing": "red", "wrong": "bold red"}


def show(console: Console, settings: Settings, as_json: bool) -> int:
    """Prints the settings in use, with secrets masked."""
    plain = config.masked(settings)
    if as_json:
        output.write_json(console, plain)
    else:
        console.out(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True).rstrip(), highlight=False)
    return ExitStatus.OK


def main(console: Console, settings: Settings, create: bool, as_json: bool) -> int:
    """Checks the topics and prints what was found. Exit status 2 if one is missing or wrong."""
    cluster = KafkaCluster(settings.kafka)
    findings = asyncio.run(rules.ensure(settings, cluster, create=create))
    if as_json:
        output.write_json(console, {"findings": findings})
    else:
        width = max((len(finding.topic) for finding in findings), default=0)
        for finding in findings:
            style = STYLES[finding.level]
            line = f"[{style}]{finding.level:<8}[/] {finding.topic:<{width}}  {escape(finding.text)}"
            console.print(line, soft_wrap=True)
    bad = any(finding.level in (rules.Level.WRONG, rules.Level.MISSING) for finding in findings)
    if not bad and not as_json:
        console.print(f"the broker and the topics at {escape(settings.kafka.bootstrap_servers)} are correct")
    return ExitStatus.ERROR if bad else ExitStatus.OK
