"""Exact, mergeable first and second moments in fixed point.

Floating-point sums depend on their order, and so on how events were distributed over partitions. Under a reference with
centre c and scale s (a power of two) the sums are integers instead:

    q = rint((x - c) / s * 2^28)        sum1 = sum q        sum2 = sum q^2

A term with |x - c| <= 256 s has at most 36 bits. Its square is summed in two halves of 14 and 22 bits, so that the sums
of a block fit into 64 bits; the running sums are two words of 56 bits. Larger values are rare and are added as Python
integers. The mean is exact to 2^-29 s. The standard deviation is that of the rounded values: that of a constant is 0,
wherever it lies.
"""

import math
from collections.abc import Sequence

import numpy as np

from detectors.columns import Bools, Floats, Integers
from detectors.compiled import EVERYTHING, compiled

BLOCK = 4096
"""Most rows at once: 4096 * (256 * 2^14)^2 = 2^56."""

REACH = 256.0
BITS = 28
_ONE = 2.0**BITS
_HALF_BITS, _WORD_BITS = 14, 56


class Moments:
    """Running ``sum1`` and ``sum2`` of F features. Cost: about 3 ns a value.

    :param centre: c, shape (F,).
    :param scale: s, shape (F,).

    >>> m = Moments(np.zeros(1), np.ones(1))
    >>> m.update(np.array([[1.0], [2.0]]))
    >>> m.sums()
    ([805306368], [360287970189639680])
    """

    __slots__ = ("_centre", "_far", "_scale", "_words")

    def __init__(self, centre: Floats, scale: Floats) -> None:
        self._centre, self._scale = centre, scale
        self._words = np.zeros((len(centre), 4), np.int64)  # upper and lower word of sum1, and of sum2
        self._far: dict[int, tuple[int, int]] = {}  # by column: sums of values beyond REACH

    def update(self, numbers: Floats, present: Bools | None = None) -> None:
        """Adds every column of ``numbers``, shape (n <= BLOCK, F), where it is ``present``."""
        assert len(numbers) <= BLOCK
        mask = EVERYTHING if present is None else present
        if _add_terms(numbers, mask, self._centre, self._scale, self._words):
            self._add_far(numbers, present)

    def _add_far(self, numbers: Floats, present: Bools | None) -> None:
        with np.errstate(over="ignore"):
            far = ~(np.abs((numbers - self._centre) / self._scale) <= REACH)
        if present is not None:
            far &= present
        for row, column in zip(*(axis.tolist() for axis in np.nonzero(far)), strict=True):
            first, second = _exact_terms(
                float(numbers[row, column]), float(self._centre[column]), float(self._scale[column])
            )
            before = self._far.get(column, (0, 0))
            self._far[column] = before[0] + first, before[1] + second

    def sums(self) -> tuple[list[int], list[int]]:
        """``sum1`` and ``sum2`` of every feature."""
        words = self._words.tolist()
        sum1 = [(upper << _WORD_BITS) + lower for upper, lower, _, _ in words]
        sum2 = [(upper << _WORD_BITS) + lower for _, _, upper, lower in words]
        for column, (first, second) in self._far.items():
            sum1[column] += first
            sum2[column] += second
        return sum1, sum2

    def restore(self, sum1: Sequence[int], sum2: Sequence[int]) -> None:
        """Restores what ``sums`` returned."""
        self._words = np.zeros((len(sum1), 4), np.int64)
        self._far = dict(enumerate(zip(sum1, sum2, strict=True)))


@compiled
def _add_terms(numbers: Floats, present: Bools, centre: Floats, scale: Floats, words: Integers) -> int:
    """Adds the terms of values in reach; returns how many are too far out, which the caller must add."""
    far, masked = 0, len(present) > 0
    half, below = 1 << (_HALF_BITS - 1), (1 << _WORD_BITS) - 1
    for column in range(numbers.shape[1]):
        total = upper2 = cross = lower2 = 0
        for row in range(len(numbers)):
            if masked and not present[row, column]:
                continue
            distance = (numbers[row, column] - centre[column]) / scale[column]
            if not abs(distance) <= REACH:
                far += 1
                continue
            fixed = int(np.rint(distance * _ONE))
            upper = (fixed + half) >> _HALF_BITS
            lower = fixed - (upper << _HALF_BITS)
            total += fixed
            upper2 += upper * upper
            cross += upper * lower
            lower2 += lower * lower
        low = words[column, 1] + total
        words[column, 0] += low >> _WORD_BITS
        words[column, 1] = low & below
        # sum2 = upper2 << 28 + cross << 15 + lower2, each cut where the word ends
        words[column, 2] += (upper2 >> (_WORD_BITS - 2 * _HALF_BITS)) + (cross >> (_WORD_BITS - _HALF_BITS - 1))
        low = words[column, 3] + ((upper2 << (2 * _HALF_BITS)) & below) + ((cross << (_HALF_BITS + 1)) & below) + lower2
        words[column, 2] += low >> _WORD_BITS
        words[column, 3] = low & below
    return far


def _exact_terms(value: float, centre: float, scale: float) -> tuple[int, int]:
    numerator, denominator = value.as_integer_ratio()
    below, under = centre.as_integer_ratio()
    top, bottom = scale.as_integer_ratio()
    distance = (numerator * under - below * denominator) * bottom
    unit = denominator * under * top
    fixed = (2 * (distance << BITS) + unit) // (2 * unit)
    return fixed, fixed * fixed


def mean_and_std(count: int, sum1: int, sum2: int, centre: float, scale: float) -> tuple[float | None, float | None]:
    """Mean and population standard deviation in the feature's own unit; None without values.

    >>> mean_and_std(2, 805306368, 360287970189639680, 0.0, 1.0)
    (1.5, 0.5)
    """
    if not count:
        return None, None
    variance = max(sum2 * count - sum1 * sum1, 0)  # in units of (s / 2^28 / count)^2
    # The root gets 32 more bits than its whole part: the spread may be far below s.
    root = math.isqrt(variance << 64)
    return centre + _ratio(sum1, count << BITS) * scale, _ratio(root, count << (BITS + 32)) * scale


def _ratio(numerator: int, denominator: int) -> float:
    try:
        return numerator / denominator
    except OverflowError:  # beyond float64; no text format has an infinity
        return math.copysign(1.7976931348623157e308, -1 if numerator < 0 else 1)
