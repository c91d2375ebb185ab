"""A retired model is removed everywhere on request, and returns with its counts when it sends events again."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest

from detectors.errors import FormatError
from detectors.features import UnitKey
from stream.topics import keys, requests, schemas
from stream.topics.drift_events import EventType
from stream.topics.record import OutRecord
from stream.topics.requests import ForgetRequest
from tests.http.test_actions import served
from tests.judge.shell.test_desk import UNIT, Run, events
from tests.kafka.server import Cluster
from tests.service.processes import Deployment, WorkerProcess, metric_lines, population

A_DAY_MS = 86_400_000


def word(identifier: str = "f1", unit: UnitKey = UNIT) -> tuple[bytes, bytes]:
    made = ForgetRequest(requests.SCHEMA, identifier, *unit, "ann", 5, "gone")
    return requests.key(made), requests.encode(made)


def states(records: list[OutRecord]) -> list[dict[str, Any]]:
    told = [e for e in events(records, "drift-events") if e["type"] == EventType.MODEL_STATE]
    for event in told:
        msgspec.convert(event["data"], schemas.ModelState)
    return [event["data"] for event in told]


def shown(run: Run) -> list[Any]:
    return [None if v.value is None else orjson.loads(v.value) for v in run.desk.views_due(run.now_ms, 9)]


def test_what_is_forgotten_is_shown_no_more_its_incidents_end_and_it_is_never_blind() -> None:
    run = Run()
    run.looks(5, 0.0)
    run.looks(5, 2.0)
    run.desk.views_due(0, 9)
    run.desk.apply_request(*word())
    records, changed = run.desk.on_tick(run.now_ms)
    [over] = events(list(records), "driftline-incidents")
    assert (over["status"], over["resolution"], over["resolved_by"]) == ("resolved", "by-hand", "ann")
    [state] = states(list(records))
    assert (state["state"], state["previous"], state["reason"]) == ("forgotten", "drift", "ann had it forgotten: gone")
    assert (shown(run), set(changed)) == ([None], {UNIT})
    assert run.desk.on_tick(run.now_ms + A_DAY_MS) == ([], set())
    assert run.metrics.actions.values() == {("m", "forget"): 1}


def test_what_sends_events_again_is_watched_again_with_its_counts_and_says_so() -> None:
    run = Run()
    run.looks(5, 0.0)
    run.desk.apply_request(*word())
    run.desk.on_tick(run.now_ms)
    assert run.desk.on_profile(run.shard.profile(), run.now_ms) == []  # nothing new: delivered again
    [state] = states(run.looks(1, 0.0))
    assert (state["state"], state["previous"]) == ("stable", "forgotten")
    assert state["reason"] == "sends events again after ann had it forgotten"
    [view] = shown(run)
    assert (view["events"], view["forgotten"]) == (1_200, {"by": "ann", "at_ms": 5, "note": "gone"})
    run.desk.apply_request(*word())  # read again
    assert states(list(run.desk.on_tick(run.now_ms)[0])) == []
    run.desk.apply_request(*word("f2"))
    assert [s["state"] for s in states(list(run.desk.on_tick(run.now_ms)[0]))] == ["forgotten"]


@pytest.mark.parametrize("row", ["before", "after"])
def test_it_stays_forgotten_through_a_restart_whether_its_row_was_written_or_not(row: str) -> None:
    run, other = Run(), Run()
    run.looks(5, 0.0)
    before = run.desk.snapshot(UNIT)
    run.desk.apply_request(*word())
    other.desk.apply_request(*word())
    other.desk.restore(UNIT, before if row == "before" else run.desk.snapshot(UNIT))
    told = states(list(other.desk.on_tick(run.now_ms)[0]))
    assert [s["state"] for s in told] == (["forgotten"] if row == "before" else [])
    assert shown(other) == [None]


@pytest.mark.parametrize(("later_ms", "stays"), [(0, True), (1, False)])
def test_a_unit_without_a_row_stays_forgotten_unless_it_has_events_after_the_request(
    later_ms: int, stays: bool
) -> None:
    run, other = Run(), Run()
    run.looks(5, 0.0)
    profile = run.shard.profile()
    at_ms = (profile.last_timestamp_ms or 0) - later_ms
    request = ForgetRequest(requests.SCHEMA, "f1", *UNIT, "ann", at_ms, "gone")
    other.desk.apply_request(requests.key(request), requests.encode(request))
    other.desk.on_profile(profile, run.now_ms)
    assert (shown(other) == [None]) is stays


def test_what_is_forgotten_has_no_part_in_its_models_budget() -> None:
    run = Run()
    run.looks(2, 0.0)
    profile = run.shard.profile()
    segment = UnitKey("m", "1", "s")
    run.desk.on_profile(msgspec.structs.replace(profile, segment="s"), 0)
    run.looks(1, 0.0)
    both = run.desk._judge._units[UNIT].current.sharers
    run.desk.apply_request(*word(unit=segment))
    run.looks(1, 0.0)
    alone = run.desk._judge._units[UNIT].current.sharers
    returning = msgspec.structs.replace(profile, segment="s", events=profile.events + 1, next_offset=9_999)
    run.desk.on_profile(returning, 0)
    assert (both, alone, run.desk._judge._units[segment].current.sharers) == (2, 1, 2)


def test_a_broken_word_is_said_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    run = Run()
    run.desk.apply_request(requests.FORGET_KEY + b"m/1/", b"{}")
    assert run.metrics.errors.value(("actions",)) == 1
    assert "is no request to forget a model" in caplog.text
    with pytest.raises(FormatError, match="schema 2"):
        requests.decode(word()[0], word()[1].replace(b'"schema":1', b'"schema":2'), "here")


async def test_every_segment_or_the_one_that_is_named_is_recorded_with_who_and_why() -> None:
    async with served() as site:
        for segment in (None, "de", "fr"):
            view = {"model": "m", "version": "1", "segment": segment, "state": "blind"}
            site.views.apply_view(keys.unit_key(UnitKey("m", "1", segment)), orjson.dumps(view))

        async def post(path: str, body: Any, token: str = "sesame") -> tuple[int, Any]:
            headers = {"Authorization": f"Bearer {token}"}
            path = f"/api/v1/models/{path}"
            async with site.client.post(path, data=orjson.dumps(body), headers=headers) as response:
                return response.status, orjson.loads(await response.read())

        status, told = await post("m/1/forget", {"by": "ann", "note": "gone", "id": "f1"})
        assert (status, told["segments"], told["id"]) == (202, [None, "de", "fr"], "f1")
        wanted = [ForgetRequest(requests.SCHEMA, "f1", "m", "1", s, "ann", 1_000, "gone") for s in (None, "de", "fr")]
        assert site.recorded == wanted
        assert (await post("m/1/forget?segment=de", {"by": "ann"}))[1]["segments"] == ["de"]
        assert (await post("m/1/forget?segment=", {"by": "ann"}))[1]["segments"] == [None]
        count = len(site.recorded)
        assert (await post("m/2/forget", {"by": "ann"}))[0] == 404
        assert (await post("m/1/forget?segment=uk", {"by": "ann"}))[0] == 404
        assert (await post("m/1/forget", {}))[0] == 400
        assert (await post("m/1/forget", {"by": "ann", "silence_hours": 1}))[0] == 400
        assert (await post("m/1/forget", {"by": "ann"}, "wrong"))[0] == 401
        assert len(site.recorded) == count


@pytest.mark.kafka
async def test_a_retired_model_is_gone_from_page_and_metrics_through_a_kill_and_comes_back_with_its_counts(
    kafka: Cluster, tmp_path: Path
) -> None:
    random = np.random.default_rng(11)
    deployment = Deployment(kafka.bootstrap_servers, tmp_path)
    deployment.let_write()
    await deployment.prepare()
    await deployment.publish_reference("fraud", "3", population(random, 10_000))
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        count = await deployment.publish_events("fraud", "3", population(random, 400))
        worker.until_events("fraud", "3", count)
        assert worker.post("/api/v1/models/fraud/3/forget")[0] == 202
        worker.until(lambda: worker.model("fraud", "3") is None, "the model's end")
        assert not list(metric_lines(worker.get("/metrics"), "model_state"))
        worker.kill()
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        # It was killed before some records were acknowledged, and reads these again, perhaps with the forget request.
        worker.until(lambda: worker.model("fraud", "3") is None, "the model's end, again")
        count += await deployment.publish_events("fraud", "3", population(random, 100))
        detail = worker.until_events("fraud", "3", count)
        assert detail["forgotten"]["by"] == "ann"
    [word] = await deployment.read_all("actions")
    assert (word["by"], word["model"], requests.SCHEMA) == ("ann", "fraud", word["schema"])


@pytest.mark.kafka
async def test_red_eleventh_version_is_blind_with_its_limit_until_a_forgotten_one_gives_it_its_place(
    kafka: Cluster, tmp_path: Path
) -> None:
    random = np.random.default_rng(11)
    deployment = Deployment(kafka.bootstrap_servers, tmp_path, limits={"versions_per_model": 2})
    deployment.let_write()
    await deployment.prepare()
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        for version in ("1", "2"):
            count = await deployment.publish_events("m", version, population(random, 200))
            worker.until_events("m", version, count)
        await deployment.publish_events("m", "3", population(random, 400))
        detail = worker.until(lambda: worker.model("m", "3"), "the refused version")
        worker.until(lambda: (worker.model("m", "3") or {}).get("state") == "blind", "its state")
        detail = worker.model("m", "3") or {}
        assert "the limit on versions is reached" in detail["reason"]
        refused = worker.get("/api/v1/refused")["refused"]
        assert [(one["version"], one["limit"]) for one in refused] == [("3", "versions")]
        assert "limits.versions_per_model is reached" in worker.text()
        assert worker.post("/api/v1/models/m/1/forget")[0] == 202
        worker.until(lambda: worker.model("m", "1") is None, "the end of the first version")

        found = 0
        for _ in range(20):
            found += await deployment.publish_events("m", "3", population(random, 60))
            detail = worker.model("m", "3") or {}
            if detail.get("events"):
                break
        detail = worker.until(lambda: (d := worker.model("m", "3")) and d["events"] and not d["refused"] and d, "it")
        assert detail["state"] != "blind"
