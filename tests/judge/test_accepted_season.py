"""An accepted present of a stream with a daily season: hours that it does not contain are not reported as a change; a
real change still is."""

from typing import Any

import msgspec
import numpy as np
import pytest

from detectors.incidents.incident import Change
from detectors.reference import accepted
from detectors.reference import reference as references
from detectors.reference.builder import build_reference
from detectors.reference.reference import Reference
from stream.judge.effects import DriftEvent, ReferenceBuilt
from stream.judge.judge import Judge
from stream.topics.drift_events import EventType
from stream.topics.requests import SCHEMA, IncidentRequest
from tests.judge.shards import MiniShard
from tests.settings.defaults import judge_settings

HOUR_MS = 3_600_000
START_MS = 1_763_683_200_000  # midnight UTC
DAYS = 20
LOOK_MS, EVENTS = 1_800_000, 100


def columns(rng: np.random.Generator, at_ms: Any, shift: float) -> dict[str, Any]:
    """A sine of one sigma over the day, and a category that is frequent in the second half of it."""
    at_ms = np.asarray(at_ms)
    wave = np.sin(2 * np.pi * at_ms / (24 * HOUR_MS))
    late = rng.random(len(at_ms)) < 0.5 - 0.3 * wave
    return {
        "load": np.sqrt(2) * wave + rng.normal(size=len(at_ms)) + shift,
        "kind": np.where(late, "b", "a").tolist(),
    }


@pytest.fixture(scope="module")
def reference() -> Reference:
    times = START_MS - DAYS * 24 * HOUR_MS + np.arange(DAYS * 24 * 40) * (HOUR_MS // 40)
    return build_reference("m", "1", columns(np.random.default_rng(1), times, 0.0), timestamps_ms=times)


class Stream:
    """A judge with every stratum kept, and one shard."""

    def __init__(self, reference: Reference) -> None:
        self.rng = np.random.default_rng(2)
        self.judge = Judge(judge_settings(strata_kept=24), [reference])
        self.shard = MiniShard(reference)
        self.now_ms = START_MS

    def play(self, hours: float, shift: float) -> list[Any]:
        effects: list[Any] = []
        for _ in range(int(hours * HOUR_MS / LOOK_MS)):
            times = self.now_ms + np.arange(EVENTS) * (LOOK_MS // EVENTS)
            self.now_ms += LOOK_MS
            effects += self.judge.on_profile(self.shard.add(columns(self.rng, times, shift), int(times[-1])), 0)
        return effects

    def follow(self, reference: Reference) -> None:
        old = self.shard
        self.shard = MiniShard(reference, 0, old.events, old.events_before + old.events)


def opened(effects: list[Any]) -> list[dict[str, Any]]:
    return [e.data for e in effects if isinstance(e, DriftEvent) and e.kind is EventType.INCIDENT_OPENED]


def accept(reference: Reference) -> tuple[Stream, Reference]:
    """A day without a change, then a shift of six sigma, which is accepted as soon as it is found, in the afternoon."""
    stream = Stream(reference)
    assert not opened(stream.play(24 + 14, 0.0))
    [incident] = opened(stream.play(4, 6.0))
    stream.judge.act(IncidentRequest(SCHEMA, "1", incident["id"], Change.ACCEPT, "ann", stream.now_ms))
    [built] = [e.reference for e in stream.play(4, 6.0) if isinstance(e, ReferenceBuilt)]
    return stream, built


def test_hours_that_an_accepted_present_did_not_see_are_no_change_and_another_change_is_found(
    reference: Reference,
) -> None:
    stream, built = accept(reference)
    stream.follow(built)
    assert opened(stream.play(5 * 24, 6.0)) == []
    view = stream.judge.model_view(stream.shard.profile().unit)
    assert (view["season_covered"], view["reference"]["source"]["season"]) == (True, "as before")
    [found] = opened(stream.play(12, 12.0))
    assert [f["feature"] for f in found["features"]] == ["load"]


def test_without_the_old_season_the_next_hours_would_be_a_change(reference: Reference) -> None:
    stream, built = accept(reference)
    bare = msgspec.structs.replace(
        built, features=[msgspec.structs.replace(f, strata=[], rank_error=0.0) for f in built.features]
    )
    stream.judge.on_reference(bare)
    stream.follow(bare)
    assert opened(stream.play(24, 6.0))


def test_an_hours_shares_are_those_of_the_stream_that_moved(reference: Reference) -> None:
    """Within the range of the accepted hours; values beyond it are counted at its ends."""
    _, built = accept(reference)
    assert references.decode(references.encode(built)).digest == built.digest
    rng = np.random.default_rng(8)
    for hour in range(24):
        times = START_MS + hour * HOUR_MS + np.arange(20_000) * (HOUR_MS // 20_000)
        true = columns(rng, times, 6.0)
        for feature in built.features:
            assert feature.tau == 1.0
            stratum = feature.strata[hour]
            assert sum(stratum.counts) == pytest.approx(feature.present, abs=2)
            shares = np.array(stratum.counts) / feature.present
            if feature.edges:
                below = np.searchsorted(np.sort(true["load"]), feature.edges) / 20_000
                assert np.abs(np.cumsum(shares)[:-1] - below).max() <= feature.rank_error + 0.05
            else:
                own = [np.mean(np.array(true["kind"]) == category) for category in feature.categories]
                assert np.abs(shares[: len(own)] - own).max() <= feature.rank_error + 0.05


def test_without_a_season_dependence_is_copied_as_it_is() -> None:
    rng = np.random.default_rng(5)
    reference = build_reference("m", "1", {"x": np.cumsum(rng.normal(size=4_000)) / 10})
    [old] = reference.features
    made = accepted._dependence(old, msgspec.structs.replace(old, tau=1.0, tau_within=0.0, reach=[]), None, 0.0)
    assert (made.tau, made.tau_within, made.strata, made.rank_error) == (old.tau, old.tau_within, [], 0.0)
    assert len(made.reach) == len(old.reach)
