"""The page as text: what must hold in any browser."""

import re
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from detectors.incidents import blindness, verdict
from stream.http.page import history, markup, routes, units, words
from stream.topics.views import Views
from tests.http.page import sample_views, site

ATTACK = "<script>alert(1)</script>\"'&"


async def fetch(url: str) -> tuple[int, str, dict[str, str]]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text(), dict(response.headers)


async def test_names_from_the_stream_never_become_markup() -> None:
    views = Views()
    odd = sample_views.model(
        ATTACK,
        "drift",
        [sample_views.numeric(ATTACK), sample_views.categorical(f"{ATTACK}2")],
        segment=ATTACK,
        reason=ATTACK,
    )
    sample_views.put(views, odd)
    sample_views.put_incident(
        views, sample_views.incident(ATTACK, ATTACK, segment=ATTACK, verdict=ATTACK, summary=ATTACK)
    )
    path = words.model_path(ATTACK, "3", ATTACK)
    async with site.served(views) as url:
        for place in (
            "/",
            path,
            words.model_path(ATTACK, "3", ATTACK, ATTACK),
            "/incidents",
            words.incident_path(ATTACK),
        ):
            status, text, _ = await fetch(url + place)
            assert status == 200
            assert "<script>alert" not in text
            assert re.findall(r"<script", text) == ["<script"]


async def test_nothing_inline_nothing_from_elsewhere_and_a_strict_policy() -> None:
    async with site.served(sample_views.fleet()) as url:
        for place in site.PATHS:
            status, text, headers = await fetch(url + place)
            assert status == (404 if place == site.UNKNOWN else 200)
            assert "unsafe" not in headers["Content-Security-Policy"]
            assert headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert not re.search(r"\sstyle=|\son[a-z]+=|<style|javascript:|https?://", text)


def test_every_route_has_a_sample_in_the_list_of_paths() -> None:
    app = web.Application()
    routes.add_pages(app, Views(), lambda: sample_views.NOW_MS)
    known = {route.resource.canonical for route in app.router.routes() if route.resource} - {"/static/{name}"}
    patterns = {canonical: re.sub(r"\{\w+\}", "[^/]+", canonical) for canonical in known}
    without = {name for name, form in patterns.items() if not any(re.fullmatch(form, path) for path in site.PATHS)}
    assert not without, "add a path of the new page to PATHS in tests/http/page/site.py"


async def test_a_name_with_a_slash_is_one_name() -> None:
    views = Views()
    sample_views.put(views, sample_views.model("team/a b", features=[sample_views.numeric("x/y")]))
    async with site.served(views) as url:
        for place in (words.model_path("team/a b", "3"), words.model_path("team/a b", "3", None, "x/y")):
            assert (await fetch(url + place))[0] == 200


async def test_what_is_not_known_is_a_page_that_says_so() -> None:
    async with site.served(sample_views.fleet()) as url:
        for place in ("/models/x/1", "/models/fraud/3/features/none", "/incidents/none"):
            status, text, _ = await fetch(url + place)
            assert status == 404
            assert "Not found" in text


async def test_an_empty_fleet_does_not_look_healthy() -> None:
    async with site.served(Views()) as url:
        _, text, _ = await fetch(url)
        assert "No events yet" in text
        assert "stable" not in text.lower()


@pytest.mark.parametrize("odd", ["nonsense", None, 7])
def test_a_state_of_unknown_name_does_not_look_healthy(odd: object) -> None:
    summary = {**sample_views.model("m"), "state": odd}
    assert units.unit(summary, history.History(), sample_views.NOW_MS).state is words.UNKNOWN


def test_a_stable_model_that_went_quiet_is_silent_and_not_stable() -> None:
    quiet = sample_views.model("m", last_event_ms=sample_views.NOW_MS - words.SILENT_AFTER_MS - 1)
    assert units.unit(quiet, history.History(), sample_views.NOW_MS).state is words.SILENT


async def test_a_quiet_model_says_when_events_are_expected_and_is_no_alarm() -> None:
    reason = "usually silent at this hour, next events expected by 08:00 UTC"
    views, night_ms = Views(), sample_views.NOW_MS - 8 * 3_600_000
    sample_views.put(views, sample_views.model("eta", "quiet", reason=reason, last_event_ms=night_ms))
    sample_views.put(views, sample_views.model("churn"))
    summary = next(one for one in views.models() if one["model"] == "eta")
    found = units.unit(summary, history.History(), sample_views.NOW_MS)
    assert found.state is words.STATES["quiet"]
    assert found.why == reason
    async with site.served(views) as url:
        _, fleet, _ = await fetch(url + "/")
        assert "1 stable, 1 quiet" in fleet
        assert reason in fleet
        _, page, _ = await fetch(url + "/models/eta/3")
        assert f"U{reason[1:]}." in page
        assert "Not being judged now" not in page


def test_old_event_times_that_still_come_in_are_not_silence() -> None:
    views, past = Views(), history.History()
    for events in (10, 20):
        sample_views.put(views, sample_views.model("m", last_event_ms=5, events=events))
        past.note_all(views, sample_views.NOW_MS)
    assert units.unit(views.models()[0], past, sample_views.NOW_MS).state is words.STATES["stable"]


@pytest.mark.parametrize(
    ("headline", "states"),
    [
        ("All 2 models are stable", ("stable", "stable")),
        ("1 blind", ("stable", "blind")),
        ("1 stable, 1 learning", ("stable", "learning")),
        ("1 with a warning, 1 stable", ("warning", "stable")),
    ],
)
async def test_the_headline_says_all_is_well_only_when_every_model_is(headline: str, states: tuple[str, ...]) -> None:
    views = Views()
    for index, state in enumerate(states):
        sample_views.put(views, sample_views.model(f"m{index}", state))
    async with site.served(views) as url:
        assert f">{headline}<" in (await fetch(url))[1]


@pytest.mark.parametrize(
    "sort", ["", "model", "-model", "evidence", "-evidence", "feature", "rate", "age", "events", "state", "junk"]
)
async def test_every_order_of_the_fleet_lists_every_model(sort: str) -> None:
    async with site.served(sample_views.fleet()) as url:
        _, text, _ = await fetch(f"{url}/?sort={sort}&page=99999999999999999999")
        assert len(re.findall(r'<tr id="row-', text)) == 10


@pytest.mark.parametrize(
    "histogram",
    [
        None,
        [],
        [1, 2, 3],
        {"edges": [0, 1, 2, 3], "counts": [1, 2, 3]},
        {"edges": [1, 2], "counts": [1, 2, 3]},
        {"labels": ["a"], "counts": [1]},
        {"a": 1, "b": 2},
        "text",
        {"edges": "x", "counts": 5},
    ],
)
async def test_a_feature_is_shown_whatever_shape_its_histogram_has(histogram: Any) -> None:
    views = Views()
    for kind in ("numeric", "categorical"):
        feature = {**sample_views.numeric("x"), "kind": kind, "histogram": histogram, "reference_histogram": histogram}
        sample_views.put(views, sample_views.model(kind, "drift", [feature]))
    async with site.served(views) as url:
        for kind in ("numeric", "categorical"):
            assert (await fetch(url + words.model_path(kind, "3")))[0] == 200
            assert (await fetch(url + words.model_path(kind, "3", None, "x")))[0] == 200


async def test_the_barest_view_of_the_contract_is_enough() -> None:
    views = Views()
    sample_views.put(views, {"model": "bare", "version": "1", "segment": None})
    sample_views.put_incident(views, {"id": "bare"})
    async with site.served(views) as url:
        for place in ("/", "/models/bare/1", "/incidents", "/incidents/bare"):
            assert (await fetch(url + place))[0] == 200


async def test_static_files_are_revalidated_by_tag_and_no_others_are_served() -> None:
    async with site.served(Views()) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/static/page.css") as first:
            tag = first.headers["ETag"]
        async with session.get(f"{url}/static/page.css", headers={"If-None-Match": tag}) as second:
            assert second.status == 304
        async with session.get(f"{url}/static/..%2Fpages.py") as other:
            assert other.status == 404


def test_the_history_keeps_its_bound_its_ends_and_its_peak() -> None:
    past = history.UnitHistory()
    for second in range(5_000):
        past.note(
            {"events": second, "last_event_ms": 1000 * second, "evidence_log10": 9.0 if second == 1234 else 0.1},
            second * 1000,
        )
    points = past.points()
    assert len(points) <= history.MAX_POINTS
    assert points[0][0] == 0
    assert max(value for _, value in points) == 9.0
    assert [when for when, _ in points] == sorted(when for when, _ in points)
    assert past.rate(4_999_000) == pytest.approx(1.0, rel=0.15)


@pytest.mark.parametrize("path", ["/models/image-defects/3", "/models/image-defects/3/features/amount"])
async def test_a_blind_model_says_that_what_is_shown_is_old(path: str) -> None:
    async with site.served(sample_views.fleet()) as url:
        _, text, _ = await fetch(url + path)
        assert "Not being judged now" in text
        assert "state-blind" in text
        assert '<svg class="meter"' not in text


async def test_an_incident_of_the_environment_says_what_differs_and_how_it_ended() -> None:
    async with site.served(sample_views.fleet()) as url:
        _, text, _ = await fetch(url + "/incidents/77aa-environment")
        for said in (
            "Environment: numpy",
            "1.26.4",
            "2.1.0",
            "By hand, by ana",
            "software versions differ from training",
        ):
            assert said in text


def test_every_verdict_and_reason_has_its_words() -> None:
    assert set(words.VERDICTS) == set(verdict.Verdict)
    assert set(words.REASONS) == set(verdict.Reason)
    assert set(words.BLIND_REASONS) == set(blindness.BlindReason)


def test_markup_escapes_what_it_did_not_make() -> None:
    assert markup.element("b", "<i>", markup.element("i", 1), data_x='"') == '<b data-x="&quot;">&lt;i&gt;<i>1</i></b>'


async def test_a_feature_whose_values_all_went_missing_has_no_size_that_looks_well() -> None:
    views, gone = Views(), {**sample_views.numeric("age_of_domain"), "psi": 0.0, "wasserstein": 0.0}
    gone["histogram"] = {**gone["histogram"], "counts": [0] * len(gone["histogram"]["counts"])}
    sample_views.put(views, sample_views.model("m", "drift", [gone]))
    summary = "age_of_domain is missing in 100.0% of events"
    sample_views.put_incident(
        views, sample_views.incident("i", "m", summary=summary, features=[{"feature": "age_of_domain"}])
    )
    async with site.served(views) as url:
        _, text, _ = await fetch(url + "/models/m/3")
        assert "PSI <b>–</b>" in text
        assert f"<p>{summary}</p>" in (await fetch(url + "/incidents/i"))[1], "a name keeps its small letter"


async def test_a_topic_made_anew_and_a_lost_checkpoint_are_on_the_page_of_the_model() -> None:
    views = Views()
    sample_views.put(views, sample_views.model("fraud", interruptions={"topic_made_anew": 4, "checkpoint_lost": 1}))
    async with site.served(views) as url:
        _, text, _ = await fetch(url + words.model_path("fraud", "3", None))
    assert re.search(r"Topic made anew.{0,80}4 times", text, re.DOTALL)
    assert re.search(r"Checkpoint lost.{0,80}what was counted before is lost", text, re.DOTALL)
