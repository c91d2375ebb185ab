"""With any process killed, frozen or restarted, nothing is lost, counted twice, or published with two contents."""

import secrets
from pathlib import Path

import pytest

from tests.chaos.run import chaos, table
from tests.kafka.server import Server


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_faults_change_no_number(restartable_kafka: Server, tmp_path: Path) -> None:
    outcome = await chaos(restartable_kafka, tmp_path, short=True, seed=secrets.randbelow(1_000_000))
    report = f"seed {outcome.seed}\n{table(outcome)}"
    assert outcome.verdict.good, report
