"""Exact, mergeable first and second moments in fixed point.

Floating-point sums depend on their order, and so on how events were dealt to partitions. Under a reference with
centre c and scale s (a power of two) the sums are integers instead:

    sum1 = sum rint((x - c) / s * 2^32)        sum2 = sum rint((x - c) / s * 2^14)^2

Every term with |x - c| <= 256 s is an integer that float64 holds exactly, and so are sums of up to ``BLOCK`` of
them, in whatever order the hardware adds. Rarer, larger values take a path of Python integers. The mean's error is
at most 2^-33 s and the standard deviation's relative error about 1e-9.
"""

import math

import numpy as np

from detectors.columns import Floats

BLOCK = 512
"""Rows: 512 * (256 * 2^14)^2 = 2^53, the largest sum of squares that float64 adds exactly."""

REACH = 256.0
_ONE1, _ONE2 = 2.0**32, 2.0**14


def moment_sums(
    numbers: Floats, present: np.ndarray | None, centre: Floats, scale: Floats
) -> tuple[list[int], list[int]]:
    """``sum1`` and ``sum2`` of every column of ``numbers``, shape (n <= BLOCK, F); ``present`` marks those that count.

    >>> moment_sums(np.array([[1.0], [2.0]]), None, np.zeros(1), np.ones(1))
    ([12884901888], [1342177280])
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
    sum1 = [int(v) for v in np.rint(distance * _ONE1).sum(axis=0).tolist()]
    fine = np.rint(distance * _ONE2)
    sum2 = [int(v) for v in np.einsum("ij,ij->j", fine, fine).tolist()]
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
    fine = (distance << 14) // unit
    return (distance << 32) // unit, fine * fine


def mean_and_std(count: int, sum1: int, sum2: int, centre: float, scale: float) -> tuple[float | None, float | None]:
    """Mean and population standard deviation in the feature's own unit; None without values.

    >>> mean_and_std(2, 12884901888, 1342177280, 0.0, 1.0)
    (1.5, 0.5)
    """
    if not count:
        return None, None
    variance = max((sum2 * count << 36) - sum1 * sum1, 0)  # in units of (s / 2^32 / count)^2
    return centre + _ratio(sum1, count << 32) * scale, _ratio(math.isqrt(variance), count << 32) * scale


def _ratio(numerator: int, denominator: int) -> float:
    try:
        return numerator / denominator
    except OverflowError:  # beyond float64; no text format has an infinity
        return math.copysign(1.7976931348623157e308, -1 if numerator < 0 else 1)
