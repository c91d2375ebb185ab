"""Any bytes are accepted, or refused with a reason, and never crash. ``make fuzz`` tries a million inputs."""

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import http
from tests.fuzz.mutate import mutated
from tests.fuzz.run import all_targets, fuzz_one, table
from tests.fuzz.targets import Target

SHORT = {
    "decoder": 6_000,
    "formats": 4_000,
    "labels": 2_000,
    "checkpoints": 1_000,
    "references": 500,
    "judge snapshots": 500,
    "settings": 300,
    "requests": 1_000,
    "topics": 1_000,
}

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
fields = ("id", "model", "version", "ts", "features", "prediction", "scores", "segment", "latency_ms", "error", "env")


@pytest.fixture(scope="module")
def targets() -> Iterator[dict[str, Target]]:
    """Not the module's own: Hypothesis would hold them to the process' end, where nanobind misses their sketches."""
    with all_targets() as made:
        assert {target.name for target in made} == set(SHORT)
        yield {target.name: target for target in made}


@pytest.mark.parametrize("name", sorted(SHORT))
def test_broken_inputs_are_accepted_or_refused_with_a_reason(targets: dict[str, Target], name: str) -> None:
    seed = 1  # the same each time; ``make fuzz`` looks for new findings
    report = fuzz_one(targets[name], SHORT[name], seed)
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
def test_any_json_is_an_event_or_a_dead_letter(targets: dict[str, Target], value: object) -> None:
    targets["decoder"].run(json.dumps(value).encode())


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_are_an_event_or_a_dead_letter(targets: dict[str, Target], data: bytes) -> None:
    targets["decoder"].run(data)


@settings(deadline=None, max_examples=100)
@given(st.randoms(use_true_random=False))
def test_mutations_keep_within_bounds(targets: dict[str, Target], chance: object) -> None:
    assert len(mutated(chance, targets["decoder"].corpus)) <= 1 << 16  # type: ignore[arg-type]
