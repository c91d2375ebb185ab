"""``driftline reference``: builds, publishes, shows and compares references."""

import asyncio

from rich.console import Console

from detectors.reference import reference as references
from detectors.reference.reference import Reference
from stream.backends.kafka.cluster import KafkaCluster
from stream.backends.kafka.sink import KafkaSink
from stream.files import dataset
from stream.files.layout import FileLayout
from stream.files.reference_rows import written_as_text
from stream.references import artefact, views
from stream.settings.settings import DetectionSettings, Settings
from stream.terminal import output, progress
from stream.terminal.exit_status import ExitStatus
from stream.topics import keys, rules
from stream.topics.record import OutRecord

NAMES_SHOWN = 20


def build(layout: FileLayout, rows: int | None, output_file: str, quiet: bool) -> int:
    """Builds a reference from the first ``rows`` rows (None: all), writes it, and prints what it contains."""
    with progress.rows(layout.file, quiet) as done:
        reference, remarks = dataset.in_order(
            layout, DetectionSettings().late_ms, {}, lambda found: (found.reference(rows), found.remarks)
        )
        done(reference.rows)
    artefact.write(reference, output_file)
    names = [feature.feature for feature in reference.features]
    ids = [feature.feature for feature in reference.features if feature.identifier]
    progress.note(f"{output_file}: {reference.model_key}, {reference.rows:,} rows, {reference.digest}")
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    progress.note(f"{len(names)} features, expected in every event: {', '.join(names[:NAMES_SHOWN])}{more}")
    for column, reason in remarks.not_watched.items():
        progress.note(f"not watched: {column}: {reason}")
    for note in remarks.lines():
        progress.note(note)
    for feature in reference.features:
        if example := written_as_text(feature):
            progress.note(f"{feature.feature}: numbers written as text ({example!r}); only their presence is judged")
    if ids:
        progress.note(f"ids or counters, only checked for missing values: {', '.join(ids)}")
    return ExitStatus.OK


def publish(settings: Settings, file: str) -> int:
    """Sends the reference to the references topic, which is created where it is missing."""
    reference = artefact.read_reference(file)
    asyncio.run(_send(settings, reference))
    progress.note(f"{reference.model_key} published to {settings.topics.references}, {reference.digest}")
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
    """Prints the reference as a table, or as JSON."""
    reference = artefact.read_reference(file)
    if as_json:
        output.write_json(console, reference)
    else:
        views.show(console, reference)
    return ExitStatus.OK


def diff(console: Console, left: str, right: str, as_json: bool) -> int:
    """Compares two references. Exit status 1 where a feature differs by more than ``views.NOTABLE_PSI``."""
    differences = views.compare(artefact.read_reference(left), artefact.read_reference(right))
    if as_json:
        output.write_json(console, {"features": differences})
    else:
        views.show_differences(console, differences)
    return ExitStatus.DRIFT if any(difference.notable for difference in differences) else ExitStatus.OK
