"""Streams with known changes, for benchmarks: nulls that raise false alarms elsewhere, and changes of known size and
place.

One numeric feature each. Every null is a function (rng, n, start) -> values, where ``start`` counts the events before,
for those with a season. Every change maps the values after the change point to others, given the standard deviation.
"""

from collections.abc import Callable

import numpy as np

from detectors.columns import Floats

Null = Callable[[np.random.Generator, int, int], Floats]
Change = Callable[[np.random.Generator, Floats], Floats]

DAY_EVENTS = 1_440
"""Events a day in the seasonal streams: one a minute."""


def normal(rng: np.random.Generator, n: int, start: int = 0) -> Floats:
    """Independent N(0, 1)."""
    return rng.normal(size=n)


def student(rng: np.random.Generator, n: int, start: int = 0) -> Floats:
    """Independent Student t with three degrees of freedom, scaled to unit variance."""
    return np.asarray(rng.standard_t(3, size=n) / np.sqrt(3.0))


def lognormal(rng: np.random.Generator, n: int, start: int = 0) -> Floats:
    """Independent lognormal, sigma 1, scaled to mean 0 and unit variance."""
    return np.asarray((rng.lognormal(size=n) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e))


def autoregressive(coefficient: float) -> Null:
    """x_t = r x_{t-1} + e_t with unit variance.

    >>> x = autoregressive(0.8)(np.random.default_rng(1), 100_000, 0)
    >>> round(float(np.corrcoef(x[1:], x[:-1])[0, 1]), 2)
    0.8
    """
    scale = float(np.sqrt(1 - coefficient**2))

    def draw(rng: np.random.Generator, n: int, start: int = 0) -> Floats:
        noise = rng.normal(size=n) * scale
        noise[:1] = rng.normal()
        return _filtered(noise, coefficient)

    return draw


def _filtered(noise: Floats, coefficient: float) -> Floats:
    """The recursion, in blocks short enough that powers of the coefficient do not vanish."""
    block = 64
    weights = coefficient ** np.arange(block + 1)
    lower = np.tril(coefficient ** np.abs(np.subtract.outer(np.arange(block), np.arange(block)).clip(0)))
    padded = np.concatenate((noise, np.zeros(-len(noise) % block))).reshape(-1, block)
    inner = padded @ lower.T
    carried = 0.0
    for row in inner:
        row += carried * weights[1:]
        carried = float(row[-1])
    return np.asarray(inner.reshape(-1)[: len(noise)])


def daily_sine(amplitude: float = 1.0) -> Null:
    """N(0, 1) plus a daily sine, one event a minute."""

    def draw(rng: np.random.Generator, n: int, start: int = 0) -> Floats:
        phase = 2 * np.pi * (np.arange(start, start + n) % DAY_EVENTS) / DAY_EVENTS
        return np.asarray(rng.normal(size=n) + amplitude * np.sin(phase))

    return draw


def day_effects(spread: float = 0.3) -> Null:
    """N(0, 1) with a mean that differs from day to day by N(0, spread)."""

    def draw(rng: np.random.Generator, n: int, start: int = 0) -> Floats:
        day = np.arange(start, start + n) // DAY_EVENTS
        effects = rng.normal(size=int(day[-1] - day[0]) + 1) * spread
        return np.asarray(rng.normal(size=n) + effects[day - day[0]])

    return draw


NULLS: dict[str, Null] = {
    "normal": normal,
    "student-t3": student,
    "lognormal": lognormal,
    "ar1-.8": autoregressive(0.8),
    "ar1-.95": autoregressive(0.95),
    "daily-sine": daily_sine(),
    "day-effects": day_effects(),
}


def shift(size: float) -> Change:
    """A move of the mean by ``size`` standard deviations."""
    return lambda rng, values: values + size


def scale(variance: float) -> Change:
    """A multiplication of the variance by ``variance``."""
    return lambda rng, values: values * variance**0.5


def shape() -> Change:
    """A change of N(0, 1) to a symmetric two-point mixture with the same mean and variance: modes at +-.9."""

    def change(rng: np.random.Generator, values: Floats) -> Floats:
        signs = rng.choice([-1.0, 1.0], size=len(values))
        return np.asarray(0.9 * signs + values * (1 - 0.81) ** 0.5)

    return change


CHANGES: dict[str, Change] = {
    ".25 sigma": shift(0.25),
    ".5 sigma": shift(0.5),
    "1 sigma": shift(1.0),
    "variance x2": scale(2.0),
    "shape": shape(),
}
