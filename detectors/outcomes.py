"""Labels against predictions: exact tallies that add up over shards in any order, and the measures computed from them.

A tally is a commutative sum of integers. Neither the order in which labels and events were read nor their distribution
over shards changes it. A label that is replaced is subtracted again exactly.
"""

import math
import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

BITS = 60
"""Errors are stored in steps of 2^-60, about 1e-18: finer than the rounding of any float above 0.01."""

LARGEST_ERROR = 1e150
"""A larger difference has no finite square, and counts as not comparable."""

LEAST_PROBABILITY = 1e-15
"""A model that was certain and wrong pays at most 34.5 nats, as in the log loss of other libraries."""

HOUR_MS = 3_600_000
HOURS_KEPT = 48
"""Hours of prediction time that a shard counts separately; about 150 bytes each in a profile."""

RECENT_HOURS = 24
"""Hours of prediction time that count as recent, as far as labels have come."""

UNIT_CELL, LAST_CELL = 82, 242
"""Errors are distinguished from 2^-41 to 2^80: at most 485 cells, some dozens of them in use."""

HALF_OCTAVE = math.sqrt(0.5)

Value = str | float
"""A prediction or label: a category's text, or a number. Truth values are ``true`` and ``false``."""


class Task(StrEnum):
    """The kind of answer that a model gives; it decides the measures."""

    CLASSIFICATION = "classification"
    PROBABILITY = "probability"  # of the label being 1
    REGRESSION = "regression"


class Tally(msgspec.Struct, frozen=True, omit_defaults=True):
    """Counts and exact sums, all of them integers. ``predicted``: events with an id, which a label can find.

    ``labelled`` = ``incomparable`` + compared. Of the compared, ``numeric`` are pairs of numbers. Of these, ``whole``
    are pairs of whole numbers and ``binary`` are a probability and 0 or 1. Sums of errors e = prediction - label are in
    steps of 2^-BITS.
    """

    events: int = 0
    errors: int = 0  # events with an error of the model
    timed: int = 0  # events with a latency
    in_time: int = 0  # events with a latency within the objective
    predicted: int = 0
    labelled: int = 0
    incomparable: int = 0
    correct: int = 0  # equal
    numeric: int = 0
    whole: int = 0
    binary: int = 0
    binary_correct: int = 0  # prediction and label on the same side of one half
    error: int = 0
    absolute_error: int = 0
    squared_error: int = 0
    log_loss: int = 0
    delay_ms: int = 0

    def plus(self, other: "Tally") -> "Tally":
        """The sum of both."""
        return Tally(*map(operator.add, msgspec.structs.astuple(self), msgspec.structs.astuple(other)))

    def minus(self, other: "Tally") -> "Tally":
        """The rest after ``other``, which is contained in it, is taken out."""
        return Tally(*map(operator.sub, msgspec.structs.astuple(self), msgspec.structs.astuple(other)))


NOTHING = Tally()


class Outcomes(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcomes of one shard, cumulative through all its epochs.

    ``hours``: tallies by hour of prediction time, the newest HOURS_KEPT. ``residuals``: how many compared numbers are
    in each ``residual_cell``, since the first event. ``labels_next``: the sum of the offsets to read next of all label
    partitions. Together with the profile's own next offset it tells which records are contained.
    """

    total: Tally = NOTHING
    hours: dict[int, Tally] = {}
    labels_next: int = 0
    residuals: dict[int, int] = {}


def compared(prediction: Value, label: Value, delay_ms: int) -> Tally:
    """The tally of one prediction and its label.

    >>> compared("spam", "spam", 10).correct, compared(0.8, 1.0, 10).binary_correct
    (1, 1)
    """
    delay_ms = max(delay_ms, 0)
    if isinstance(prediction, str):
        return Tally(labelled=1, correct=int(prediction == _as_text(label, prediction)), delay_ms=delay_ms)
    number = _as_number(label)
    if number is None or not abs(prediction - number) < LARGEST_ERROR:
        return Tally(labelled=1, incomparable=1, delay_ms=delay_ms)
    error = prediction - number
    binary = number in (0.0, 1.0) and 0.0 <= prediction <= 1.0
    return Tally(
        labelled=1,
        correct=int(error == 0.0),
        numeric=1,
        whole=int(prediction.is_integer() and number.is_integer()),
        binary=int(binary),
        binary_correct=int(binary and (prediction >= 0.5) == (number == 1.0)),
        error=_fixed(error),
        absolute_error=_fixed(abs(error)),
        squared_error=_fixed(error * error),
        log_loss=_fixed(-math.log(max(1.0 - abs(error), LEAST_PROBABILITY))) if binary else 0,
        delay_ms=delay_ms,
    )


def residual(prediction: Value, label: Value) -> float | None:
    """The error prediction - label where ``compared`` counts the pair as numeric, else None."""
    number = None if isinstance(prediction, str) else _as_number(label)
    if number is None or isinstance(prediction, str) or not abs(prediction - number) < LARGEST_ERROR:
        return None
    return prediction - number


def residual_cell(error: float) -> int:
    """The half octave in which an error lies, positive for errors above 0; exact, and the same for every unit of
    measure.

    Cell k > 0 holds 2^((k - 82) / 2) <= error < 2^((k - 81) / 2). The first cell also holds all smaller errors, the
    last one all larger errors. Cell 0 holds errors of exactly 0, and cell -k the errors of cell k with the sign
    changed.

    >>> residual_cell(1.0), residual_cell(1.4), residual_cell(1.5), residual_cell(-1.0), residual_cell(0.0)
    (82, 82, 83, -82, 0)
    """
    if error == 0.0:
        return 0
    mantissa, exponent = math.frexp(abs(error))
    cell = 2 * (exponent - 1) + (1 if mantissa >= HALF_OCTAVE else 0) + UNIT_CELL
    return int(math.copysign(min(max(cell, 1), LAST_CELL), error))


def cell_begin(cell: int) -> float:
    """The smallest size of an error in ``residual_cell`` ``cell`` > 0.

    >>> cell_begin(82), cell_begin(residual_cell(0.3)) <= 0.3 < cell_begin(residual_cell(0.3) + 1)
    (1.0, True)
    """
    octave, half = divmod(cell - UNIT_CELL, 2)
    return math.ldexp(2 * HALF_OCTAVE if half else 1.0, octave)


def task_of(tally: Tally) -> Task:
    """The task that agrees with all labels so far.

    Whole numbers only: classes. Fractions with labels of 0 and 1 only: probabilities. Anything else: a quantity.
    """
    if tally.whole == tally.numeric:
        return Task.CLASSIFICATION
    return Task.PROBABILITY if tally.binary == tally.numeric else Task.REGRESSION


def measures(tally: Tally, task: Task) -> dict[str, float]:
    """The known measures of a task by name; empty without comparable labels.

    accuracy: the share correct (of a probability: on the right side of 1/2). brier: mean e^2. log_loss: mean -ln of the
    probability given to what happened, in nats. mean_absolute_error: mean |e|. bias: mean e. root_mean_squared_error:
    sqrt(mean e^2). The last three are in the label's unit.

    >>> two = compared(3.0, 1.0, 0).plus(compared(2.5, 2.5, 0))
    >>> measures(two, Task.REGRESSION)
    {'mean_absolute_error': 1.0, 'bias': 1.0, 'root_mean_squared_error': 1.4142135623730951}
    """
    compared_rows = tally.labelled - tally.incomparable
    if task is Task.CLASSIFICATION:
        return {"accuracy": tally.correct / compared_rows} if compared_rows else {}
    if task is Task.PROBABILITY:
        if not tally.binary:
            return {}
        squares = tally.squared_error if tally.binary == tally.numeric else None
        found = {"accuracy": tally.binary_correct / tally.binary, "log_loss": _mean(tally.log_loss, tally.binary)}
        return found if squares is None else {**found, "brier": _mean(squares, tally.binary)}
    if not tally.numeric:
        return {}
    return {
        "mean_absolute_error": _mean(tally.absolute_error, tally.numeric),
        "bias": _mean(tally.error, tally.numeric),
        "root_mean_squared_error": math.sqrt(_mean(tally.squared_error, tally.numeric)),
    }


def totals(shards: Iterable[Outcomes]) -> Outcomes:
    """The outcomes of all shards of a unit added up, without hours."""
    total, residuals, labels_next = NOTHING, Counter[int](), 0
    for shard in shards:
        total = total.plus(shard.total)
        residuals.update(shard.residuals)
        labels_next += shard.labels_next
    return Outcomes(total, {}, labels_next, dict(residuals))


def merged(shards: Sequence[Outcomes]) -> Outcomes:
    """The outcomes of all shards of a unit added up."""
    hours: dict[int, Tally] = {}
    for shard in shards:
        for hour, tally in shard.hours.items():
            hours[hour] = hours.get(hour, NOTHING).plus(tally)
    return msgspec.structs.replace(totals(shards), hours=pruned(hours))


def pruned(hours: dict[int, Tally]) -> dict[int, Tally]:
    """The newest HOURS_KEPT hours, in order."""
    first = max(hours, default=0) - HOURS_KEPT
    return {hour: hours[hour] for hour in sorted(hours) if hour > first}


def recent(outcomes: Outcomes) -> Tally:
    """The tally of the last RECENT_HOURS of prediction time."""
    first = max(outcomes.hours, default=0) - RECENT_HOURS
    found = NOTHING
    for hour, tally in outcomes.hours.items():
        if hour > first:
            found = found.plus(tally)
    return found


def _as_text(label: Value, prediction: str) -> str:
    """The category that a number names: 1.0 is ``1``, or ``true`` where predictions are truth values."""
    if isinstance(label, str):
        return label
    if prediction in ("true", "false") and label in (0.0, 1.0):
        return "true" if label else "false"
    return str(int(label)) if label.is_integer() and abs(label) < 2**53 else repr(label)


def _as_number(label: Value) -> float | None:
    if not isinstance(label, str):
        return label
    if label in ("true", "false"):
        return float(label == "true")
    try:
        number = float(label)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _fixed(value: float) -> int:
    numerator, denominator = value.as_integer_ratio()
    return (numerator << BITS) // denominator


def _mean(fixed: int, count: int) -> float:
    return fixed / (count << BITS)
