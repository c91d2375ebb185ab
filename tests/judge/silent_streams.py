"""Streams of a model's events over weeks, and when it is quiet or blind. Times are seconds from a Monday."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from detectors.columns import Floats
from detectors.incidents.activity import LOOKED_AT_MS, Activity, Silence
from tests.settings.defaults import judge_settings

HOUR = 3_600
DAY = 24 * HOUR
MONDAY_MS = 1_763_337_600_000
SLOT = 16
"""Seconds of event time after which events are judged."""

TICK = 30
"""Seconds between two checks of a silence."""

Stream = Callable[[np.random.Generator, int], Floats]


def poisson(rng: np.random.Generator, begin: float, end: float, rate: float) -> Floats:
    """Events at a constant rate a second."""
    return begin + (end - begin) * np.sort(rng.random(rng.poisson(rate * (end - begin))))


def uniform(rate: float) -> Stream:
    """Events at any time of the day."""
    return lambda rng, days: poisson(rng, 10 * HOUR, days * DAY, rate)


def office(rate: float, weekends: bool, fades: bool, jitter: float) -> Stream:
    """Nine to six. ``fades``: the rate falls from six on, by half in ten minutes. ``jitter``: a day may begin and end
    earlier or later, in seconds."""

    def events(rng: np.random.Generator, days: int) -> Floats:
        found = []
        for day in range(days):
            if not weekends and day % 7 >= 5:
                continue
            begin, end = day * DAY + np.array([9, 18]) * HOUR + rng.uniform(-jitter, jitter, 2)
            found.append(poisson(rng, begin, end, rate))
            if fades:
                tail = poisson(rng, end, end + 4 * HOUR, rate)
                found.append(tail[rng.random(len(tail)) < 0.5 ** ((tail - end) / 600)])
        return np.concatenate(found)

    return events


def busy_days(day_rate: float, night_rate: float) -> Stream:
    """Another rate from eight to eight."""

    def events(rng: np.random.Generator, days: int) -> Floats:
        parts = [
            (hours * HOUR + day * DAY, until * HOUR + day * DAY, rate)
            for day in range(days)
            for hours, until, rate in ((0, 8, night_rate), (8, 20, day_rate), (20, 24, night_rate))
        ]
        return np.concatenate([poisson(rng, *part) for part in parts][1:])

    return events


def batch(every: float, lasts: float, jitter: float) -> Stream:
    """A thousand events at two o'clock, or as often as ``every`` says. They begin up to ``jitter`` seconds later."""

    def events(rng: np.random.Generator, days: int) -> Floats:
        begins = np.arange(2 * HOUR, days * DAY, every)
        begins = begins + rng.uniform(0, jitter, len(begins))
        return np.concatenate([begin + np.sort(rng.random(1_000)) * lasts for begin in begins])

    return events


class Stretch(NamedTuple):
    """A time in one state: quiet, or blind (``silent`` or ``late``). In seconds."""

    state: str
    begin: float
    end: float


BLIND = ("silent", "late")

STATES = {
    Silence.NONE: "seen", Silence.USUAL: "quiet", Silence.PAUSE: "quiet", Silence.FADED: "quiet",
    Silence.UNUSUAL: "silent", Silence.LATE: "late",
}  # fmt: skip


class Watched(NamedTuple):
    """What was found over all days. ``stops``: for each time at which the stream was stopped, the minutes from there to
    ``blind``, and which reason that had."""

    found: list[Stretch]
    stops: dict[float, tuple[float, str]]


def watch(events: Floats, until: float, stops: Sequence[float] = ()) -> Watched:
    """The times until then at which a model that sends ``events`` is quiet or blind. A copy of it is stopped at each
    of ``stops``."""
    activity, rules, found = Activity(), judge_settings().blind, list[Stretch]()
    slots = np.unique(np.ceil(events / SLOT).astype(np.int64)) * SLOT
    patience_ms, stopped = float(rules.max_silent_ms), dict[float, tuple[float, str]]()
    for slot, after in zip(slots.tolist(), [*slots.tolist()[1:], until], strict=True):
        activity.record(MONDAY_MS + 1_000 * slot - 1, patience_ms)
        patience_ms = activity.rhythm.patience_ms(rules.silent_factor, rules.min_silent_ms, rules.max_silent_ms)
        for stop in stops:
            if slot <= stop < after:
                blind = next(
                    one for one in _silence(activity, patience_ms, slot, stop + 60 * DAY) if one.state in BLIND
                )
                stopped[stop] = (blind.begin - stop) / 60, blind.state
        if after - slot > min(patience_ms, LOOKED_AT_MS) / 1_000:
            found += _silence(activity, patience_ms, slot, after)
    return Watched(found, stopped)


def _silence(activity: Activity, patience_ms: float, slot: int, after: float) -> Iterator[Stretch]:
    """The states of a silence, in order. The last one of a silence that ends is cut off there."""
    first = min(patience_ms, LOOKED_AT_MS) // (1_000 * TICK) * TICK
    state, since = "seen", float(slot)
    for now in np.arange(slot + first, after, TICK).tolist():
        new = STATES[activity.judge(round(1_000 * (now - slot)), patience_ms).silence]
        if new != state:
            if state != "seen":
                yield Stretch(state, since, now)
            if new in BLIND and after - slot > 30 * DAY:  # of a stream that was stopped
                yield Stretch(new, now, after)
                return
            state, since = new, now
    if state != "seen":
        yield Stretch(state, since, after)


def minutes(found: list[Stretch], begin: float, end: float, states: Sequence[str] = BLIND) -> float:
    """Minutes of that time in one of these states; blind by default."""
    return sum(max(min(one.end, end) - max(one.begin, begin), 0) for one in found if one.state in states) / 60


PARTS = ((0, 2), (2, 7), (7, 14), (14, 28))
"""The days of which blind minutes are shown."""

STOPS = tuple(16 * DAY + hour * HOUR for hour in (3, 12, 18))
"""A Wednesday at three o'clock, at noon, and at six exactly."""


STREAMS: dict[str, Stream] = {
    "office hours, 1/s, stops at six": office(1.0, weekends=False, fades=False, jitter=0),
    "office hours, 1/s, fades, 10 min of jitter": office(1.0, weekends=False, fades=True, jitter=600),
    "office hours, .01/s, 10 min of jitter": office(0.01, weekends=False, fades=False, jitter=600),
    "office hours on all days, .1/s, 20 min of jitter": office(0.1, weekends=True, fades=False, jitter=1_200),
    "busy days at 1/s, nights at .01/s": busy_days(1.0, 0.01),
    "a batch of 5 minutes every night, 30 min of jitter": batch(DAY, 300, 1_800),
    "a batch in one slot every night": batch(DAY, 1, 60),
    "a batch of an hour every week, 30 min of jitter": batch(7 * DAY, HOUR, 1_800),
    "a batch in one slot every week": batch(7 * DAY, 1, 60),
    "a batch of a minute every hour": batch(HOUR, 60, 60),
    "uniform, 1/s": uniform(1.0),
    "uniform, .1/s": uniform(0.1),
    "uniform, .01/s": uniform(0.01),
    "uniform, one an hour": uniform(1 / HOUR),
    "uniform, four a day": uniform(4 / DAY),
}


def main() -> None:
    """Prints the table of the documentation: means of three seeds."""
    for name, stream in STREAMS.items():
        seeds = [watch(stream(np.random.default_rng(seed), 28), 28 * DAY, STOPS) for seed in range(3)]
        blind = [np.mean([minutes(one.found, begin * DAY, end * DAY) for one in seeds]) for begin, end in PARTS]
        stops = [(np.mean([one.stops[at][0] for one in seeds]), {one.stops[at][1] for one in seeds}) for at in STOPS]
        delays = [f"{delay:,.0f} {'/'.join(sorted(reasons))}" for delay, reasons in stops]
        sys.stdout.write(f"| {name} | {' | '.join([*(f'{value:,.0f}' for value in blind), *delays])} |\n")


if __name__ == "__main__":
    main()
