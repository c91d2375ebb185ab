"""Exact, mergeable first and second moments in fixed point.

Floating-point sums depend on their order, and so on how events were dealt to partitions. Under a reference with
centre c and scale s (a power of two) the sums are integers instead:

    q = rint((x - c) / s * 2^28)        sum1 = sum q        sum2 = sum q^2

A term with |x - c| <= 256 s has at most 36 bits. Its square is taken in two halves of 14 and 22 bits, so that every
product, and every sum of up to ``BLOCK`` of them, is an integer that float64 holds exactly, in whatever order the
hardware adds. Rarer, larger values take a path of Python integers. The mean is exact to 2^-29 s, and the standard
deviation is that of the rounded values: a constant has none, wherever it lies.
"""

import math

import numpy as np

from detectors.columns import Floats

BLOCK = 512
"""Rows: 512 * (256 * 2^14)^2 = 2^53, the largest sum of squares of upper halves that float64 adds exactly."""

REACH = 256.0
BITS = 28
_ONE, _HALF, _HALF_BITS = 2.0**BITS, 2.0**14, 14


def moment_sums(
    numbers: Floats, present: np.ndarray | None, centre: Floats, scale: Floats
) -> tuple[list[int], list[int]]:
    """``sum1`` and ``sum2`` of every column of ``numbers``, shape (n <= BLOCK, F); ``present`` marks those that count.

    >>> moment_sums(np.array([[1.0], [2.0]]), None, np.zeros(1), np.ones(1))
    ([805306368], [360287970189639680])
    """
    assert len(numbers) <= BLOCK
    with np.errstate(over="ignore"):
        distance = (numbers - centre) / scale
    if present is not None:
        distance[~present] = 0.0
    far = np.abs(distance) > REACH
    far |= ~np.isfinite(distance)
    outliers = np.nonzero(far) if far.any() else None
    if outliers is not None:
        distance[outliers] = 0.0
    fixed = np.rint(distance * _ONE)
    upper = np.rint(fixed / _HALF)
    lower = fixed - upper * _HALF
    sum1 = [int(v) for v in fixed.sum(axis=0).tolist()]
    squares = (np.einsum("ij,ij->j", a, b).tolist() for a, b in ((upper, upper), (upper, lower), (lower, lower)))
    sum2 = [
        (int(high) << 2 * _HALF_BITS) + (int(cross) << _HALF_BITS + 1) + int(low)
        for high, cross, low in zip(*squares, strict=True)
    ]
    if outliers is not None:
        for row, column in zip(*(axis.tolist() for axis in outliers), strict=True):
            first, second = _exact_terms(float(numbers[row, column]), float(centre[column]), float(scale[column]))
            sum1[column] += first
            sum2[column] += second
    return sum1, sum2


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
    # Two more digits of the root than its whole part has: the spread may be far below s.
    root = math.isqrt(variance << 64)
    return centre + _ratio(sum1, count << BITS) * scale, _ratio(root, count << (BITS + 32)) * scale


def _ratio(numerator: int, denominator: int) -> float:
    try:
        return numerator / denominator
    except OverflowError:  # beyond float64; no text format has an infinity
        return math.copysign(1.7976931348623157e308, -1 if numerator < 0 else 1)
