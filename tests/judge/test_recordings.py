"""The judge returns what it returned when the recording was made. ``python -m tests.judge.record`` makes a new one."""

import copy
from collections import Counter

import pytest

from stream.judge.settings import JudgeSettings
from tests.judge import recordings
from tests.judge.recordings import Player, Step


@pytest.fixture(scope="module")
def steps() -> list[Step]:
    return recordings.read()


def settings(steps: list[Step]) -> JudgeSettings:
    assert steps[0].settings is not None
    return steps[0].settings


def test_effects_states_and_snapshots_are_the_recorded_ones(steps: list[Step]) -> None:
    player = Player(settings(steps))
    for number, step in enumerate(steps[1:], 1):
        found = player.play(step)
        for name in ("effects", "states", "snapshots"):
            wrong = list(recordings.differences(getattr(step, name), getattr(found, name), f"step {number}: {name}"))
            assert not wrong, wrong[:5]


def test_the_recording_holds_what_a_judge_can_be_asked_and_can_return(steps: list[Step]) -> None:
    ops = Counter(step.op for step in steps)
    assert ops.keys() == {"settings", "reference", "profiles", "tick", "act", "forget", "restart", "snapshots"}
    assert {step.late for step in steps if step.op == "restart"} == {True, False}
    effects = [effect for step in steps for effect in step.effects]
    assert {name for effect in effects for name in effect} >= {"event", "incident", "reference", "retrain"}
    incidents = [effect["data"] for effect in effects if "incident" in effect]
    assert {i["kind"] for i in incidents} == {"feature", "performance", "environment"}
    assert {i["resolution"] for i in incidents} == {
        None, "back-to-reference", "reference-changed", "accepted", "by-hand",
    }  # fmt: skip
    states = {state for step in steps for state in step.states.values()}
    assert states == {"learning", "stable", "warning", "drift", "blind", "forgotten"}
    assert sum("retrain" in effect and effect["retrain"] == "requested" for effect in effects) >= 2


def test_a_difference_is_seen(steps: list[Step]) -> None:
    last = steps[-1].snapshots
    changed = copy.deepcopy(last)
    assert not list(recordings.differences(last, changed))
    unit = next(name for name, one in changed.items() if one["watch"] is not None)
    changed[unit]["watch"]["evidence"]["since"] = "AAAA" + changed[unit]["watch"]["evidence"]["since"][4:]
    changed[unit]["clock_ms"] += 1
    assert len(list(recordings.differences(last, changed))) >= 1
