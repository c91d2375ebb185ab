"""The outcomes of shards in the judge, and the metrics of them."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest
from prometheus_client import generate_latest

from detectors.errors import SettingsError
from detectors.features import UnitKey
from detectors.incidents.incident import Change
from detectors.outcomes import HOUR_MS, NOTHING, Outcomes, Tally, compared
from detectors.performance.label_arrival import Labels
from detectors.performance.outcome_watch import OutcomeWatch
from detectors.profiles import SCHEMA, Epoch, Profile
from detectors.reference.builder import build_reference
from stream.http.page import outcomes as page
from stream.http.page import units
from stream.judge import settings as of_judge
from stream.judge.effects import DriftEvent, Effect, Health
from stream.judge.judge import Judge
from stream.judge.outcomes import Objective, OutcomeLog, OutcomeRules
from stream.metrics.models import ModelFamilies
from stream.metrics.outcomes import OutcomeFamilies
from stream.metrics.registry import Metrics
from stream.settings import settings as config
from stream.topics import requests
from stream.topics.drift_events import EventType
from stream.topics.schemas import RetrainRequest
from stream.topics.views import Views
from tests.settings.defaults import evidence_settings, judge_settings

UNIT = UnitKey("fraud", "3", None)
REFERENCE = build_reference("fraud", "3", {"x": ["a", *[None] * 9_999]})
EPOCH = Epoch(REFERENCE.digest, "s", 0)
RULES = OutcomeRules(objectives=(Objective("accuracy", 0.9), Objective("latency", 0.5, 10.0)))


def profile(next_offset: int, labels_next: int, right: int, wrong: int, partition: int = 0, hour: int = 500) -> Profile:
    tally = Tally(events=next_offset, timed=next_offset, in_time=next_offset // 2, predicted=next_offset)
    for n in range(right + wrong):
        tally = tally.plus(compared("a", "a" if n < right else "b", 60_000))
    outcomes = Outcomes(tally, {hour: tally}, labels_next)
    return Profile(
        SCHEMA, *UNIT, "inference-events", partition, Epoch(None, "s", 0), next_offset, next_offset, next_offset, [],
        outcomes=outcomes,
    )  # fmt: skip


def seen(*profiles: Profile) -> dict[str, Any]:
    log = OutcomeLog(RULES, 86_400_000, OutcomeWatch(evidence_settings(), 1_000))
    for one in profiles:
        log.fold_in(one)
    return log.view()


def test_shards_add_up_and_a_record_that_comes_again_changes_nothing() -> None:
    two = seen(profile(10, 5, 4, 1), profile(20, 5, 1, 4, partition=1))
    again = seen(profile(20, 5, 1, 4, partition=1), profile(10, 5, 4, 1), profile(10, 5, 4, 1))
    assert two == again
    assert two["performance"]["measures"] == {"accuracy": 0.5}
    assert [(row["good"], row["events"]) for row in two["objectives"]] == [(5, 10), (15, 30)]


def test_a_restored_shard_counts_again_when_it_has_read_both_logs_as_far_as_before() -> None:
    before = profile(10, 50, 4, 1)
    behind_in_labels, behind_in_events = profile(12, 40, 1, 1), profile(9, 60, 5, 1)
    assert seen(before, behind_in_labels, behind_in_events) == seen(before)
    assert seen(before, behind_in_labels, profile(12, 50, 5, 1)) == seen(profile(12, 50, 5, 1))


def test_recent_is_the_last_day_of_predictions() -> None:
    view = seen(profile(10, 5, 0, 5, hour=500), profile(10, 5, 5, 0, partition=1, hour=540))
    assert view["performance"]["recent"]["measures"] == {"accuracy": 1.0}
    assert [row["from_ms"] // HOUR_MS for row in view["performance"]["history"]] == [500, 540]


def shown(metrics: Metrics, views: Views, view: dict[str, Any]) -> list[str]:
    detail = {"model": "fraud", "version": "3", "segment": None, **view}
    views.apply_view(b"fraud/3/", orjson.dumps(detail))
    return generate_latest(metrics).decode().splitlines()


def test_a_corrected_label_does_not_make_a_counter_fall_and_a_new_beginning_does() -> None:
    views = Views()
    metrics = Metrics([OutcomeFamilies(views, lambda: [UNIT])])
    good = 'driftline_slo_events_total{model="fraud",model_version="3",objective="accuracy",outcome="good",segment=""}'
    values = []
    for right, wrong in ((99, 1), (98, 2), (98, 3), (100, 3), (1, 0)):
        lines = shown(metrics, views, seen(profile(200, 300, right, wrong)))
        values += [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(good)]
    assert values == [99, 99, 99, 100, 1]
    assert (
        'driftline_performance{measure="accuracy",model="fraud",model_version="3",segment="",source="realised"} 1.0'
        in lines
    )


def test_objectives_come_from_the_settings_and_a_wrong_key_names_the_nearest(tmp_path: Any) -> None:
    file = tmp_path / "driftline.yaml"
    file.write_text(
        "models: {fraud: {objectives: {accuracy: {at_least: 0.9}, latency: {at_least: 0.5, below_ms: 10}}}}"
    )
    assert of_judge.judge_settings(config.load(file, {})).outcomes["fraud"] == RULES
    file.write_text("models: {fraud: {objectives: {acuracy: {at_least: 0.9}}}}")
    with pytest.raises(SettingsError, match="accuracy"):
        config.load(file, {})
    file.write_text("models: {fraud: {objectives: {latency: {at_least: 0.9}}}}")
    with pytest.raises(SettingsError, match="below_ms"):
        config.load(file, {})


def test_a_profile_without_outcomes_is_from_before_they_were_counted() -> None:
    old = msgspec.structs.replace(profile(10, 5, 1, 1), outcomes=None)
    view = seen(old)
    assert view["performance"]["task"] is None
    assert view["performance"]["measures"] == {}
    assert NOTHING.labelled == 0


def judged(judge: Judge, moments: Sequence[tuple[int, int, int]], read: int = 0) -> str:
    """The state after each (hours, right, predicted); ``read``: labels that the reading side has read."""
    for hours, right, predicted in moments:
        one = profile(predicted, right, right, 0)
        outcomes = msgspec.structs.replace(one.outcomes, total=one.outcomes.total) if one.outcomes else None
        at_ms = 500 * HOUR_MS + hours * HOUR_MS
        judge.on_profile(msgspec.structs.replace(one, outcomes=outcomes, last_timestamp_ms=at_ms, epoch=EPOCH), at_ms)
        judge.on_tick(at_ms, Health(labels={"fraud": read}))
    return judge.state(UNIT)


@pytest.mark.parametrize(
    ("objectives", "read", "state"),
    [
        ((Objective("accuracy", 0.9),), 0, "blind"),
        ((Objective("latency", 0.9, 10.0),), 0, "stable"),
        ((), 5_000, "blind"),
        ((), 0, "stable"),
    ],
)
def test_a_model_whose_labels_stay_away_is_blind_where_they_are_promised_or_read(
    objectives: tuple[Objective, ...], read: int, state: str
) -> None:
    settings = judge_settings(outcomes={"fraud": OutcomeRules(objectives=objectives)})
    judge = Judge(settings, [REFERENCE])
    assert judged(judge, [(0, 0, 10), (1, 50, 100), (2, 100, 200)]) == "stable"
    assert judged(judge, [(10, 100, 2_000), (30, 100, 5_000)], read) == state
    view = judge.model_view(UNIT)
    assert view["performance"]["labels"] == ("unmatched" if read else "missing")
    assert ("its performance is not known" in view["reason"]) == (state == "blind")
    restored = Judge(settings, [REFERENCE])
    restored.restore(UNIT, judge.snapshot(UNIT))
    assert judged(restored, [(31, 2_000, 5_100)], read) == "stable"


def test_what_is_known_of_labels_stands_in_metrics_and_on_the_page() -> None:
    views = Views()
    metrics = Metrics([OutcomeFamilies(views, lambda: [UNIT])])
    shown_as = {}
    for labels in Labels:
        detail = {"performance": {"labels": labels.value, "labelled": 0}}
        lines = shown(metrics, views, detail)
        shown_as[labels] = [line.rsplit(" ", 1)[1] for line in lines if line.startswith("driftline_performance_known{")]
        assert (page.render(detail) is None) == (labels in (Labels.NONE, Labels.COMING))
    assert shown_as == {
        Labels.NONE: [], Labels.WAITING: [], Labels.COMING: ["1.0"], Labels.UNMATCHED: ["0.0"], Labels.MISSING: ["0.0"],
    }  # fmt: skip


class Labelled:
    """A model of one shard whose labels come with its events, ten at a time, in a judge of its own."""

    def __init__(self, objectives: tuple[Objective, ...] = ()) -> None:
        self.settings = judge_settings(
            outcomes={"fraud": OutcomeRules(objectives=objectives)}, resolve_after_events=200
        )
        self.judge, self.random = Judge(self.settings, [REFERENCE]), np.random.default_rng(1)
        self.right = self.wrong = 0

    def go(self, labels: int, share: float) -> list[Effect]:
        effects: list[Effect] = []
        for _ in range(0, labels, 10):
            hits = int((self.random.random(10) < share).sum())
            self.right, self.wrong = self.right + hits, self.wrong + 10 - hits
            count = self.right + self.wrong
            one = Profile(
                SCHEMA, *UNIT, "inference-events", 0, EPOCH, count, count, count, [], last_timestamp_ms=1_000 * count,
                outcomes=outcomes_of(self.right, self.wrong),
            )  # fmt: skip
            effects += self.judge.on_profile(one, 1_000 * count)
        return effects

    def restart(self) -> None:
        blob = self.judge.snapshot(UNIT)
        self.judge = Judge(self.settings, [REFERENCE])
        self.judge.restore(UNIT, blob)

    def incident(self) -> dict[str, Any]:
        (found,) = self.judge.incidents()
        return found


def outcomes_of(right: int, wrong: int) -> Outcomes:
    hit, miss = compared("a", "a", 0), compared("a", "b", 0)
    total = Tally(
        *(
            r * right + w * wrong
            for r, w in zip(msgspec.structs.astuple(hit), msgspec.structs.astuple(miss), strict=True)
        )
    )
    return Outcomes(msgspec.structs.replace(total, predicted=right + wrong, events=right + wrong), {}, right + wrong)


def asked(effects: list[Effect]) -> list[dict[str, Any]]:
    return [e.data for e in effects if isinstance(e, DriftEvent) and e.kind is EventType.RETRAIN_REQUESTED]


def test_predictions_that_become_wrong_open_an_incident_though_no_feature_moved_and_ask_for_a_retraining() -> None:
    model = Labelled()
    assert not asked(model.go(2_000, 0.9))
    assert model.judge.state(UNIT) == "stable"
    assert not model.judge.incidents()
    model.go(600, 0.6)
    assert model.judge.state(UNIT) == "drift"
    found = model.incident()
    assert (found["kind"], found["verdict"], found["reason"]) == ("performance", "world-changed", "performance-change")
    assert "of its predictions are right" in found["summary"]
    assert [row["feature"] for row in found["features"]] == ["@correct"]
    assert model.judge.model_view(UNIT)["drifted_features"] == ["@correct"]
    view = model.judge.model_view(UNIT)
    assert (view["reason"], view["worst_feature"]) == (found["summary"], "@correct")
    assert view["evidence_log10"] > view["threshold_log10"]
    assert view["evidence_history"][-10][1] > view["threshold_log10"]
    model.restart()
    (request,) = asked(model.go(900, 0.6))
    assert [row["feature"] for row in request["features"]] == ["@correct"]
    msgspec.convert(request, RetrainRequest)
    assert not asked(model.go(1_000, 0.6)), "once an incident"
    model.go(4_000, 0.9)
    assert model.incident()["resolution"] == "back-to-reference"
    assert model.judge.state(UNIT) == "stable"


def test_predictions_that_become_better_open_an_incident_and_ask_for_no_retraining() -> None:
    model = Labelled()
    model.go(1_500, 0.6)
    assert not asked(model.go(2_000, 0.9))
    assert model.incident()["kind"] == "performance"
    assert not model.judge.model_view(UNIT)["retrain_log"]


def did(model: Labelled, change: Change) -> None:
    made = requests.IncidentRequest(requests.SCHEMA, f"a-{change}", model.incident()["id"], change, "ann", 1, "")
    model.judge.act(made)


def test_an_accepted_performance_is_the_reference_from_then_on_and_one_resolved_by_hand_is_found_again() -> None:
    model = Labelled()
    model.go(1_500, 0.9)
    model.go(800, 0.6)
    did(model, Change.ACCEPT)
    model.go(3_000, 0.6)
    assert model.incident()["resolution"] == "accepted"
    assert model.judge.state(UNIT) == "stable"
    model.go(1_000, 0.3)
    assert len(model.judge.incidents()) == 2
    last = model.judge.incidents()[-1]["id"]
    model.judge.act(requests.IncidentRequest(requests.SCHEMA, "by hand", last, Change.RESOLVE, "ann", 1, ""))
    assert model.judge.state(UNIT) == "stable"
    model.go(1_000, 0.3)
    assert [i["status"] for i in model.judge.incidents()] == ["resolved", "resolved", "open"]


def test_the_outcome_has_the_series_and_the_picture_of_a_feature() -> None:
    model = Labelled()
    model.go(1_500, 0.9)
    model.go(800, 0.6)
    views, view = Views(), model.judge.model_view(UNIT)
    views.apply_view(b"fraud/3/", orjson.dumps(view))
    metrics = Metrics()
    metrics.of_models.append(ModelFamilies(views, lambda: [UNIT], lambda _: 1.0, metrics.suppressed, 100, lambda: 0))
    text = generate_latest(metrics).decode()
    labels = 'feature="@correct",model="fraud",model_version="3",segment=""'
    assert f"driftline_feature_drifted{{{labels}}} 1.0" in text
    assert 'driftline_drifted_features{model="fraud",model_version="3",segment=""} 1.0' in text
    (shown_feature,) = [f for f in units.features(view) if f.name == "@correct"]
    assert shown_feature.drifted
    assert units.drawn(shown_feature).present
