"""The model of judging by event time holds, and each of its rules is needed."""

import dataclasses
import random

import pytest

from tests.simulation.event_time.model import Rules, differing

SEEDS = 12


def test_looks_are_those_of_the_ordered_run_whatever_fails() -> None:
    assert list(differing(range(SEEDS))) == []


def test_the_same_for_logs_that_chance_picks() -> None:
    first = random.SystemRandom().randrange(1_000_000)
    assert list(differing(range(first, first + 2))) == [], f"seeds from {first}"


@pytest.mark.parametrize("rule", [rule.name for rule in dataclasses.fields(Rules)])
def test_each_rule_is_needed(rule: str) -> None:
    assert next(differing(range(SEEDS), Rules(**{rule: False})), None) is not None
