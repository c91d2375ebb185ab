"""``driftline checkpoints``: reads the checkpoints topic, and lists, verifies or deletes what it holds."""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from detectors.errors import BrokerError, CheckpointError, SettingsError
from stream.backends.kafka.sink import KafkaSink
from stream.backends.kafka.tables import KafkaTableReader
from stream.settings.settings import Settings
from stream.terminal import output
from stream.terminal.console import escape
from stream.terminal.exit_status import ExitStatus
from stream.topics import checkpoints
from stream.topics.checkpoints import Description
from stream.topics.record import OutRecord, Partition, Record

Saved = dict[bytes, Record]


class Selection(NamedTuple):
    """Which units to delete: all of a partition, or those of one model, or of one version."""

    topic: str | None
    partition: int
    model: str | None
    version: str | None

    def __str__(self) -> str:
        units = "all units" if self.model is None else f"{self.model}/{self.version or 'every version'}"
        return f"{units} of partition {self.partition}"


def show_list(console: Console, settings: Settings, as_json: bool) -> int:
    """Prints every unit with its stamp and size. Exit status 2 if one is broken."""
    found, broken = _described(asyncio.run(_read(settings)))
    if as_json:
        output.write_json(console, {"units": found, "broken": broken})
        return ExitStatus.ERROR if broken else ExitStatus.OK
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("partition", "unit"):
        table.add_column(name, overflow="fold")
    for name in ("stamp", "bytes"):
        table.add_column(name, justify="right")
    for one in found:
        unit = "(manifest)" if one.unit is None else escape(str(one.unit))
        table.add_row(escape(str(one.partition)), unit, f"{one.stamp:,}", f"{one.size_bytes:,}")
    console.print(table if found else "no checkpoints")
    return _report_broken(console, broken)


def verify(console: Console, settings: Settings, as_json: bool) -> int:
    """Reads every unit and compares it with its manifest. Exit status 2 if one is broken."""
    saved = asyncio.run(_read(settings))
    found, broken = _described(saved)
    broken += _against_manifests(saved, found)
    if as_json:
        output.write_json(console, {"units": len(found), "broken": broken})
        return ExitStatus.ERROR if broken else ExitStatus.OK
    if not broken:
        console.print(f"{len(found):,} records are correct")
    return _report_broken(console, broken)


def drop(console: Console, settings: Settings, selection: Selection) -> int:
    """Writes a tombstone for every selected unit, and a manifest without them.

    Raises SettingsError for a selection that is not clear, BrokerError if it matches nothing.
    """
    if selection.topic is None and len(settings.topics.event_names) > 1:
        raise SettingsError("the settings name several events topics: choose one with --topic")
    place = Partition(selection.topic or settings.topics.event_names[0], selection.partition)
    if selection.version is not None and selection.model is None:
        raise SettingsError("--version needs --model")
    count = asyncio.run(_drop(settings, place, selection))
    console.print(f"{count:,} records of {place} deleted")
    return ExitStatus.OK


async def _read(settings: Settings) -> Saved:
    reader = KafkaTableReader(settings.kafka)
    try:
        return await reader.read_to_end(settings.topics.checkpoints)
    finally:
        await reader.stop()


def _described(saved: Saved) -> tuple[list[Description], list[str]]:
    found: list[Description] = []
    broken: list[str] = []
    for key, record in saved.items():
        try:
            found.append(checkpoints.describe(key, record.value or b""))
        except CheckpointError as error:
            broken.append(str(error))
    return sorted(found, key=lambda one: (one.partition, str(one.unit or ""))), sorted(broken)


def _against_manifests(saved: Saved, found: Iterable[Description]) -> list[str]:
    """Units that a manifest names but that have no record. A record that no manifest names is not an error."""
    units = {(one.partition, checkpoints.quoted(one.unit)) for one in found if one.unit is not None}
    wrong: list[str] = []
    for key, record in saved.items():
        try:
            place, unit = checkpoints.parse_key(key)
            if unit is None:
                manifest = checkpoints.decode_manifest(record.value or b"", str(place))
                missing = [name for name in manifest.stamps if (place, name) not in units]
                wrong.extend(f"{place}: the manifest names {name}, which has no record" for name in missing)
        except CheckpointError:
            continue  # already among the broken
    return sorted(wrong)


async def _drop(settings: Settings, place: Partition, selection: Selection) -> int:
    saved = await _read(settings)
    gone: list[OutRecord] = []
    dropped: set[str] = set()
    manifest: tuple[bytes, Record] | None = None
    for key, record in saved.items():
        try:
            found, unit = checkpoints.parse_key(key)
        except CheckpointError:
            continue
        if found != place:
            continue
        if unit is None:
            manifest = (key, record)
        elif selection.model in (None, unit.model) and selection.version in (None, unit.version):
            gone.append(OutRecord(settings.topics.checkpoints, key, None, partition=place.partition))
            dropped.add(checkpoints.quoted(unit))
    if manifest is not None:
        gone.append(_manifest(settings, place, selection, manifest[0], manifest[1], dropped))
    if not gone:
        raise BrokerError(f"{settings.topics.checkpoints}: holds nothing for {selection}")
    sink = KafkaSink(settings.kafka)
    await sink.start()
    try:
        await sink.send(gone)
    finally:
        await sink.stop()
    return len(dropped)


def _manifest(
    settings: Settings, place: Partition, selection: Selection, key: bytes, record: Record, dropped: set[str]
) -> OutRecord:
    """The manifest without ``dropped``; a tombstone where the whole partition is selected."""
    value = None
    if selection.model is not None:
        manifest = checkpoints.decode_manifest(record.value or b"", str(place))
        kept = {checkpoints.unquoted(name): stamp for name, stamp in manifest.stamps.items() if name not in dropped}
        value = checkpoints.encode_manifest(manifest.next, kept, manifest.labels)
    return OutRecord(settings.topics.checkpoints, key, value, partition=place.partition)


def _report_broken(console: Console, broken: list[str]) -> int:
    for line in broken:
        console.print(f"[red]broken[/]  {escape(line)}", soft_wrap=True)
    if broken:
        console.print(
            "delete broken checkpoints with: driftline checkpoints drop --partition N (their counts start at zero)"
        )
    return ExitStatus.ERROR if broken else ExitStatus.OK
