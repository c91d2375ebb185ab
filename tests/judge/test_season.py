"""What is known of a unit's season: the sentence, what an incident was unlike, and whole weeks unlike training."""

import re
from typing import Any

import numpy as np
import pytest

from detectors.columns import Floats
from detectors.evidence.sheets import EvidenceSettings, Sheets
from detectors.evidence.sizes import Yardstick
from detectors.evidence.watch import Watch
from detectors.incidents import unlike
from detectors.reference.builder import build_reference
from stream.judge import feature_rows
from stream.judge.season import ALIKE, OF_REFERENCE, season
from tests.evidence.test_explanations import (
    DAY_MS,
    Stream,
    dependent,
    independent,
    looks,
    office,
    sessions,
    shuffled,
    sine,
    times,
    watch_on,
)


def judged(watch: Watch, values: Floats, days: float, seconds: int = 320) -> list[dict[str, Any]]:
    """Judges the first days of a stream; the rows of the incidents' features."""
    rows = []
    at = times(days)
    for counts, now_ms, end in looks(watch, values[: len(at)], at, seconds):
        for feature in watch.look(counts, now_ms, end).fired:
            sizes, symptom, _ = watch.present(feature)
            rows.append(feature_rows.incident_feature(watch, feature, sizes, symptom))
    return rows


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (0.5, r"not known yet \(day 1 of 8\): sudden changes are reported, slow ones from 13 January 1970 on"),
        (5.5, r"not known yet \(day 6 of 8\), and it is known how this time of the day usually moves: sudden .*"),
        (9.5, r"known from 9 days: hours are compared with the same hours"),
        (15.5, r"known from 15 days, weekends apart: hours are compared with the same hours"),
    ],
)
def test_the_season_of_a_stream_is_a_sentence_that_names_what_is_not_judged_yet(days: float, text: str) -> None:
    watch = watch_on(shuffled(independent, 3))
    judged(watch, independent(np.random.default_rng(7), times(16)), days)
    found = season(watch)
    assert found is not None
    assert re.fullmatch(text, found.text)
    assert (found.source, found.known) == ("stream", days > 8)


def test_a_season_of_the_reference_and_none_have_sentences_too() -> None:
    assert season(None) is None
    assert season(watch_on(shuffled(independent, 3), "none")) == ALIKE
    at = times(20)
    reference = build_reference("m", "1", {"x": sine(np.random.default_rng(1), at)}, timestamps_ms=at)
    sheets = Sheets(reference.features, EvidenceSettings(1.0, 0.02, 4.5, event_times="all"))
    assert season(Watch(sheets, [Yardstick(sheets.layout, 0)], 1_000)) == OF_REFERENCE


def test_an_incident_says_what_its_features_were_unlike() -> None:
    at = times(12)
    values = independent(np.random.default_rng(7), at)
    values[at >= at[0] + 10 * DAY_MS] += 1.0
    [row] = judged(watch_on(shuffled(independent, 3)), values, 12)
    assert row["unlike_days"] == 10
    words = unlike.in_words(row["unlike"], row["unlike_days"])
    assert "unlike this hour on 10 earlier days" in words
    without = judged(watch_on(shuffled(independent, 3), "none"), values, 12)
    assert without
    assert "unlike" not in without[0]


@pytest.mark.parametrize("stream", [independent, sine, office, dependent, sessions], ids=lambda stream: stream.__name__)
def test_whole_weeks_that_differ_from_training_are_a_skew_from_the_ninth_day_on(stream: Stream) -> None:
    values, watch = stream(np.random.default_rng(7), times(10)) + 0.5, watch_on(shuffled(stream, 3))
    judged(watch, values, 7.9)
    assert watch.skew(0) is None
    watch = watch_on(shuffled(stream, 3))
    judged(watch, values, 9.0 if stream is not sessions else 10.0)
    found = watch.skew(0)
    assert found is not None
    assert 0.3 < found < 0.6


@pytest.mark.parametrize("stream", [independent, sine, office, dependent, sessions], ids=lambda stream: stream.__name__)
def test_weeks_as_in_training_are_no_skew(stream: Stream) -> None:
    watch = watch_on(shuffled(stream, 3))
    judged(watch, stream(np.random.default_rng(9), times(10)), 10.0)
    assert watch.skew(0) is None


def test_a_reference_of_the_stream_itself_has_no_training_to_be_unlike() -> None:
    values = independent(np.random.default_rng(7), times(10))
    reference = build_reference("m", "1", {"x": values[:5_000] - 0.5})
    sheets = Sheets(reference.features, EvidenceSettings(1.0, 0.02, 4.5, event_times="all"), own=True)
    watch = Watch(sheets, [Yardstick(sheets.layout, 0)], 1_000)
    judged(watch, values, 9.5)
    assert watch.skew(0) is None
