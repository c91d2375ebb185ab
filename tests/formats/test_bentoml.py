"""Records of BentoML's OTLP monitor."""

import json
from typing import Any

from detectors.features import UnitKey
from stream.formats.row import Row
from tests.formats.contract import NOW_MS, Cases, Sample


def about(**roles: str) -> dict[str, Any]:
    return {
        "bento_name": "m",
        "bento_version": "3",
        "schema": {name: {"name": name, "role": role, "type": "numerical"} for name, role in roles.items()},
    }


def sample(**value: Any) -> Sample:
    return Sample(json.dumps(value).encode())


UNIT = UnitKey("m", "3", None)
META = about(x="feature", pred="prediction", p="prediction", y="target")
CASES = Cases(
    accepted={
        "roles": (
            sample(
                x=1.5, pred="a", p=0.5, y="b", timestamp=NOW_MS / 1000, request_id="7", trace_id="0", bento_meta=META
            ),
            [Row(UNIT, NOW_MS, False, "7", {"x": 1.5, "@prediction": "a", "@score.p": 0.5}, None)],
        ),
        "no request": (
            sample(x=1.5, request_id="None", bento_meta=META),
            [Row(UNIT, NOW_MS, False, None, {"x": 1.5}, None)],
        ),
    },
    broken={
        "no name": (sample(x=1, bento_meta={}), "no text as bento_name"),
        "a schema line": (sample(meta_data={}, columns=[]), "a schema line, which is not read"),
    },
)
