"""Whatever bytes come: accepted, or refused with a reason; never a crash. ``make fuzz`` tries a million."""

import json
import secrets
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import http
from tests.fuzz.mutate import mutated
from tests.fuzz.run import all_targets, fuzz_one, table
from tests.fuzz.targets import Target

SHORT = {
    "decoder": 6_000,
    "labels": 2_000,
    "checkpoints": 1_000,
    "references": 500,
    "judge snapshots": 500,
    "settings": 300,
    "requests": 1_000,
    "topics": 1_000,
}
TARGETS = all_targets()

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
fields = ("id", "model", "version", "ts", "features", "prediction", "scores", "segment", "latency_ms", "error", "env")


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_broken_inputs_are_accepted_or_refused_with_a_reason(target: Target) -> None:
    seed = 1  # the same each time: what is new is looked for by ``make fuzz``
    report = fuzz_one(target, SHORT[target.name], seed)
    assert not report.findings, f"seed {seed}\n{table([report])}"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SHORT))
def test_inputs_chosen_by_coverage_are_accepted_or_refused_with_a_reason(name: str) -> None:
    pytest.importorskip("atheris", reason="left out for want of atheris, which is the extra 'fuzz'")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", name, "1000"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


async def test_broken_requests_are_answered_and_the_next_one_is_served() -> None:
    seed = secrets.randbelow(1 << 32)
    _, findings = await http.fuzz(300, seed)
    assert not findings, f"seed {seed}: {findings[:3]}"


@settings(deadline=None, max_examples=200)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(fields, plain)) | plain)
def test_any_json_is_an_event_or_a_dead_letter(value: object) -> None:
    TARGETS[0].run(json.dumps(value).encode())


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_are_an_event_or_a_dead_letter(data: bytes) -> None:
    TARGETS[0].run(data)


@settings(deadline=None, max_examples=100)
@given(st.randoms(use_true_random=False))
def test_mutations_keep_within_bounds(chance: object) -> None:
    assert len(mutated(chance, TARGETS[0].corpus)) <= 1 << 16  # type: ignore[arg-type]
