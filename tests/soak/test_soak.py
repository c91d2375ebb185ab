"""A short soak: everything is counted, nothing is logged as a warning, no thread and no file is left over."""

from pathlib import Path

import pytest

from tests.kafka.server import Server
from tests.soak.run import soak, table


@pytest.mark.kafka
@pytest.mark.slow
async def test_models_come_and_go_without_leaving_anything(restartable_kafka: Server, tmp_path: Path) -> None:
    result = await soak(restartable_kafka, tmp_path, seconds=45, per_second=200, seed=1)
    faults = [fault for fault in result.faults if not fault.startswith("memory")]  # the run is too short to decide this
    assert not faults, table(result)
