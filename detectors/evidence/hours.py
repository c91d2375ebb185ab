"""The hours of the past 16 days: how this time of the day usually moves, and what it is usually like.

For every bet with ratios L the memory gives log m, the log of L's mean in an hour, and its sampling variance. From them
follow, once an hour,

* ``moves``: by how much log m usually rises from the baseline's hours to this hour (or one of its neighbours). It is
  the largest such rise of any earlier day, less two standard errors; from four days on also their mean + (3 + 8 /
  days) standard deviations. A move over midnight is one between neighbouring days.
* ``same``: the log of the largest mean that is usual at this hour on earlier days, from ``DAYS_KNOWN`` days on.
* ``gross``: the log of the mean over the best-paid 24th of the reference, and of all that came. A distribution that
  is a part of at least 1 / 24 of a mixture has no larger mean.
"""

import math

import msgspec
import numpy as np

from detectors.columns import Bools, Floats, Integers
from detectors.compiled import compiled
from detectors.evidence.blocks import LENGTHS, LENGTHS_MS

HOUR_MS = 3_600_000
HOURS_KEPT = 384
DAYS_KNOWN, DAYS_APART, DAYS_COMPARED = 8, 14, 14
"""Days from which this hour is known, from which weekends are apart, and at most compared."""
WEEK = 7
LEAST_EVENTS = 30
NEAR = 11
"""Hours looked at around this one of a day: nine before it, itself, and the next one."""
HERE = 9
LAGS = np.array([max(math.ceil(5.5 * length / HOUR_MS), 1) for length in LENGTHS_MS.tolist()], np.int64)
USUAL_Z, KNOWN_Z = 6.0, 5.0
PART = 1 / 24
TOLERATED = 0.05

Counts16 = np.ndarray[tuple[int, ...], np.dtype[np.uint16]]


class HoursState(msgspec.Struct, frozen=True):
    """The snapshot of an ``Hours``. ``moves``, ``same`` and ``gross`` are as of the hour's begin."""

    hour: int
    first_hour: int
    stamps: bytes
    values: bytes
    statuses: bytes
    running: bytes
    spread: bytes
    spreads: list[int]
    moves: bytes
    same: bytes
    gross: bytes


class Hours:
    """The memory of the hours of all components (D). 17 KB a feature of 16 bins.

    ``ratios``: L of every bet, (D, B, K). ``moves``: (D, LENGTHS, K); ``same``: (D, K), infinite where not known;
    ``gross``: (D, K). ``hour``: the present one, counted from 1970.
    """

    __slots__ = (
        "_first", "_ratios", "_reference", "_running", "_shape", "_spread", "_spreads", "_stamps", "_statuses",
        "_values", "gross", "hour", "moves", "same",
    )  # fmt: skip

    def __init__(self, ratios: Floats, reference: Floats) -> None:
        components, bins, most = ratios.shape
        self._ratios, self._reference, self._shape = ratios, reference, (components, bins)
        self._stamps: Integers = np.full(HOURS_KEPT, -1, np.int64)
        self._values: Counts16 = np.zeros((HOURS_KEPT, components // 2, bins), np.uint16)
        self._statuses: Counts16 = np.zeros((HOURS_KEPT, components // 2, 3), np.uint16)
        self._running: Integers = np.zeros((components, bins), np.int64)
        self._spread = np.zeros((components, most))
        self._spreads = np.zeros(components, np.int64)
        self.hour = self._first = -1
        self.moves = np.zeros((components, LENGTHS, most))
        self.same = np.full((components, most), np.inf)
        self.gross = _best_paid(ratios, reference)

    @property
    def days(self) -> int:
        """Days since the first hour, the present one included."""
        return 0 if self._first < 0 else self.hour // 24 - self._first // 24

    @property
    def first_ms(self) -> int | None:
        """The begin of the first hour; None before it."""
        return None if self._first < 0 else self._first * HOUR_MS

    @property
    def known(self) -> bool:
        """Whether this hour was seen on enough earlier days."""
        return self.days >= DAYS_KNOWN

    def week_shares(self, component: int) -> Floats | None:
        """The shares of a component's bins on each of the last ``WEEK`` complete days, shape (WEEK, B); None where they
        are not all remembered, with ``LEAST_EVENTS`` events at least.
        """
        features = self._shape[0] // 2
        counts = self._values[:, component] if component < features else self._statuses[:, component - features]
        back = self.hour // 24 - self._stamps // 24
        days = np.array([counts[(self._stamps >= 0) & (back == day)].sum(axis=0) for day in range(1, WEEK + 1)])
        totals = days.sum(axis=1, keepdims=True)
        if self._first < 0 or self.days <= WEEK or totals.min() < LEAST_EVENTS:
            return None
        return np.asarray(days / totals)

    def past_days(self, component: int) -> Floats:
        """Counts of a component's bins in the last 24 hours (the present one last) and in the same hours of the
        ``DAYS_COMPARED`` days before, shape (1 + DAYS_COMPARED, 24, B); 0 where an hour is not remembered.
        """
        features = self._shape[0] // 2
        kept = self._values[:, component] if component < features else self._statuses[:, component - features]
        at = self.hour - 23 + np.arange(24) - 24 * np.arange(1 + DAYS_COMPARED)[:, None]
        places = at % HOURS_KEPT
        found = np.where((self._stamps[places] == at)[:, :, None], kept[places], 0).astype(np.float64)
        found[0, -1] = self._running[component, : found.shape[2]]
        return found

    def begins(self, now_ms: int) -> bool:
        """Whether a look at event time ``now_ms`` is the first one of an hour."""
        return now_ms // HOUR_MS > self.hour

    def begin(self, now_ms: int, tau: Floats, total: Floats, live: Bools, until: Integers) -> None:
        """Begins the hour of ``now_ms``: stores the one before, and computes everything again.

        ``tau``: dependence factors (D,); ``total``: all counts (D, B); ``live``: components with a bet; ``until`` (D,):
        the first hour that is not compared with, since what came from then on was reported. Cost: 25 us a feature once
        an hour.
        """
        if self.hour >= 0:
            self._close()
        else:
            self._first = now_ms // HOUR_MS
        self.hour = now_ms // HOUR_MS
        self._renew(tau, total, live, until)

    def append(self, table: Floats) -> None:
        """Adds the counts (D, B) of a look. Cost: .2 us a feature."""
        np.add(self._running, table, out=self._running, casting="unsafe")

    def _close(self) -> None:
        """Stores the hour that ended. Counts above 65,535 are halved together until they fit."""
        most = self._running.max(axis=1)
        shift = np.maximum(np.ceil(np.log2((most + 1) / 65_536)), 0).astype(np.int64)
        kept = (self._running >> shift[:, None]).astype(np.uint16)
        place, features = self.hour % HOURS_KEPT, self._shape[0] // 2
        self._stamps[place] = self.hour
        self._values[place], self._statuses[place] = kept[:features], kept[features:, :3]
        self._running[:] = 0

    def _renew(self, tau: Floats, total: Floats, live: Bools, until: Integers) -> None:
        features = self._shape[0] // 2
        for d in np.flatnonzero(live).tolist():
            counts = self._values[:, d] if d < features else self._statuses[:, d - features]
            near = np.full((DAYS_COMPARED + 1, NEAR, 3, self._ratios.shape[2]), np.nan)
            bins = counts.shape[1]
            _hours_near(counts, self._stamps, (self.hour, until[d]), self._ratios[d, :bins], tau[d], near)
            _usual_moves(near, self.moves[d])
            if self.known:
                apart = self.days > DAYS_APART
                weekend = (self.hour // 24 + 3) % 7 >= 5
                _same_hours(near, (self.hour, apart, weekend), self._spread[d], self._spreads[d], self.same[d])
                self._spreads[d] += 1
        shares = total / np.maximum(total.sum(axis=1, keepdims=True), 1.0)
        self.gross = np.maximum(_best_paid(self._ratios, self._reference), _best_paid(self._ratios, shares))

    def snapshot(self) -> HoursState:
        """The whole state."""
        return HoursState(
            self.hour,
            self._first,
            self._stamps.tobytes(),
            self._values.tobytes(),
            self._statuses.tobytes(),
            self._running.tobytes(),
            self._spread.tobytes(),
            self._spreads.tolist(),
            self.moves.tobytes(),
            self.same.tobytes(),
            self.gross.tobytes(),
        )

    def restore(self, state: HoursState) -> None:
        """Restores ``snapshot``. Raises ValueError when it has another shape."""
        self.hour, self._first = state.hour, state.first_hour
        self._stamps = np.frombuffer(state.stamps, np.int64).copy()
        self._values = np.frombuffer(state.values, np.uint16).reshape(self._values.shape).copy()
        self._statuses = np.frombuffer(state.statuses, np.uint16).reshape(self._statuses.shape).copy()
        self._running = np.frombuffer(state.running, np.int64).reshape(self._shape).copy()
        self._spread = np.frombuffer(state.spread).reshape(self._spread.shape).copy()
        self._spreads = np.array(state.spreads, np.int64)
        self.moves = np.frombuffer(state.moves).reshape(self.moves.shape).copy()
        self.same = np.frombuffer(state.same).reshape(self.same.shape).copy()
        self.gross = np.frombuffer(state.gross).reshape(self.gross.shape).copy()


def _best_paid(ratios: Floats, shares: Floats) -> Floats:
    """The log of each bet's mean over the best-paid ``PART`` of ``shares`` (D, B); shape (D, K)."""
    order = np.argsort(-ratios, axis=1, kind="stable")
    paid = np.take_along_axis(ratios, order, axis=1)
    each = np.take_along_axis(np.broadcast_to(shares[:, :, None], ratios.shape), order, axis=1)
    upto = np.minimum(np.cumsum(each, axis=1), PART)
    mean = (np.diff(upto, axis=1, prepend=0.0) * paid).sum(axis=1) / PART
    return np.asarray(np.log(np.maximum(mean, 1.0)))


@compiled
def _hours_near(
    counts: Counts16, stamps: Integers, when: tuple[int, int], ratios: Floats, tau: float, near: Floats
) -> None:
    """Fills ``near`` (days back, hours, 3, K), for hours with enough events: log m, its sampling variance, and the
    standard deviation of L as a part of m. ``when``: the present hour, and the first one that is left out."""
    hour, until = when
    for day in range(1, len(near)):
        for place in range(near.shape[1]):
            at = hour - 24 * day + place - HERE
            row = at % HOURS_KEPT
            if at < 0 or at >= until or stamps[row] != at:
                continue
            events = 0
            for b in range(counts.shape[1]):
                events += counts[row, b]
            if events < LEAST_EVENTS:
                continue
            for k in range(ratios.shape[1]):
                mean, square = 0.0, 0.0
                for b in range(counts.shape[1]):
                    mean += counts[row, b] * ratios[b, k]
                    square += counts[row, b] * ratios[b, k] ** 2
                mean /= events
                variance = max(square / events / mean**2 - 1, 0.0)
                near[day, place, 0, k] = math.log(mean)
                near[day, place, 1, k] = tau * variance / events
                near[day, place, 2, k] = math.sqrt(variance)


@compiled
def _usual_moves(near: Floats, moves: Floats) -> None:
    """Fills ``moves`` (LENGTHS, K)."""
    for length in range(len(moves)):
        for k in range(moves.shape[1]):
            total, square, sampling, days, largest = 0.0, 0.0, 0.0, 0, 0.0
            for day in range(1, len(near)):
                rise, error, found = 0.0, 0.0, False
                for here in range(HERE - 1, HERE + 2):
                    for before in range(max(here - LAGS[length], 0), here):
                        if math.isnan(near[day, here, 0, k]) or math.isnan(near[day, before, 0, k]):
                            continue
                        one = near[day, here, 0, k] - near[day, before, 0, k]
                        variance = near[day, here, 1, k] + near[day, before, 1, k]
                        largest = max(largest, one - 2 * math.sqrt(variance))
                        if not found or one > rise:
                            rise, error, found = one, variance, True
                if found:
                    total, square, sampling, days = total + rise, square + rise * rise, sampling + error, days + 1
            moves[length, k] = largest
            if days >= 4:
                mean = total / days
                beyond = (square / days - mean * mean) * days / (days - 1) - sampling / days
                if beyond > 0.0:
                    further = (3 + 8 / days) * math.sqrt(beyond * (1 + 1 / days))
                    moves[length, k] = max(largest, mean + further)


@compiled
def _same_hours(near: Floats, when: tuple[int, bool, bool], spread: Floats, spreads: int, same: Floats) -> None:
    """Fills ``same`` (K). ``spread`` (K,): the variance between days beyond sampling, averaged over the past hours."""
    hour, apart, weekend = when
    same[:] = np.inf
    z = KNOWN_Z if apart else USUAL_Z
    for k in range(len(same)):
        largest, found = 0.0, False
        for place in range(HERE - 1, HERE + 2):
            total, square, sampling, deviation, days = 0.0, 0.0, 0.0, 0.0, 0
            for day in range(1, len(near)):
                kind = (hour // 24 - day + 3) % 7 >= 5
                if math.isnan(near[day, place, 0, k]) or (apart and kind != weekend):
                    continue
                total, days = total + near[day, place, 0, k], days + 1
                square += near[day, place, 0, k] ** 2
                sampling, deviation = sampling + near[day, place, 1, k], near[day, place, 2, k]
            if days < 4:
                continue
            mean, sampling = total / days, sampling / days
            beyond = (square / days - mean * mean) * days / (days - 1) - sampling
            if place == HERE:
                spread[k] += (beyond - spread[k]) / min(24, spreads + 1)
            own = beyond if beyond > 3 * math.sqrt(2 / (days - 1)) * sampling else 0.0
            usual = mean + z * math.sqrt(max(own, spread[k], 0.0) * (1 + 1 / days)) + 3 * math.sqrt(sampling / days)
            usual = math.log(math.exp(usual) + TOLERATED * deviation * math.exp(mean))
            largest, found = (max(largest, usual) if found else usual), True
        if found:
            same[k] = largest
