"""The beginning of a feature's change: a change point with an interval, from the looks of the recent past.

A look tells how many events of each bin came and not in which order, so a change point is exact to a look at best.
"""

import numpy as np

from detectors.columns import Floats
from detectors.evidence.e_detector import Beginning
from detectors.evidence.sheets import Sheet
from detectors.evidence.window import Window

OUTSIDE = 0.01
"""Probability left out on either side of the interval. The family of bets is incomplete, which makes it a little
narrow."""


def date(sheet: Sheet, window: Window, feature: int, known: Beginning) -> Beginning:
    """The change point of one feature, given the CUSUM's estimate ``known``, which reaches back further than the
    window.

    With L_k(j) the likelihood ratio of bet k over all that came after border j, the probability that the change lies in
    look j is proportional to its events times the mean of sum_k L_k at its two borders: a uniform prior on place and
    bet (Shiryaev 1963; Carlin, Gelfand and Smith 1992, doi:10.2307/2347570). The estimate is the median; the interval
    holds all but OUTSIDE on either side. Evidence is divided by the dependence factor, so the interval is wider on
    dependent streams. The CUSUM's estimate stays for a change from before the window, and for a feature that had left
    the reference a little and now moved again, which raised the alarm. Cost: about 100 us.
    """
    buckets = window.buckets()
    rows = [feature, len(sheet.layout.names) + feature]
    tables = np.stack([bucket.table for bucket in buckets]).astype(np.float64)
    weights = np.logaddexp(*(_after(sheet, tables, row) for row in rows))
    first = np.array([bucket.first for bucket in buckets], np.float64)
    events = np.array([bucket.events for bucket in buckets], np.float64)
    inside = np.exp(weights - weights.max())
    mass = events * (inside[:-1] + inside[1:]) / 2
    ends = np.concatenate(([0.0], np.cumsum(mass / mass.sum())))
    borders = np.append(first, first[-1] + events[-1])
    low, middle, high = np.interp([OUTSIDE, 0.5, 1 - OUTSIDE], ends, borders).tolist()
    if known.event < first[0] and middle < borders[1]:
        return Beginning(known.event, known.at_ms, min(known.earliest, known.event), round(high), known.status)
    times = np.array([bucket.from_ms for bucket in buckets] + [buckets[-1].to_ms], np.float64)
    at = int(np.searchsorted(borders, low, side="right")) - 1
    end = min(int(np.searchsorted(borders, high, side="left")), len(borders) - 1)
    earliest, latest = int(borders[max(at, 0)]), int(borders[end])
    if known.event > latest:
        return known
    return Beginning(round(middle), round(float(np.interp(middle, borders, times))), earliest, latest, known.status)


def _after(sheet: Sheet, tables: Floats, row: int) -> Floats:
    """The log of the mean over bets of the likelihood ratio of what came after each border, shape (buckets + 1,)."""
    used = sheet.used[row]
    gains = sheet.gains[row, :, : len(used)][:, used].T @ tables[:, row].T
    after = np.concatenate((np.cumsum(gains[:, ::-1], axis=1)[:, ::-1], np.zeros((len(gains), 1))), axis=1)
    top = after.max(axis=0)
    return np.asarray(np.log(np.exp(after - top).mean(axis=0)) + top)
