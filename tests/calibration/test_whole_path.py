"""What calibration tells in one pass for all features is what a replay of the changed file tells, event for event."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectors.calibration.calibration import Calibrator
from detectors.calibration.injection import Injected, inject
from detectors.calibration.rehearsal import Course
from detectors.calibration.stretch import Column
from stream.judge.settings import judge_settings
from stream.replay import command
from stream.replay.clean_rows import CalibrationOptions, Span
from stream.replay.options import ReplayOptions
from stream.replay.replay import LOOK_EVENTS
from stream.settings.settings import Settings

REFERENCE, ROWS = 2_000, 5_000
NAMES = ("amount", "count", "colour")
COLOURS = ("red", "green", "blue")


def history(path: Path, columns: list[list[str]]) -> Path:
    lines = [",".join(NAMES), *(",".join(row) for row in zip(*columns, strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def texts(column: Column) -> list[str]:
    """As the file has them."""
    if column.feature.categories:
        words = np.array([*column.feature.categories, "(other)", "pink"])[column.values.astype(int)].tolist()
    else:
        words = [repr(value) for value in column.values.tolist()]
    return [word if present else "" for word, present in zip(words, column.present, strict=True)]


@pytest.fixture(scope="module")
def raw() -> list[list[str]]:
    rng = np.random.default_rng(12)
    amounts = rng.gamma(2.0, 10.0, REFERENCE + ROWS)
    counts = rng.poisson(8.0, REFERENCE + ROWS).astype(float)
    gaps = rng.random(REFERENCE + ROWS) < 0.002
    return [
        ["" if gap else repr(a) for a, gap in zip(amounts.tolist(), gaps, strict=True)],
        [repr(c) for c in counts.tolist()],
        rng.choice(COLOURS, REFERENCE + ROWS, p=[0.85, 0.1, 0.05]).tolist(),
    ]


def parts(path: Path, **options: Any) -> tuple[ReplayOptions, Calibrator]:
    given = ReplayOptions(file=str(path), reference_rows=REFERENCE, **options)
    wish = CalibrationOptions(Span(0, None, False), copies=1)
    clean = command.replayed(given, lambda rows: None, wish)[1]
    assert clean is not None
    return given, clean.calibrator(judge_settings(Settings()), LOOK_EVENTS)


@pytest.mark.parametrize(
    ("feature", "change", "start"),
    [
        ("amount", Injected.SIGMA, 1_000),
        ("amount", Injected.HALF_SIGMA, 2_345),
        ("amount", Injected.VARIANCE, 31),
        ("amount", Injected.MISSING, 1_717),
        ("count", Injected.HALF_SIGMA, 900),
        ("colour", Injected.MIX, 2_222),
        ("colour", Injected.MISSING, 64),
    ],
)
def test_a_delay_is_that_of_a_replay_of_the_changed_file(
    tmp_path: Path, raw: list[list[str]], feature: str, change: Injected, start: int
) -> None:
    _, calibrator = parts(history(tmp_path / "clean.csv", raw))
    place = NAMES.index(feature)
    columns = list(calibrator.area.columns)
    new = [inject(column, change, np.random.default_rng(5)) for column in columns]
    able = np.array([column is not None for column in new])
    codes = calibrator.monitor.codes([n or c for n, c in zip(new, columns, strict=True)])
    course = Course(calibrator.monitor, calibrator.codes, calibrator.clock_ms, np.array([start]))
    told = course.delays(codes, able, start, ROWS).delays[place]

    mended = [list(column) for column in raw]
    moved = new[place]
    assert moved is not None
    mended[place][REFERENCE + start :] = texts(moved)[start:]
    options = ReplayOptions(file=str(history(tmp_path / "changed.csv", mended)), reference_rows=REFERENCE)
    found = command.run(options).incidents
    assert found, f"nothing found, told {told}"
    assert [f["feature"] for f in found[0]["features"]] == [feature]
    assert told == found[0]["opened_at_event"] - start


def test_the_incidents_of_a_stretch_are_those_of_the_replay(tmp_path: Path, raw: list[list[str]]) -> None:
    mended = [list(column) for column in raw]
    for row in range(REFERENCE + 1_000, REFERENCE + 2_000):  # a change that ends, and after it another one
        mended[0][row] = repr(5.0)
    for row in range(REFERENCE + 4_000, REFERENCE + ROWS):
        mended[2][row] = "blue"
    path = history(tmp_path / "twice.csv", mended)
    options, calibrator = parts(path)
    incidents = command.run(options).incidents
    assert len(incidents) >= 2
    assert calibrator.run().as_it_was.alarms == len(incidents)
