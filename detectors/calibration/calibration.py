"""The performance of a monitor on a model's own data: how often it alarms for nothing, and how soon it finds a change.

Numbers come in and results go out. Whose rows they are and how results are shown is decided elsewhere.
"""

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from detectors.calibration import bootstrap, evaluation, stretch
from detectors.calibration.bootstrap import BlockLength
from detectors.calibration.evaluation import MedianDelay
from detectors.calibration.injection import Injected, inject
from detectors.calibration.rehearsal import Course, Monitor, Rehearsal
from detectors.calibration.stretch import Stretch
from detectors.columns import Integers
from detectors.evidence.sheets import MONTH_SECONDS

STARTS = 20
"""Places in the stretch where each change is made. The interval of the median is then between the 6th and the 15th."""

HORIZON = 10_000
"""Events within which a change is found or counts as missed; at most half the stretch."""

USUAL_COPIES, LEAST_COPIES = 20, 4

LOOK_FEATURES, LOOK_ITSELF = 8_000_000, 12
"""By default resampling stops after this many judged features, a look itself counting as 12: about 40 seconds."""

MONTH_MS = MONTH_SECONDS * 1000
Done = Callable[[int], None]


class AlarmRate(msgspec.Struct, frozen=True):
    """Incidents in ``months`` of the events' own clock; rates per model and month, ``low`` to ``high`` at 95 %.

    ``months_between_at_least``: the mean time between false alarms, with 95 % confidence (one-sided). ``open_share``:
    the part of the time in which an incident was open. An alarm that never ends is one alarm, but no sign of a clean
    stretch.
    """

    alarms: int
    months: float
    per_month: float
    low: float
    high: float
    months_between_at_least: float
    open_share: float


class FeatureDelay(msgspec.Struct, frozen=True):
    """The delay of one change in one feature. ``delay`` None: the feature cannot change in this way."""

    feature: str
    change: Injected
    delay: MedianDelay | None


class Calibration(msgspec.Struct, frozen=True):
    """The result. ``block``: rows of a block; ``starts``: rows of the stretch where changes began."""

    rows: int
    budget: float
    as_it_was: AlarmRate
    resampled: AlarmRate
    copies: int
    copies_wanted: int  # copies that would support the budget if none had an alarm
    block: BlockLength
    at_their_time: bool
    starts: list[int]
    horizon: int
    delays: list[FeatureDelay]


class Calibrator:
    """Judges ``area``, a stretch that its owner calls clean: as it was, resampled ``copies`` times, and with changes.

    The resampled rows are one long stream under one watch: alarms open, last and end as in service. Without ``copies``:
    as many as zero alarms would need to support the budget (three times its mean time between alarms), at least
    ``USUAL_COPIES``, within ``LOOK_FEATURES``. The same ``seed`` gives the same results.

    Cost: rows / look_events * (copies + 2) looks of about 120 us for 20 features, and as many as
    ``6 * STARTS * horizon / look_events`` of 90 us. Memory: 24 bytes a row and feature.
    """

    def __init__(self, monitor: Monitor, area: Stretch, *, copies: int | None, seed: int) -> None:
        self.monitor, self.area, self._seed = monitor, area, seed
        self.clock_ms = np.maximum.accumulate(area.moments_ms)
        self.codes = monitor.codes(list(area.columns))
        span_ms = int(self.clock_ms[-1]) - int(self.clock_ms[0])
        self._step_ms = max(span_ms / max(len(area) - 1, 1), 1e-3)
        self._months = self._step_ms * len(area) / MONTH_MS
        self._looks = -(-len(area) // monitor.look_events)
        self.copies_wanted = math.ceil(3 / (monitor.sheets.settings.false_alarms_per_month * self._months))
        self.copies = copies or self._affordable_copies()
        self.horizon = min(HORIZON, len(area) // 2)
        rng = np.random.default_rng([seed, 0])
        self.starts: Integers = np.sort(rng.integers(0, len(area) - self.horizon + 1, STARTS))

    def _affordable_copies(self) -> int:
        affordable = LOOK_FEATURES // (self._looks * (self.monitor.features + LOOK_ITSELF))
        return max(min(max(self.copies_wanted, USUAL_COPIES), affordable), LEAST_COPIES)

    @property
    def work(self) -> int:
        """The number of looks in ``run``, for a progress bar."""
        return self._looks * (self.copies + 1) + len(Injected) * STARTS * self._horizon_looks

    @property
    def _horizon_looks(self) -> int:
        return -(-self.horizon // self.monitor.look_events)

    def run(self, done: Done = lambda looks: None) -> Calibration:
        """Runs everything. ``done`` is called with the number of looks finished since its last call."""
        course = Course(self.monitor, self.codes, self.clock_ms, self.starts)
        done(self._looks)
        delays = self._delays(course, done)
        block = stretch.longest_block(self.area.columns)
        block = block._replace(rows=max(block.rows, self.monitor.look_events))
        weekly = any(s.weekdays for f in self.monitor.sheets.layout.features for s in f.strata)
        period_ms = bootstrap.period_ms(self.clock_ms, weekly) if self.area.timed else None
        return Calibration(
            rows=len(self.area),
            budget=self.monitor.sheets.settings.false_alarms_per_month,
            as_it_was=alarm_rate(course.incidents, self._months, open_share=course.open_share),
            resampled=self._resampled(block.rows, period_ms, done),
            copies=self.copies,
            copies_wanted=self.copies_wanted,
            block=block,
            at_their_time=period_ms is not None,
            starts=self.starts.tolist(),
            horizon=self.horizon,
            delays=delays,
        )

    def _resampled(self, block: int, period_ms: int | None, done: Done) -> AlarmRate:
        rng = np.random.default_rng([self._seed, 1])
        run = Rehearsal(self.monitor)
        begin_ms = now_ms = int(self.clock_ms[0])
        counts = []
        for _ in range(self.copies):
            before = run.incidents
            if period_ms is None:
                rows = bootstrap.circular_rows(rng, len(self.area), block)
                clock_ms = self.clock_ms + (now_ms - int(self.clock_ms[0]))
                now_ms += max(round(self._step_ms * len(self.area)), 1)
            else:
                rows, clock_ms, now_ms = bootstrap.rows_at_their_time(rng, self.clock_ms, block, period_ms, now_ms)
            for look in self.monitor.looks(self.codes[rows], clock_ms):
                run.judge_look(look)
            counts.append(run.incidents - before)
            done(self._looks)
        return alarm_rate(run.incidents, (now_ms - begin_ms) / MONTH_MS, counts, run.open_share)

    def _delays(self, course: Course, done: Done) -> list[FeatureDelay]:
        found = []
        for number, change in enumerate(Injected):
            rng = np.random.default_rng([self._seed, 2, number])
            changed = [inject(column, change, rng) for column in self.area.columns]
            able = np.array([column is not None for column in changed])
            columns = [new or old for new, old in zip(changed, self.area.columns, strict=True)]
            codes = self.monitor.codes(columns) if able.any() else self.codes
            runs: list[list[int | None]] = [[] for _ in columns]
            for start in self.starts.tolist():
                answer = course.delays(codes, able, start, self.horizon)
                for f in np.flatnonzero(answer.quiet).tolist():
                    runs[f].append(answer.delays[f])
                done(self._horizon_looks)
            found += [
                FeatureDelay(name, change, evaluation.median_delay(runs[f]) if able[f] else None)
                for f, name in enumerate(self.monitor.sheets.layout.names)
            ]
        return found


def alarm_rate(alarms: int, months: float, counts: Sequence[int] = (), open_share: float = 0.0) -> AlarmRate:
    """The rate of ``alarms`` in ``months`` with exact Poisson limits.

    The limits are at least as wide as the scatter of ``counts``, alarms in equal parts of the time: alarms that come in
    bunches are no Poisson process. No alarm in T supports only T / 3.

    >>> nothing = alarm_rate(0, 30.0)
    >>> nothing.low, round(nothing.high, 3), round(nothing.months_between_at_least, 1)
    (0.0, 0.123, 10.0)
    """
    low, high = evaluation.poisson_interval(alarms)
    bound = months / evaluation.false_alarms(alarms, months).mean_time_at_least
    if len(counts) > 1:
        error = math.sqrt(len(counts) * float(np.var(counts, ddof=1)))
        low, high = max(min(low, alarms - 1.96 * error), 0.0), max(high, alarms + 1.96 * error)
        bound = max(bound, alarms + 1.645 * error)
    return AlarmRate(alarms, months, alarms / months, low / months, high / months, months / bound, open_share)
