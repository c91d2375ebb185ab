"""A unit as the JSON that HTTP, page and metrics show: its summary and its features."""

from typing import Any

import msgspec
import numpy as np

from detectors import merging
from detectors.evidence.watch import Watch, shown
from detectors.features import Kind
from detectors.incidents.states import State
from detectors.merging import Total
from detectors.reference import transform
from detectors.sketches.moments import mean_and_std
from stream.judge import environment, season
from stream.judge.feature_rows import sizes_of
from stream.judge.frontier import NOWHERE
from stream.judge.look import Look
from stream.judge.unit import UnitJudge
from stream.topics.generations import INTERRUPTIONS
from stream.topics.requests import ForgetRequest

Json = dict[str, Any]
SIGNALS_SHOWN = 20


def model_view(judge: UnitJudge) -> Json:
    """The model's detail. Cost: about 2 ms for 20 features."""
    look, standing = judge.look, judge.standing
    watch, reference = look.watch, look.reference
    totals = merging.totals(look.present)
    features = [_feature(total, watch) for total in totals]
    drifted = [] if watch is None else [watch.sheets.layout.names[f] for f in _strongest(watch) if f in watch.probes]
    outcome = outcome_row(judge)
    if outcome is not None and outcome["drifted"]:
        drifted.append(outcome["feature"])
    worst = None
    if watch is not None and len(watch.feature_log10) and np.isfinite(watch.feature_log10.max()):
        worst = watch.sheets.layout.names[int(watch.feature_log10.argmax())]
    if outcome is not None and watch is not None and outcome["evidence_log10"] > watch.feature_log10.max(initial=-9.0):
        worst = outcome["feature"]
    newest = judge.shards.newest
    last = [p.last_timestamp_ms for p in newest.values() if p.last_timestamp_ms is not None]
    return {
        "model": judge.unit.model,
        "version": judge.unit.version,
        "segment": judge.unit.segment,
        "state": standing.state,
        "reason": standing.reason(look),
        "events": look.events,
        "epoch_events": look.epoch_events,
        "last_event_ms": max(last, default=None),
        "evidence_log10": None if watch is None else shown(judge.outcomes.model_log10(watch)),
        "threshold_log10": None if watch is None else round(watch.evidence.threshold_log10, 3),
        "worst_feature": worst,
        "drifted_features": drifted,
        "features": features,
        "outcome": outcome,
        "evidence_history": [list(point) for point in judge.current.history.points],
        "season": season.as_json(season.season(watch)), "season_covered": look.season_covered,
        "moved_while_learned": look.moved_while_learned,
        "forgotten": None if standing.forgotten is None else _forgotten(standing.forgotten),
        "reference": None
        if reference is None
        else {"digest": look.digest, "rows": reference.rows, "source": reference.source},
        "learning_events_wanted": judge.learning.wanted if look.digest is None else None,
        "environment_differences": [msgspec.to_builtins(d) for d in environment.differences(look)],
        "retrain_log": judge.retraining.log,
        "signals": _signals(look),
        "shards": {
            name: {"next_offset": p.next_offset, "events": p.events, "late": p.late, "duplicate": p.duplicate}
            for name, p in sorted(newest.items())
        },
        **_counted(look),
        **_sight(judge),
        **judge.outcomes.view(),
    }  # fmt: skip


def _quarantined(judge: UnitJudge) -> Json | None:
    """Where and why the unit is in quarantine, and how many of its events were ignored; None while it is in none."""
    held = judge.standing.quarantines
    if not held.faulty:
        return None
    found = [(place, one) for place, one in sorted(held.places.items()) if not one.limit]
    places = {place: {"reason": one.reason, "ignored": one.ignored} for place, one in found}
    return {"ignored": sum(one.ignored for _, one in found), "places": places}


def _refused(judge: UnitJudge) -> Json | None:
    """The limit for which the unit was refused a place, and how many of its events were ignored; None if it was not."""
    held = judge.standing.quarantines
    if held.refused is None:
        return None
    return {"limit": held.refused, "ignored": sum(one.ignored for one in held.places.values() if one.limit)}


def _forgotten(request: ForgetRequest) -> Json:
    """Who last asked to forget the unit. It stays there when the unit sends events again."""
    return {"by": request.by, "at_ms": request.at_ms, "note": request.note}


def _sight(judge: UnitJudge) -> Json:
    """``quarantined``: where and why the unit is in quarantine; null while it is in none. ``refused``: the limit for
    which there is no place for it; null while it has one. ``waiting_for``: the partition that the unit waits for, and
    how far that is behind in event time, null where it was never read. ``judged_ms``: event time up to which it was
    judged. ``behind``: profiles that came for slots which were judged already. ``quiet``: event times of the newest
    event and of the usual end of the silence, null where that is not known."""
    slots, waiting, sight = judge.shards.slots, judge.standing.sight.waiting, judge.standing.sight
    quiet = sight.quiet if judge.standing.state == State.QUIET else None
    return {
        "quiet": quiet and {"since_ms": sight.activity.newest_ms, "expected_ms": quiet.expected_ms},
        "quarantined": _quarantined(judge),
        "refused": _refused(judge),
        "waiting_for": None if waiting is None else {"partition": waiting.partition, "behind_ms": waiting.behind_ms},
        "judged_ms": judge.look.clock_ms if slots.looked_ms == NOWHERE else slots.looked_ms,
        "behind": slots.behind,
    }


def outcome_row(judge: UnitJudge) -> Json | None:
    """The outcomes as a row of the features' form; None while their reference is learned."""
    watch = judge.outcomes.watch.watch
    if watch is None:
        return None
    reference = watch.yardsticks[0].feature
    sizes, symptom, values = watch.present(0)
    return {
        "feature": reference.feature,
        "kind": reference.kind.value,
        "evidence_log10": watch.evidence_of(0),
        "threshold_log10": round(watch.evidence.blame_log10, 3),
        **sizes_of(sizes),
        "mean": symptom.mean,
        "reference_mean": symptom.reference_mean,
        "count": judge.outcomes.watch.judged.rows,
        "missing": 0,
        "invalid": judge.outcomes.watch.judged.invalid,
        "reference_labels": reference.rows,
        "tau": reference.tau,
        "drifted": 0 in watch.probes,
        "reference_histogram": watch.yardsticks[0].reference_histogram,
        "histogram": watch.yardsticks[0].histogram(values),
    }


def _strongest(watch: Watch) -> list[int]:
    return [int(f) for f in np.argsort(-watch.feature_log10, kind="stable")]


def _signals(look: Look) -> list[Json]:
    every = [msgspec.to_builtins(signal) for profile in look.present for signal in profile.signals]
    every.sort(key=lambda row: (row["timestamp_ms"], row["feature"], row["event"]))
    return [{**row, "at_event": row["event"]} for row in every[-SIGNALS_SHOWN:]]


def _counted(look: Look) -> dict[str, dict[str, int]]:
    """By name how often limits were reached (``suppressed``), and what happened to topics and checkpoints
    (``interruptions``), over all partitions."""
    found: dict[str, dict[str, int]] = {"suppressed": {}, "interruptions": {}}
    for profile in look.present:
        for name, count in profile.suppressed.items():
            own = found["interruptions" if name in INTERRUPTIONS else "suppressed"]
            own[name] = own.get(name, 0) + count
    return found


def _feature(total: Total, watch: Watch | None) -> Json:
    index = None if watch is None else watch.sheets.layout.index.get(total.feature)
    row: Json = {
        "feature": total.feature,
        "kind": total.kind.value,
        "count": total.count,
        "missing": total.missing,
        "invalid": total.invalid,
        "unexpected": total.unexpected,
        "mean": None,
        "std": None,
        "minimum": total.minimum,
        "maximum": total.maximum,
        "evidence_log10": None,
        "smallest_shift": None,
        "psi": None,
        "wasserstein": None,
        "kolmogorov_smirnov": None,
        "jensen_shannon": None,
        "reference_histogram": None,
        "histogram": None,
        "drifted": False,
    }
    if total.m2 is not None and total.mean is not None and total.count:
        row["mean"], row["std"] = total.mean, (total.m2 / total.count) ** 0.5
    if watch is None or index is None:
        return row
    yardstick = watch.yardsticks[index]
    reference = yardstick.feature
    if reference.kind is not total.kind:
        return row
    if total.kind is Kind.NUMERIC and total.sum1 is not None and total.sum2 is not None:
        centre, scale = transform.centre_and_scale(reference)
        row["mean"], row["std"] = mean_and_std(total.count, total.sum1, total.sum2, centre, scale)
    return {**row, **_judged(watch, index)}


def _judged(watch: Watch, index: int) -> Json:
    """The members of a feature's row that follow from its evidence and from the present compared with the reference."""
    yardstick = watch.yardsticks[index]
    reference = yardstick.feature
    sizes, symptom, values = watch.present(index)
    shifts = reference.kind is Kind.NUMERIC and not reference.identifier
    return {
        **sizes_of(sizes),
        "evidence_log10": watch.evidence_of(index),
        "threshold_log10": round(watch.evidence.blame_log10, 3),
        "reference_mean": reference.mean,
        "reference_std": reference.std,
        "reference_missing": symptom.reference_missing_share,
        "recent_missing": symptom.missing_share,
        "tau": round(watch.factor(index), 3),
        "smallest_shift": _rounded(watch.smallest_shift(index)) if shifts else None,
        "skew": _rounded(watch.skew(index)),
        "days": None if (band := watch.day_band(index)) is None else msgspec.structs.asdict(band),
        "identifier": reference.identifier,
        "drifted": index in watch.probes,
        "reference_histogram": yardstick.reference_histogram,
        "histogram": yardstick.histogram(values),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
