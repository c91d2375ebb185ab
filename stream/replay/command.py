"""``driftline replay``: reads the file and the reference, runs the replay, and writes the reports."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import msgspec

from detectors import errors
from detectors.errors import DriftlineError
from detectors.reference.reference import FIRST_ROWS, Reference
from detectors.reference.seasons import DAY_MS
from stream.files import dataset
from stream.files.dataset import Dataset
from stream.files.reference_rows import Row, written_as_text
from stream.judge.settings import judge_settings
from stream.references import artefact
from stream.replay import html, report
from stream.replay.calibration_report import Calibrated
from stream.replay.clean_rows import CalibrationOptions, CleanRows
from stream.replay.options import ReplayOptions
from stream.replay.replay import LOOK_EVENTS, Replay
from stream.replay.report import Replayed
from stream.settings.settings import DetectionSettings, Settings
from stream.terminal import console, output, progress

PNG, HTML = ".png", (".html", ".htm")
Done = Callable[[int], None]


def main(
    options: ReplayOptions,
    *,
    as_json: bool,
    plot_file: str | None,
    quiet: bool,
    calibration: CalibrationOptions | None = None,
) -> int:
    """Runs the command. Exit status 0: no incident opened; 1: at least one did; 2: too little was judged."""
    if plot_file is not None and not plot_file.lower().endswith((PNG, *HTML)):
        raise DriftlineError(f"{plot_file}: the name of a plot must end in .html or .png")
    with progress.rows(options.file, quiet) as done:
        found, clean = replayed(options, done, calibration)
    if clean is not None:
        found = calibrated(found, clean, options, quiet=quiet)
    if plot_file is not None:
        _plot(found, plot_file)
    terminal = console.console(highlight=False)
    if as_json:
        output.write_json(terminal, found.as_json())
    else:
        report.show(terminal, found)
    return found.status


def run(options: ReplayOptions, done: Done = lambda rows: None) -> Replayed:
    """Runs the whole replay; ``done`` is called with the number of rows that were read. The result depends on the file
    and the options alone."""
    return replayed(options, done)[0]


def replayed(
    options: ReplayOptions, done: Done, calibration: CalibrationOptions | None = None
) -> tuple[Replayed, CleanRows | None]:
    """Runs the replay. Also returns the clean rows to calibrate on, where ``calibration`` asks for them."""
    reference = None
    if options.reference_file is not None:
        reference = artefact.read_reference(options.reference_file)
        options = _named_by(reference, options)
    settings, given = _settings(options), reference
    known = {} if reference is None else {feature.feature: feature.kind for feature in reference.features}

    def replay_rows(rows: Dataset) -> tuple[Replayed, CleanRows | None]:
        found = given
        if options.reference_rows is not None:
            found = rows.reference(options.reference_rows)
            found = msgspec.structs.replace(found, source={**found.source, "kind": FIRST_ROWS})
            done(found.rows)
        looks = _looks(rows.events())
        first = next(looks, [])
        timed = rows.has_times
        clean = None if calibration is None or found is None else CleanRows(options, calibration, found, timed)
        replay = Replay(options, settings, found, timed and _have_hours(found, first))
        for look in chain([first] if first else [], looks):
            replay.feed(look)
            replay.join_labels(rows.labels)
            if clean is not None:
                clean.gather(look)
            done(len(look))
        return _with_remarks(replay, rows, found), clean

    return dataset.in_order(options, settings.detection.late_ms, known, replay_rows)


def _have_hours(reference: Reference | None, first: Sequence[Row]) -> bool:
    """Whether the times are more than dates: a date says nothing about the time of day."""
    known = () if reference is None else (reference.first_timestamp_ms, reference.last_timestamp_ms)
    return any((moment or 0) % DAY_MS for moment in (*known, *(moment for _, moment, _ in first)))


def _with_remarks(replay: Replay, rows: Dataset, reference: Reference | None) -> Replayed:
    """The report, with what was left out. Raises FormatError where too many rows cannot be read."""
    remarks = rows.remarks
    for number, reason in replay.unreadable:
        remarks.leave_out_row(f"{rows.place(number)}: {reason}")
    remarks.refuse_invalid(replay.rows)
    found = replay.report()
    for feature in () if reference is None else reference.features:
        if example := written_as_text(feature):
            remarks.note(f"{feature.feature}: numbers written as text ({example!r}); only their presence is judged")
    state = "blind" if found.read.too_little and not found.incidents else found.state
    read = msgspec.structs.replace(found.read, not_watched=dict(remarks.not_watched), notes=remarks.lines())
    return msgspec.structs.replace(found, read=read, state=state)


def calibrated(found: Replayed, clean: CleanRows, options: ReplayOptions, *, quiet: bool) -> Replayed:
    """The replay with the calibration on its clean rows added."""
    calibrator = clean.calibrator(judge_settings(_settings(options)), LOOK_EVENTS)
    with progress.steps("calibration", calibrator.work, quiet) as done:
        figures = calibrator.run(done)
    return msgspec.structs.replace(
        found, calibration=Calibrated(figures, clean.first_event, clean.last_event, clean.seed)
    )


def _settings(options: ReplayOptions) -> Settings:
    detection = DetectionSettings(season=options.season)
    return Settings(false_alarms_per_model_per_month=options.false_alarms_per_month, detection=detection)


def _looks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while look := list(islice(rows, LOOK_EVENTS)):
        yield look


def _named_by(reference: Reference, options: ReplayOptions) -> ReplayOptions:
    """The options with the model and version of the reference, since a table names none.

    Raises ReferenceError if the options name another model or version.
    """
    named = msgspec.structs.replace(
        options, model=options.model or reference.model, version=options.version or reference.version
    )
    if (named.model, named.version) != reference.model_key:
        raise errors.ReferenceError(
            f"{options.reference_file}: is a reference of {reference.model_key}, not of {named.model}/{named.version}; "
            "leave out --model and --version, or build a reference for that model"
        )
    return named


def _plot(found: Replayed, file: str) -> None:
    if file.lower().endswith(PNG):
        from stream.replay import png

        png.write(found, file)
        return
    try:
        Path(file).write_text(html.page(found), encoding="utf-8")
    except OSError as error:
        raise DriftlineError(f"{file}: cannot be written: {error.strerror or error}") from None
