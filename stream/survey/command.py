"""``driftline survey``: reads a sample of a topic, decodes it, and writes the summary."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec
import yaml
from rich.console import Console

from detectors.columns import Columns
from detectors.errors import DriftlineError
from stream.backends.clock import SystemClock
from stream.backends.kafka.sample import Sample, sample
from stream.formats import decoder as codec
from stream.formats.row import Limits
from stream.formats.topic_rules import TopicRules
from stream.observe.shell.settings import observe_settings
from stream.settings.settings import Settings
from stream.survey import proposal, survey, views
from stream.survey.survey import TopicSurvey
from stream.terminal import output, progress
from stream.terminal.exit_status import ExitStatus


class SurveyOptions(NamedTuple):
    """The options of the command."""

    topic: str | None
    events: int
    seconds: float
    oldest: bool
    html_file: str | None
    settings_file: str | None
    as_json: bool


def main(console: Console, settings: Settings, wanted: SurveyOptions) -> int:
    """Runs the command. Exit status 0; raises DriftlineError if the topic cannot be read or a file not written."""
    topic = wanted.topic or settings.topics.event_names[0]
    progress.note(f"reading up to {wanted.events:,} records of {topic}, for at most {wanted.seconds:g} s ...")
    with progress.steps(topic, wanted.events, quiet=False) as done:
        read = asyncio.run(
            sample(settings.kafka, topic, wanted.events, wanted.seconds, oldest=wanted.oldest, read=done)
        )
    observed = observe_settings(settings)
    rules = observed.topics_read.get(topic)
    proposed = proposal.propose(topic, read.records, observed.message) if rules is None else None
    found = examine(topic, read, SystemClock().now_ms(), observed.message, rules or proposed)
    if proposed is not None:
        found = msgspec.structs.replace(found, proposed=proposal.entry(topic, proposed))
    if wanted.as_json:
        output.write_json(console, found)
    else:
        views.show(console, found)
    if wanted.html_file is not None:
        _write(wanted.html_file, views.page(found))
    if wanted.settings_file is not None:
        own = topic if rules is None else proposal.entry(topic, rules)
        content = survey.settings(found.proposed or own, settings.kafka.bootstrap_servers, found.models)
        _write(wanted.settings_file, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return ExitStatus.OK


def examine(topic: str, read: Sample, now_ms: int, limits: Limits, rules: TopicRules | None = None) -> TopicSurvey:
    """Decodes a sample of ``topic`` and summarises it. ``rules``: how the topic's records are read."""
    decoder = codec.Decoder({}, limits, {} if rules is None else {topic: rules})
    shapes: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    parts: list[Columns] = []
    for partition, records in read.records.items():
        shapes.update(survey.shape(record) for record in records)
        decoded = decoder.decode(partition, records)
        parts.extend(batch.columns for batch in decoded.batches)
        rejected.update(reason for _, reason in decoded.rejects)
    newest = max((record.timestamp_ms for records in read.records.values() for record in records), default=None)
    return TopicSurvey(
        topic,
        len(read.records),
        read.held,
        shapes.total(),
        read.size_bytes,
        None if newest is None else (now_ms - newest) / 1000,
        dict(shapes.most_common()),
        dict(rejected.most_common(20)),
        survey.models(parts),
    )


def _write(file: str, text: str) -> None:
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise DriftlineError(f"{file}: cannot be written: {error.strerror or error}") from None
    progress.note(f"{file} written")
