"""A model whose labels do not arrive, or match nothing, is never shown as one whose performance is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.performance.label_arrival import LEAST, Labelling, Labels

HOUR_MS, DAY_MS = 3_600_000, 86_400_000


def followed(labelling: Labelling, *steps: tuple[int, int, int]) -> Labelling:
    for hours, predicted, labelled in steps:
        labelling.update(hours * HOUR_MS, predicted, labelled, DAY_MS)
    return labelling


def test_labels_that_no_longer_come_are_missing_after_the_patience_and_are_back_with_the_first_ones() -> None:
    labelling = followed(Labelling(), (0, 0, 0), (1, 1_000, 900), (2, 2_000, 1_800))
    assert labelling.standing(True) is Labels.COMING
    assert followed(labelling, (25, 25_000, 1_800)).standing(True) is Labels.COMING
    assert followed(labelling, (27, 27_000, 1_800)).standing(True) is Labels.MISSING
    assert followed(labelling, (28, 28_000, 12_000)).standing(True) is Labels.COMING


def test_labels_that_are_read_and_find_next_to_nothing_are_unmatched_even_where_nothing_needs_them() -> None:
    labelling = followed(Labelling(), (0, 0, 0), (1, 1_000, 900))
    for hour in range(2, 30):
        labelling.record_read(1_000 * hour)
        followed(labelling, (hour, 1_000 * hour, 900 + 10 * hour))  # one in a hundred
    assert labelling.standing(False) is Labels.UNMATCHED


def test_labels_of_which_none_ever_found_a_prediction_are_unmatched_after_a_day_and_waited_for_before() -> None:
    labelling = followed(Labelling(), (0, 0, 0), (20, 5_000, 0))
    assert (labelling.standing(False), labelling.standing(True)) == (Labels.NONE, Labels.WAITING)
    labelling.record_read(5_000)
    assert labelling.standing(False) is Labels.WAITING
    assert followed(labelling, (25, 6_000, 0)).standing(False) is Labels.UNMATCHED


def test_a_sample_that_is_labelled_by_hand_in_batches_is_no_loss() -> None:
    labelling = Labelling()
    predicted = labelled = 0
    for day in range(30):
        for hour in range(24):
            predicted += 500
            labelled += 40 if hour == 17 and day % 7 < 5 else 0  # a third of a percent, never at weekends
            followed(labelling, (24 * day + hour, predicted, labelled))
            if day > 7:
                assert labelling.standing(True) is Labels.COMING, (day, hour)


def test_a_version_that_no_longer_predicts_is_not_asked_for_labels() -> None:
    labelling = followed(Labelling(), (0, 0, 0), (1, 1_000, 900))
    labelling.record_read(10_000)
    assert followed(labelling, (500, 1_000 + LEAST - 1, 900)).standing(True) is Labels.COMING


def test_a_canary_with_a_hundredth_of_the_traffic_is_judged_by_its_own_share() -> None:
    labelling = Labelling()
    for hour in range(100):
        labelling.record_read(100_000 * hour)
        followed(labelling, (hour, 1_000 * hour, 900 * max(hour - 1, 0)))
    assert labelling.standing(False) is Labels.COMING


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 500), st.integers(0, 500)), max_size=40), st.booleans())
def test_state_is_all_that_is_remembered_of_what_was_counted(moves: list[tuple[int, int, int]], needed: bool) -> None:
    whole, hours, predicted, labelled = Labelling(), 0, 0, 0
    for waited, made, got in moves:
        hours, predicted = hours + waited, predicted + made
        labelled = min(labelled + got, predicted)
        followed(whole, (hours, predicted, labelled))
        again = followed(Labelling(whole.state), (hours, predicted, labelled))
        assert again.standing(needed) == whole.standing(needed)


@pytest.mark.parametrize("needed", [False, True])
def test_what_was_never_looked_at_is_not_called_known(needed: bool) -> None:
    assert Labelling().standing(needed) in (Labels.NONE, Labels.WAITING)
