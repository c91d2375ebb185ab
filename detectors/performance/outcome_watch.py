"""Outcomes watched like a feature: whether a model's answers are as often right, or as far off, as they were. Pure.

The feature is ``@correct`` where answers are classes, and ``@residual`` = prediction - label where they are numbers,
counted in half octaves. Its reference is learned from the first labels of the unit itself and not from training, where
models look better than they are. After that the evidence is that of a feature's values (``evidence``), at the times
when labels were read, one more feature under the model's budget.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from detectors import outcomes
from detectors.evidence.counts import Counts
from detectors.evidence.sheets import EvidenceSettings, Sheets
from detectors.evidence.sizes import Yardstick
from detectors.evidence.watch import Findings, Watch, WatchState
from detectors.features import Kind
from detectors.outcomes import Outcomes, Task
from detectors.reference import builder
from detectors.reference.reference import FeatureReference
from detectors.reference.transform import centre_and_scale
from detectors.sketches import moments

CORRECT, RESIDUAL = "@correct", "@residual"

LEARNED_LABELS = 1_000
"""Compared labels from which the reference is learned."""

BLOCK_LABELS = 32
LEARNED_BLOCKS = 8
"""Blocks of labels needed to estimate their dependence: for nightly batches, eight nights."""

MOST_BLOCKS = 64
"""Blocks that are stored; beyond them neighbours are merged."""


class Seen(msgspec.Struct, frozen=True):
    """Compared labels so far: how many in each cell, and how many not comparable.

    ``level`` and ``squares``: sum and sum of squares of the level (1 where right, or the residual), exact in steps of
    2^-60.
    """

    cells: dict[int, int]
    invalid: int
    level: int
    squares: int

    @property
    def rows(self) -> int:
        return sum(self.cells.values())

    def minus(self, before: "Seen") -> "Seen | None":
        """What came after ``before``; None while corrected labels have taken back more than came."""
        cells = {cell: n - before.cells.get(cell, 0) for cell, n in self.cells.items()}
        cells |= {cell: -n for cell, n in before.cells.items() if cell not in self.cells}
        invalid = self.invalid - before.invalid
        if min(cells.values(), default=0) < 0 or invalid < 0:
            return None
        return Seen(cells, invalid, self.level - before.level, self.squares - before.squares)


NOTHING = Seen({}, 0, 0, 0)


def seen(shards: Outcomes, task: Task) -> Seen:
    """The counts of the feature in the outcomes of all shards together."""
    tally = shards.total
    if task is not Task.CLASSIFICATION:
        return Seen(dict(shards.residuals), tally.incomparable, tally.error, tally.squared_error)
    wrong = tally.labelled - tally.incomparable - tally.correct
    ones = tally.correct << outcomes.BITS
    return Seen({0: wrong, 1: tally.correct}, tally.incomparable, ones, ones)


class OutcomeWatchState(msgspec.Struct, frozen=True, omit_defaults=True):
    """The snapshot. ``blocks``: labels and sum of ``level`` of the learned blocks; the last one is still open."""

    task: Task
    begun: Seen
    judged: Seen
    blocks: list[tuple[int, int]] = []
    reference: FeatureReference | None = None
    watch: WatchState | None = None
    found: int = 0


class OutcomeWatch:
    """Watches the outcomes of one unit. ``watch`` is None while the reference is learned.

    Cost: about 100 us a look that brings labels.
    """

    __slots__ = ("_begun", "_blocks", "_found", "_resolve_after", "_settings", "judged", "reference", "task", "watch")

    def __init__(self, settings: EvidenceSettings, resolve_after: int) -> None:
        self._settings, self._resolve_after = settings, resolve_after
        self.task: Task | None = None
        self._begun = self.judged = NOTHING
        self._found = 0  # labels judged when a change was found
        self._blocks: list[tuple[int, int]] = []
        self.reference: FeatureReference | None = None
        self.watch: Watch | None = None

    def restore(self, state: OutcomeWatchState) -> None:
        """Restores a snapshot. Evidence of other bets starts anew."""
        self.task, self._begun, self.judged = state.task, state.begun, state.judged
        self._blocks, self.reference, self._found = list(state.blocks), state.reference, state.found
        if self.reference is not None and state.watch is not None:
            self.watch = self._watching(self.reference)
            self.watch.restore(state.watch)

    def snapshot(self) -> OutcomeWatchState | None:
        """The state as a plain record; None before the first label."""
        if self.task is None:
            return None
        watch = None if self.watch is None else self.watch.snapshot()
        return OutcomeWatchState(self.task, self._begun, self.judged, self._blocks, self.reference, watch, self._found)

    def learn(self, shards: Outcomes, task: Task) -> None:
        """Learns the reference anew, from labels that come after these."""
        self.task, self._begun = task, seen(shards, task)
        self.judged, self._blocks, self.reference, self.watch = self._begun, [], None, None

    def look(self, shards: Outcomes, task: Task, now_ms: int, share: float, beside: int) -> Findings | None:
        """Judges the outcomes of all shards together at ``now_ms`` of event time; None where there is nothing to judge.

        ``share``: the unit's share of the model's budget. ``beside``: features that are judged elsewhere under that
        budget.
        """
        if self.task is None:
            self.task = task
        elif self.task is not task:
            self.learn(shards, task)
        now = seen(shards, task)
        new = now.minus(self.judged)
        if new is None or not new.rows + new.invalid:
            return None
        self.judged = now
        if self.watch is None:
            self._learned(new)
            return None
        self.watch.evidence.divide_budget(share, beside)
        labels = now.rows - self._begun.rows
        findings = self.watch.look(self._counts(new), now_ms, labels)
        if findings.fired:
            self._found = labels
        return findings

    @property
    def since_found(self) -> int:
        """Labels since the last change was found."""
        return self.judged.rows - self._begun.rows - self._found

    def _learned(self, new: Seen) -> None:
        """Adds to the blocks, and starts to watch when there are enough."""
        last = self._blocks[-1] if self._blocks else (BLOCK_LABELS, 0)
        if last[0] < BLOCK_LABELS:
            self._blocks[-1] = (last[0] + new.rows, last[1] + new.level)
        else:
            self._blocks.append((new.rows, new.level))
        if len(self._blocks) > MOST_BLOCKS:
            pairs = zip(self._blocks[::2], [*self._blocks[1::2], (0, 0)], strict=False)
            self._blocks = [(one[0] + other[0], one[1] + other[1]) for one, other in pairs]
        whole = self.judged.minus(self._begun)
        full = sum(rows >= BLOCK_LABELS for rows, _ in self._blocks)
        if whole is not None and whole.rows >= LEARNED_LABELS and full >= LEARNED_BLOCKS:
            self.reference = learned_feature(whole, self.task or Task.CLASSIFICATION, self._blocks)
            self.watch = self._watching(self.reference)

    def _watching(self, reference: FeatureReference) -> Watch:
        sheets = Sheets([reference], self._settings, 1)
        return Watch(sheets, [Yardstick(sheets.layout, 0)], self._resolve_after)

    def _counts(self, new: Seen) -> Counts:
        assert self.reference is not None
        statuses = np.array([[new.rows, 0, new.invalid]], np.int64)
        if self.reference.kind is not Kind.NUMERIC:
            by_name = {"false": new.cells.get(0, 0), "true": new.cells.get(1, 0)}
            cells = [*(by_name[category] for category in self.reference.categories), 0, 0]
            return Counts(np.array(cells, np.int64), statuses, np.zeros((1, 2)), new.rows + new.invalid)
        edges = np.asarray(self.reference.edges)
        places = edges.searchsorted([middle(cell) for cell in new.cells], side="right")
        counted = np.bincount(places, weights=list(new.cells.values()), minlength=len(edges) + 1).astype(np.int64)
        return Counts(counted, statuses, _sums(self.reference, new), new.rows + new.invalid)


def learned_feature(whole: Seen, task: Task, blocks: Sequence[tuple[int, int]]) -> FeatureReference:
    """The reference of ``whole``, in cells from the smallest to the largest, with the dependence of ``blocks``."""
    mean, variance = _moments(whole)
    tau = dependence(blocks, mean, variance)
    if task is Task.CLASSIFICATION:
        tally = {name: whole.cells.get(cell, 0) for cell, name in enumerate(("false", "true"))}
        made = builder.category_counts(CORRECT, Kind.BOOLEAN, tally, 0, whole.invalid)
        return msgspec.structs.replace(made, tau=tau)
    used = sorted(cell for cell, n in whole.cells.items() if n)
    edges = [_low(cell) for cell in range(used[0], used[-1] + 2)]
    counts = [whole.cells.get(cell, 0) for cell in range(used[0], used[-1] + 1)]
    return FeatureReference(
        RESIDUAL,
        Kind.NUMERIC,
        whole.rows,
        invalid=whole.invalid,
        edges=edges,
        counts=[0, *counts, 0],
        mean=mean,
        std=math.sqrt(variance),
        distinct=len(used),
        tau=tau,
    )


def dependence(blocks: Sequence[tuple[int, int]], mean: float, variance: float) -> float:
    """tau = sum over K blocks of (block sum - n mean)^2 / (n variance) / (K - 1).

    It is 1 for independent labels. Its standard error is then sqrt(2 / (K - 1)); values within two of these count as 1.
    """
    full = [(rows, level / 2**outcomes.BITS) for rows, level in blocks if rows >= BLOCK_LABELS]
    if len(full) < 2 or variance <= 0:
        return 1.0
    found = sum((level - rows * mean) ** 2 / (rows * variance) for rows, level in full) / (len(full) - 1)
    return found if found > 1 + 2 * math.sqrt(2 / (len(full) - 1)) else 1.0


def middle(cell: int) -> float:
    """An error well inside the ``residual_cell`` ``cell``."""
    if cell == 0:
        return 0.0
    return math.copysign(math.sqrt(outcomes.cell_begin(abs(cell)) * outcomes.cell_begin(abs(cell) + 1)), cell)


def _low(cell: int) -> float:
    """The lower end of a cell, in order of errors. The two smallest cells share the border of no error."""
    if cell == 0:
        return -outcomes.cell_begin(1)
    return outcomes.cell_begin(cell) if cell > 0 else -outcomes.cell_begin(1 - cell)


def _moments(whole: Seen) -> tuple[float, float]:
    """The mean and variance of the level."""
    rows = max(whole.rows, 1)
    mean = whole.level / (rows << outcomes.BITS)
    return mean, max(whole.squares / (rows << outcomes.BITS) - mean * mean, 0.0)


def _sums(reference: FeatureReference, new: Seen) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """The sums of q and q^2, as in a feature's profile, shape (1, 2)."""
    centre, scale = centre_and_scale(reference)
    rows, one = new.rows, 1 << outcomes.BITS
    first, second = new.level / one, new.squares / one
    sum1 = (first - rows * centre) / scale
    sum2 = (second - 2 * centre * first + rows * centre * centre) / scale**2
    return np.array([[sum1 * 2.0**moments.BITS, sum2 * 4.0**moments.BITS]])
