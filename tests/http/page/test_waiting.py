"""A model that waits for a partition shows it, in the fleet and on its own page."""

import orjson
import pytest

from stream.http.page import fleet, model
from stream.http.page.history import History
from stream.topics.views import Views
from tests.http.page.sample_views import NOW_MS

WAITING = {"partition": "inference-events/2", "behind_ms": 12_000}
SENTENCE = "waiting for inference-events/2, 12 s behind"


@pytest.mark.parametrize("state", ["stable", "learning", "blind"])
@pytest.mark.parametrize("waiting", [WAITING, None])
def test_what_holds_a_model_back_is_shown(state: str, waiting: dict[str, object] | None) -> None:
    detail = {
        "model": "m", "version": "1", "segment": None, "state": state, "events": 5, "last_event_ms": NOW_MS,
        "features": [], "waiting_for": waiting,
    }  # fmt: skip
    views, history = Views(), History()
    views.apply_view(b"m", orjson.dumps(detail))
    _, listed = fleet.render(views, history, {}, NOW_MS)
    _, page = model.render(detail, views, history, {}, NOW_MS, writable=False)
    assert (SENTENCE in str(listed)) == (waiting is not None)
    assert (SENTENCE in str(page)) == (waiting is not None)
