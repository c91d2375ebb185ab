"""``driftline reference``: puts files, topics and pictures of references together."""

import asyncio
from pathlib import Path

from rich.console import Console

from detectors import errors
from detectors.errors import DriftlineError
from detectors.reference import reference as references
from detectors.reference.reference import Reference
from stream.backends.kafka.cluster import KafkaCluster
from stream.backends.kafka.sink import KafkaSink
from stream.files import dataset
from stream.files.layout import ReplayOptions
from stream.references import views
from stream.settings.settings import Settings
from stream.terminal import incidents, progress
from stream.terminal.exit_status import ExitStatus
from stream.topics import keys, rules
from stream.topics.record import OutRecord

NAMES_SAID = 20


def read(file: str) -> Reference:
    """The artefact in ``file``; raises ReferenceError naming it."""
    try:
        return references.decode(Path(file).read_bytes(), file)
    except OSError as error:
        raise errors.ReferenceError(f"{file}: cannot be read: {error.strerror or error}") from None


def build(options: ReplayOptions, output_file: str, quiet: bool) -> int:
    """Writes the artefact and says what it holds."""
    with progress.rows(options.file, quiet) as done:
        reference = dataset.open_dataset(options).reference(options.reference_rows)
        done(reference.rows)
    try:
        Path(output_file).write_bytes(references.encode(reference))
    except OSError as error:
        raise DriftlineError(f"{output_file}: cannot be written: {error.strerror or error}") from None
    names = [feature.feature for feature in reference.features]
    ids = [feature.feature for feature in reference.features if feature.identifier]
    progress.say(f"{output_file}: {reference.model_key}, {reference.rows:,} rows, {reference.digest}")
    more = f" and {len(names) - NAMES_SAID} more" if len(names) > NAMES_SAID else ""
    progress.say(f"{len(names)} features, to come with every event: {', '.join(names[:NAMES_SAID])}{more}")
    if ids:
        progress.say(f"{', '.join(ids)}: ids or counters, whose new values say nothing; only their presence is judged")
    return ExitStatus.OK


def publish(settings: Settings, file: str) -> int:
    """Sends the artefact to the references topic, which is made where it is missing."""
    reference = read(file)
    asyncio.run(_send(settings, reference))
    progress.say(f"{reference.model_key} published to {settings.topics.references}, {reference.digest}")
    return ExitStatus.OK


async def _send(settings: Settings, reference: Reference) -> None:
    rules.refuse(await rules.ensure_topic(settings, KafkaCluster(settings.kafka), settings.topics.references))
    sink = KafkaSink(settings.kafka)
    await sink.start()
    try:
        record = OutRecord(
            settings.topics.references, keys.reference_key(reference.model_key), references.encode(reference)
        )
        await sink.send([record])
    finally:
        await sink.stop()


def show(console: Console, file: str, as_json: bool) -> int:
    """The artefact as a table, or as it is."""
    reference = read(file)
    if as_json:
        incidents.write_json(console, reference)
    else:
        views.show(console, reference)
    return ExitStatus.OK


def diff(console: Console, left: str, right: str, as_json: bool) -> int:
    """Exit status 1 where a feature differs notably."""
    differences = views.compare(read(left), read(right))
    if as_json:
        incidents.write_json(console, {"features": differences})
    else:
        views.show_differences(console, differences)
    return ExitStatus.DRIFT if any(difference.notable for difference in differences) else ExitStatus.OK
