"""``driftline survey``: puts reader, decoder and views together."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import yaml
from rich.console import Console

from detectors.columns import Columns
from detectors.errors import DriftlineError
from stream.backends.clock import SystemClock
from stream.backends.kafka.sample import Sample, sample
from stream.formats import decoder as codec
from stream.formats.row import Limits
from stream.settings.settings import Settings
from stream.survey import survey, views
from stream.survey.survey import TopicSurvey
from stream.terminal import incidents, progress
from stream.terminal.exit_status import ExitStatus


class Wish(NamedTuple):
    """The options of the command."""

    topic: str | None
    events: int
    seconds: float
    oldest: bool
    html_file: str | None
    settings_file: str | None
    as_json: bool


def main(console: Console, settings: Settings, wish: Wish) -> int:
    """Exit status 0 unless nothing can be read."""
    topic = wish.topic or settings.topics.events[0]
    progress.say(f"reading up to {wish.events:,} records of {topic}, at most {wish.seconds:g} s ...")
    with progress.steps(topic, wish.events, quiet=False) as done:
        read = asyncio.run(sample(settings.kafka, topic, wish.events, wish.seconds, oldest=wish.oldest, read=done))
    limits = Limits(settings.limits.event_bytes, settings.limits.rows_per_message)
    found = examine(topic, read, SystemClock().now_ms(), limits)
    if wish.as_json:
        incidents.write_json(console, found)
    else:
        views.show(console, found)
    if wish.html_file is not None:
        _write(wish.html_file, views.page(found))
    if wish.settings_file is not None:
        content = survey.settings(topic, settings.kafka.bootstrap_servers, found.models)
        _write(wish.settings_file, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return ExitStatus.OK


def examine(topic: str, read: Sample, now_ms: int, limits: Limits) -> TopicSurvey:
    """Decodes a sample and surveys it."""
    decoder = codec.Decoder({}, limits)
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
    progress.say(f"{file} written")
