"""Time of judging a unit of 20 features, without Kafka and Faust: a profile, a row of the table and a view."""

import statistics
import time
from typing import NamedTuple

import msgspec

from benchmarks.scale import load as loads
from benchmarks.scale import memory
from benchmarks.scale.load import Load
from stream.judge import settings as judge_settings
from stream.judge.effects import Health
from stream.judge.judge import Judge
from stream.judge.shell import table
from stream.judge.shell.app import VIEWS_PER_TICK
from stream.judge.shell.desk import JudgeDesk
from stream.metrics.registry import Metrics
from stream.settings.settings import Settings

LOOKS = 5
WALL_MS = 1_763_700_000_000


class Judging(NamedTuple):
    """Processor microseconds and bytes of one of each. ``begin_micros``: making the bets, once per reference."""

    begin_micros: float
    profile_micros: float
    row_micros: float
    view_micros: float
    profile_bytes: float
    row_bytes: float
    view_bytes: float


def measure(models: int) -> Judging:
    settings, load = Settings(), Load("", models)
    judge = Judge(judge_settings.judge_settings(settings), loads.references(load))
    desk = JudgeDesk(settings, judge, Metrics(), lambda _: Health())
    spent: list[float] = []
    sizes: list[int] = []
    for profiles in memory.fold(memory.observing(load), memory.HERE, load, LOOKS * memory.LOOK_EVENTS):
        encoded = [msgspec.json.encode(profile) for profile in profiles]
        sizes += map(len, encoded)
        began = time.process_time()
        for value in encoded:
            desk.on_profile(table.decode_profile(value), WALL_MS)
        spent.append((time.process_time() - began) / len(encoded))
    units = list(desk.units)
    began = time.process_time()
    rows = [table.encode_stored(unit, 0, desk.snapshot(unit), (0, 0)) for unit in units]
    row_seconds, began = time.process_time() - began, time.process_time()
    views = desk.views_due(WALL_MS, VIEWS_PER_TICK)
    view_seconds = time.process_time() - began
    usual = statistics.median(spent[1:])
    return Judging(
        begin_micros=1e6 * (spent[0] - usual),
        profile_micros=1e6 * usual,
        row_micros=1e6 * row_seconds / len(rows),
        view_micros=1e6 * view_seconds / len(views),
        profile_bytes=sum(sizes) / len(sizes),
        row_bytes=sum(map(len, rows)) / len(rows),
        view_bytes=sum(len(view.value or b"") for view in views) / len(views),
    )
