"""What a person meets, in a real Chromium."""

import os
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise

import pytest
from aiohttp import web

from stream.http.page import routes
from tests.http.page import sample_views, site
from tests.http.page.browser import Browser, Chromium, Page, executable

pytestmark = pytest.mark.skipif(
    executable() is None and not os.environ.get("CI"), reason="no Chromium on this machine (required where CI is set)"
)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    running = Chromium(tmp_path_factory.mktemp("chromium"))
    yield running
    running.close()


@pytest.fixture
async def browser(chromium: Chromium) -> AsyncIterator[Browser]:
    async with Browser(chromium) as running:
        yield running


TEXT = "document.querySelector('main').innerText"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
PATHS = (
    "/",
    "/models/fraud/3",
    "/models/fraud/3/features/amount",
    "/models/fraud/3/features/merchant_category",
    "/incidents",
    "/incidents/5a1f0c6e-incident",
    "/models/nobody/1",
)


async def test_the_fleet_says_at_a_glance_who_is_not_well_and_puts_them_first(browser: Browser) -> None:
    async with browser.visiting(site.served(sample_views.fleet())) as url:
        page = await browser.open(url)
        assert await page.value("document.querySelector('h1').innerText") == "1 drifting, 1 blind, 1 silent"
        rows = await page.value("[...document.querySelectorAll('tbody tr')].map(row => row.innerText)")
        assert [row.split()[0] for row in rows[:4]] == ["fraud", "image-defects", "forgotten", "pricing"]
        assert "9.1 of 4.2" in rows[0]
        assert page.complaints == []


async def test_a_change_shows_without_reloading_keeps_the_focus_and_is_announced(browser: Browser) -> None:
    views = sample_views.fleet()
    async with browser.visiting(site.served(views)) as url:
        page = await browser.open(url)
        await page.until("document.querySelector('#link-text').innerText == 'live'")
        await page.value("window.stillHere = true; document.querySelector('#row-ranking\\\\/3\\\\/ a').focus()")
        sample_views.put(views, sample_views.model("ranking", "drift"))
        await page.until("document.querySelector('h1').innerText.startsWith('2 drifting')")
        assert await page.value("window.stillHere")
        assert await page.value("document.activeElement.innerText") == "ranking"
        assert (await page.value("document.querySelector('#announcer').textContent")).startswith("2 drifting")
        assert await page.value("document.title") == "2 drifting, 1 blind, 1 silent · driftline"
        assert page.complaints == []


async def test_a_lost_connection_is_said_and_nothing_looks_live(browser: Browser) -> None:
    async with site.served(sample_views.fleet()) as url:  # which ends first
        page = await browser.open(url)
        await page.until("document.querySelector('#link-text').innerText == 'live'")
    await page.until("document.body.classList.contains('lost')")
    assert "This page shows old data" in await page.value("document.querySelector('#notice').innerText")
    assert await page.value("document.querySelector('#link-text').innerText") == "not connected"
    await page.close()


async def test_the_model_page_shows_evidence_features_incidents_retraining_and_environment(browser: Browser) -> None:
    async with browser.visiting(site.served(sample_views.fleet())) as url:
        page = await browser.open(f"{url}/models/fraud/3")
        text = await page.value(TEXT)
        for said in (
            "amount has changed",
            "Worst features",
            "scikit-learn",
            "Withheld: cooldown",
            "The world changed",
            "ADWIN",
        ):
            assert said in text
        features = await page.value(
            "[...document.querySelectorAll('.features tbody th')].map(cell => cell.innerText.trim())"
        )
        assert features[0].startswith("amount")
        assert features[1] == "merchant_category"
        assert await page.value("document.querySelectorAll('.card path.present-line').length") == 5
        assert await page.value("document.querySelectorAll('.mark').length") >= 2
        assert page.complaints == []


async def test_values_are_read_off_the_evidence_chart_by_arrow_keys(browser: Browser) -> None:
    async with browser.visiting(site.served(sample_views.fleet())) as url:
        page = await browser.open(f"{url}/models/fraud/3")
        await page.value("document.querySelector('.plot').focus()")
        await page.press("Home", 36)
        await page.until("document.querySelector('output').innerText.includes('evidence 0.40')")
        await page.press("ArrowRight", 39)
        await page.until("!document.querySelector('output').innerText.includes('evidence 0.40')")
        assert page.complaints == []


async def test_searching_by_keyboard_narrows_the_table_and_can_be_sent_as_link(browser: Browser) -> None:
    async with browser.visiting(site.served(sample_views.fleet())) as url:
        page = await browser.open(url)
        await page.press("/", 191, "/")
        assert await page.value("document.activeElement.id") == "q"
        await page.type("pric")
        await page.until("document.querySelectorAll('tbody tr').length == 1")
        assert await page.value("location.search") == "?q=pric"
        assert await page.value("document.activeElement.id") == "q"
        await page.go(await page.value("location.href"))
        assert await page.value("document.querySelectorAll('tbody tr').length") == 1
        assert page.complaints == []


async def test_the_first_tab_stop_skips_to_the_content_and_every_stop_is_visible(browser: Browser) -> None:
    async with browser.visiting(site.served(sample_views.fleet())) as url:
        page = await browser.open(url)
        await page.press("Tab", 9)
        assert await page.value("document.activeElement.innerText") == "Skip to content"
        await page.press("Enter", 13, "\r")
        await page.until("document.activeElement.id == 'content'")
        for _ in range(12):
            await page.press("Tab", 9)
            assert await page.value("getComputedStyle(document.activeElement).outlineStyle") != "none"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_no_page_scrolls_sideways_on_a_phone_or_complains(browser: Browser, path: str, dark: bool) -> None:
    async with browser.visiting(site.served(sample_views.fleet())) as url:
        page = await browser.open(url + path, 360, 780, dark=dark)
        assert await page.value(OVERFLOW) <= 0
        complaints = [said for said in page.complaints if "404" not in said or path != "/models/nobody/1"]
        assert complaints == []
        assert all(address.startswith(url) for address in page.requested)


SPOKEN = ("link", "button", "textbox", "searchbox", "combobox", "spinbutton", "image", "table", "region", "navigation")


async def test_a_screen_reader_has_a_name_for_whatever_can_be_reached_and_headings_in_order(browser: Browser) -> None:
    app = _with_writes([])
    routes.add_pages(app, sample_views.fleet(), lambda: sample_views.NOW_MS)
    async with browser.visiting(site.running(app)) as url:
        for path in PATHS:
            page = await browser.open(url + path)
            await page.send("Accessibility.enable")
            nodes = [node for node in (await page.send("Accessibility.getFullAXTree"))["nodes"] if not node["ignored"]]
            said = [(node["role"]["value"], node.get("name", {}).get("value")) for node in nodes]
            assert [role for role, name in said if role in SPOKEN and not name] == [], path
            levels = [int(level) for level in await page.value(LEVELS)]
            assert levels[0] == 1, path
            assert all(after <= before + 1 for before, after in pairwise(levels)), path
            await page.close()


LEVELS = "[...document.querySelectorAll('h1, h2, h3')].map(heading => heading.nodeName[1])"


CONTRAST = r"""(() => {
  const linear = (part) => (part /= 255) <= .03928 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4;
  const light = (text) => {
    const [r, g, b] = text.match(/[\d.]+/g).slice(0, 3).map(Number).map(linear);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (!/, 0\)$/.test(colour) && colour !== 'transparent') return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const speaks = (node) => [...node.childNodes].some(child => child.nodeType === 3 && child.nodeValue.trim());
  return [...document.querySelectorAll('main *, header *')]
    .filter(node => speaks(node) && node.offsetParent && !node.closest('svg') && !node.closest('.is-blind'))
    .map(node => {
      const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x);
      return [(a + .05) / (b + .05), node.className + ' ' + node.textContent.slice(0, 30)];
    })
    .filter(([ratio]) => ratio < 4.5);
})()"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_every_text_stands_out_from_its_ground_in_light_and_dark(browser: Browser, dark: bool) -> None:
    async with browser.visiting(site.served(sample_views.fleet())) as url:
        for path in ("/", "/models/fraud/3", "/incidents/5a1f0c6e-incident"):
            page = await browser.open(url + path, dark=dark)
            assert await page.value(CONTRAST) == []
            await page.close()


async def test_a_thousand_models_and_five_hundred_features_stay_quick(browser: Browser) -> None:
    views = sample_views.fleet()
    for index in range(1_000):
        sample_views.put(views, sample_views.model(f"model-{index:04}"))
    many = [sample_views.numeric(f"f{index:03}", 0.0004 * index, index / 100) for index in range(500)]
    sample_views.put(views, sample_views.model("wide", "warning", many))
    async with browser.visiting(site.served(views)) as url:
        page = await browser.open(url)
        assert await page.value("document.querySelectorAll('tbody tr').length") == 100
        await page.value("document.querySelector('.pager a').click()")
        await page.until("document.querySelector('.pager').innerText.includes('Page 2 of 11')")
        await page.go(f"{url}/models/wide/3")
        assert await page.value("document.querySelector('.features tbody th').innerText.trim()") == "f499"
        assert await page.value("performance.getEntriesByType('navigation')[0].domComplete") < 20_000
        assert page.complaints == []


def _with_writes(recorded: list[tuple[str, str | None, object]]) -> web.Application:
    async def change(request: web.Request) -> web.Response:
        recorded.append((request.match_info["action"], request.headers.get("Authorization"), await request.json()))
        return web.json_response({"ok": True})

    async def changes(request: web.Request) -> web.Response:
        return web.json_response({"generation": 0})

    async def forget(request: web.Request) -> web.Response:
        recorded.append((request.path_qs, request.headers.get("Authorization"), await request.json()))
        return web.json_response({"ok": True})

    app = web.Application()
    app.add_routes(
        [
            web.post("/api/v1/incidents/{id}/{action}", change),
            web.post("/api/v1/models/{model}/{version}/forget", forget),
            web.get("/api/v1/changes", changes),
        ]
    )
    return app


async def _sign(page: Page, note: str) -> None:
    """Types token, name and note into the form of what can be done, once it is there."""
    await page.until("document.querySelector('#actions') && document.querySelector('#actions').offsetParent")
    for name, text in (("token", "secret"), ("by", "ana"), ("note", note)):
        await page.value(f"document.querySelector('#actions').elements.{name}.focus()")
        await page.type(text)


async def test_an_incident_is_acknowledged_from_its_page_with_the_token(browser: Browser) -> None:
    recorded: list[tuple[str, str | None, object]] = []
    app = _with_writes(recorded)
    routes.add_pages(app, sample_views.fleet(), lambda: sample_views.NOW_MS)
    async with browser.visiting(site.running(app)) as url:
        page: Page = await browser.open(f"{url}/incidents/5a1f0c6e-incident")
        await _sign(page, "looking at it")
        await page.value("document.querySelector('button[value=ack]').click()")
        await page.until("document.querySelector('#action-answer').innerText == 'Recorded.'")
        assert recorded == [("ack", "Bearer secret", {"by": "ana", "note": "looking at it"})]


async def test_a_model_is_forgotten_from_its_page_by_keyboard_once_it_is_confirmed(browser: Browser) -> None:
    recorded: list[tuple[str, str | None, object]] = []
    app, views = _with_writes(recorded), sample_views.fleet()
    sample_views.put(views, sample_views.model("eta", "blind", segment="north & south"))
    routes.add_pages(app, views, lambda: sample_views.NOW_MS)
    async with browser.visiting(site.running(app)) as url:
        page: Page = await browser.open(f"{url}/models/eta/3?segment=north+%26+south")
        await _sign(page, "retired")
        await page.press("Tab", 9)
        assert await page.value("document.activeElement.value") == "forget"
        page.agrees = False
        await page.press("Enter", 13, "\r")
        await page.until("document.activeElement.value == 'forget'")
        assert recorded == []
        page.agrees = True
        await page.press("Enter", 13, "\r")
        await page.until("document.querySelector('#action-answer').innerText == 'Recorded.'")
        assert len(page.asked) == 2
        assert "eta 3 · north & south" in page.asked[0]
        path = "/api/v1/models/eta/3/forget?segment=north+%26+south"
        assert recorded == [(path, "Bearer secret", {"by": "ana", "note": "retired"})]
        await page.go(f"{url}/models/eta/3")  # all of it: the whole population and the segment
        assert await page.value("document.querySelector('#actions').dataset.query") == ""
        assert "Stop monitoring eta 3 and its 1 segment" in await page.value(TEXT)


async def test_why_a_model_is_not_well_stands_beside_it_also_on_a_phone(browser: Browser) -> None:
    async with browser.visiting(site.served(sample_views.fleet())) as url:
        for width in (1280, 390):
            page = await browser.open(url, width, 844)
            said = await page.value("document.querySelector('tbody').innerText")
            assert "amount, the world changed" in said
            assert "no event has arrived for longer than usual" in said
            assert "4,120 of 10,000 events" in said
            await page.close()
