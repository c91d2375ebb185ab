"""A model's accuracy is watched like a feature: the same evidence, one more part of the same budget."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.evidence.e_detector import Evidence
from detectors.evidence.sheets import Sheets
from detectors.outcomes import (
    LAST_CELL,
    NOTHING,
    Outcomes,
    Task,
    Value,
    cell_begin,
    compared,
    residual,
    residual_cell,
)
from detectors.performance import outcome_watch as module
from detectors.performance.outcome_watch import CORRECT, LEARNED_LABELS, RESIDUAL, OutcomeWatch, OutcomeWatchState
from tests.settings.defaults import evidence_settings

SETTINGS, RESOLVE, LOOK = evidence_settings(), 500, 20

Pairs = list[tuple[Value, Value]]


class Log:
    """All outcomes so far, added up over shards."""

    def __init__(self) -> None:
        self.total, self.residuals = NOTHING, Counter[int]()

    def add(self, pairs: Pairs) -> Outcomes:
        for prediction, label in pairs:
            self.total = self.total.plus(compared(prediction, label, 0))
            error = residual(prediction, label)
            if error is not None:
                self.residuals[residual_cell(error)] += 1
        return Outcomes(self.total, residuals=dict(self.residuals))


def classes(random: np.random.Generator, right: float, rows: int) -> Pairs:
    return [("a", "a" if hit else "b") for hit in random.random(rows) < right]


def numbers(random: np.random.Generator, bias: float, std: float, rows: int) -> Pairs:
    return [(100.0 + error, 100.0) for error in random.normal(bias, std, rows).tolist()]


def looks(log: Log, task: Task, watch: OutcomeWatch, pairs: Pairs, begin: int) -> Iterator[tuple[int, bool, bool]]:
    """For each look that judged: the labels so far, whether a change was found, and whether it has ended."""
    for start in range(0, len(pairs), LOOK):
        labels = begin + start + LOOK
        found = watch.look(log.add(pairs[start : start + LOOK]), task, 1_000 * labels, 1.0, 20)
        if found is not None:
            yield labels, bool(found.fired), bool(found.returned)


class Change(NamedTuple):
    feature: str
    task: Task
    before: Pairs
    after: Pairs
    within: int


def changes(seed: int) -> list[Change]:
    random = np.random.default_rng(seed)
    return [
        Change(CORRECT, Task.CLASSIFICATION, classes(random, 0.9, 3_000), classes(random, 0.7, 2_000), 800),
        Change(RESIDUAL, Task.REGRESSION, numbers(random, 0, 1, 3_000), numbers(random, 0.6, 1, 2_000), 800),
        Change(RESIDUAL, Task.REGRESSION, numbers(random, 0, 1, 3_000), numbers(random, 0, 1.6, 2_000), 800),
    ]


@pytest.mark.parametrize("change", changes(7), ids=["share right", "bias", "spread"])
def test_a_change_of_outcomes_is_found_and_nothing_before_it_and_its_end_too(change: Change) -> None:
    log, watch = Log(), OutcomeWatch(SETTINGS, RESOLVE)
    before = list(looks(log, change.task, watch, change.before, 0))
    assert len(before) == (3_000 - LEARNED_LABELS) // LOOK, "the first labels are the reference"
    assert not any(fired for _, fired, _ in before)
    assert watch.reference is not None
    assert watch.reference.feature == change.feature
    found = [labels for labels, fired, _ in looks(log, change.task, watch, change.after, 3_000) if fired]
    assert 3_000 < found[0] <= 3_000 + change.within
    assert watch.since_found == 5_000 - found[0]
    back = [over for _, _, over in looks(log, change.task, watch, change.before, 5_000)]
    assert any(back)


@pytest.mark.parametrize("task", [Task.CLASSIFICATION, Task.REGRESSION])
def test_outcomes_that_stay_as_they_are_raise_nothing(task: Task) -> None:
    for seed in range(3):
        random = np.random.default_rng(seed)
        rows = classes(random, 0.9, 10_000) if task is Task.CLASSIFICATION else numbers(random, 0, 1, 10_000)
        assert not any(fired for _, fired, _ in looks(Log(), task, OutcomeWatch(SETTINGS, RESOLVE), rows, 0))


def test_a_restart_at_any_look_changes_nothing() -> None:
    change = changes(3)[0]
    whole, log = OutcomeWatch(SETTINGS, RESOLVE), Log()
    again, other = OutcomeWatch(SETTINGS, RESOLVE), Log()
    pairs = change.before[:1_400] + change.after[:800]
    expected = list(looks(log, change.task, whole, pairs, 0))
    told = []
    for start in range(0, len(pairs), 200):
        told += list(looks(other, change.task, again, pairs[start : start + 200], start))
        state = again.snapshot()
        assert state is not None
        again = OutcomeWatch(SETTINGS, RESOLVE)
        again.restore(msgspec.json.decode(msgspec.json.encode(state), type=OutcomeWatchState))
    assert told == expected
    assert any(fired for _, fired, _ in told)
    assert msgspec.json.encode(again.snapshot()) == msgspec.json.encode(whole.snapshot())


def test_a_label_that_is_corrected_is_judged_once() -> None:
    random = np.random.default_rng(5)
    log, watch = Log(), OutcomeWatch(SETTINGS, RESOLVE)
    list(looks(log, Task.CLASSIFICATION, watch, classes(random, 0.9, 1_200), 0))
    judged = watch.judged
    right, wrong = compared("a", "a", 0), compared("a", "b", 0)
    log.total = log.total.minus(right).plus(wrong)
    assert watch.look(Outcomes(log.total), Task.CLASSIFICATION, 2_000_000, 1.0, 20) is None
    assert watch.judged == judged
    assert watch.look(log.add(classes(random, 0.9, 100)), Task.CLASSIFICATION, 2_001_000, 1.0, 20) is not None
    assert watch.judged.rows == 1_300


def test_batches_that_differ_from_night_to_night_are_no_independent_labels() -> None:
    random = np.random.default_rng(2)
    log, watch = Log(), OutcomeWatch(SETTINGS, RESOLVE)
    fired = []
    for night in range(120):
        right = float(np.clip(0.9 + 0.02 * random.normal(), 0, 1))
        found = watch.look(log.add(classes(random, right, 1_000)), Task.CLASSIFICATION, night * 86_400_000, 1.0, 20)
        fired.append(found is not None and bool(found.fired))
    assert watch.reference is not None
    assert watch.reference.rows == 1_000 * module.LEARNED_BLOCKS, "one night says nothing of the next"
    assert watch.reference.tau > 2
    assert not any(fired)


def test_another_kind_of_answer_is_learned_anew() -> None:
    random = np.random.default_rng(4)
    log, watch = Log(), OutcomeWatch(SETTINGS, RESOLVE)
    list(looks(log, Task.CLASSIFICATION, watch, classes(random, 0.9, 1_200), 0))
    assert watch.watch is not None
    assert watch.look(log.add(numbers(random, 0, 1, 100)), Task.REGRESSION, 2_000_000, 1.0, 20) is None
    assert watch.watch is None


def test_the_budget_of_features_and_outcomes_together_is_the_models() -> None:
    random = np.random.default_rng(6)
    watch = OutcomeWatch(SETTINGS, RESOLVE)
    list(looks(Log(), Task.CLASSIFICATION, watch, classes(random, 0.9, 1_200), 0))
    assert watch.reference is not None
    assert watch.watch is not None
    beside = Evidence(Sheets([watch.reference] * 1, SETTINGS))
    alone = beside.blame_log10
    beside.beside = 20
    assert 10 ** -(beside.blame_log10 - alone) * 21 == pytest.approx(1.0)
    assert watch.watch.evidence.blame_log10 == pytest.approx(beside.blame_log10)
    evidence = np.array([beside.threshold_log10 + np.log10(21)])
    assert beside.model(evidence) == pytest.approx(beside.threshold_log10), "a feature alone pays for all 21"


@given(st.floats(allow_nan=False, allow_infinity=False, max_value=1e150, min_value=-1e150))
def test_every_error_lies_in_its_half_octave_and_its_sign_only_mirrors_it(error: float) -> None:
    cell = residual_cell(error)
    assert residual_cell(-error) == -cell
    assert (cell == 0) == (error == 0)
    if 1 < abs(cell) < LAST_CELL:
        assert cell_begin(abs(cell)) <= abs(error) < cell_begin(abs(cell) + 1)
    if cell:
        assert residual_cell(module.middle(cell)) == cell
