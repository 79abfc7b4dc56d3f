# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report's page in a real browser, offline, with entries that would harm it if they could."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.report import Report
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator, history
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

HOSTILE = (
    "<script>window.harmed = 1</script><img src=x onerror='window.harmed = 1'>",
    "</script><script>window.harmed = 1</script>",
    "&lt;b&gt; {{ 7*7 }} ${harm} \u202egnp.exe",
)
INJECT = """() => {
  const script = document.createElement("script");
  script.textContent = "window.harmed = 2";
  document.body.append(script);
  document.body.insertAdjacentHTML("beforeend", "<p id=injected><img src='data:,' onerror='window.harmed = 3'></p>");
}"""
IMPOSTOR = "johanna@example.com"
A4_PAGES = 12
REVIEW_PAGES = 8
# What a person waits without noticing, many times over: the machine may be busy.
PATIENCE = 30_000


class Opened:
    """A page that is ready, and whatever it said or asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def rows(self) -> list[list[str]]:
        found: list[list[str]] = self.page.eval_on_selector_all(
            "#entries tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
        )
        return found

    def await_oldest_first(self) -> None:
        """The table lets a click pass before it sorts."""
        expect(self.page.locator("#entries th.time")).to_have_attribute("aria-sort", "ascending")

    @property
    def shown(self) -> str:
        return self.page.locator(".dt-info").inner_text()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same report in each language."""
    folder = tmp_path_factory.mktemp("reports")
    with Simulator(page_size=500) as simulator:
        log = simulator.project("main").log
        log.extend(history(weeks=6, until=datetime.now(timezone.utc) - timedelta(days=1), seed=7))
        for message in HOSTILE:
            log.append(action="server_delete", message=message, actor={"user": {"email": message}})
        log.append(message="in disguise", actor={"api_token": {"uuid": "u", "description": IMPOSTOR}})
        log.append(timestamp="about noon", message="when?", ip_address="198.18.0.1", actor={"admin": {}})
        options = {
            "api_token": simulator.project("main").token,
            "api_url": simulator.url,
            "start": "-30d",
            "time_zone": "Europe/Zurich",
            "title": "Audit <b>November</b>",
        }
        for language in ("en", "de"):
            Report({**options, "language": language}).write({"html": str(folder / f"{language}.html")})
    return {language: folder / f"{language}.html" for language in ("en", "de")}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Browser, reports: dict[str, Path]) -> Iterator[Callable[..., Opened]]:
    contexts = []

    def go(language: str = "en", width: int = 1280, ready: bool = True, **options: Any) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.goto(reports[language].as_uri())
        if ready:
            opened.page.wait_for_selector("html[data-ready]")
        return opened

    yield go
    for context in contexts:
        context.close()


def test_it_opens_offline_asks_for_nothing_and_complains_of_nothing(
    visit: Callable[..., Opened], reports: dict[str, Path]
) -> None:
    for language, path in reports.items():
        opened = visit(language)
        assert opened.requests == [path.as_uri()]
        assert opened.said == []
        assert opened.page.locator("#activity svg .all_marks path").count() > 100
        assert opened.page.locator("#rhythm svg .heat_marks path").count() == 7 * 24
        assert path.stat().st_size < 3_000_000


def test_hostile_entries_stay_text(visit: Callable[..., Opened]) -> None:
    opened = visit()
    opened.page.select_option("#only", label="Sensitive changes")
    text = opened.page.inner_text("#entries")
    for message in HOSTILE:
        assert message.replace("\u202e", "\ufffd") in text
    assert opened.page.evaluate("window.harmed") is None
    assert opened.page.locator("main img, main b").count() == 0
    assert opened.page.inner_text("h1") == opened.page.title() == "Audit <b>November</b>"
    # Even what found a way into the page could not run there.
    opened.page.evaluate(INJECT)
    expect(opened.page.locator("#injected")).to_be_attached()
    assert opened.page.evaluate("window.harmed") is None
    assert "Content Security Policy" in " ".join(opened.said)


def test_a_token_that_is_called_as_a_person_is_told_apart(visit: Callable[..., Opened]) -> None:
    opened = visit()
    opened.page.select_option("#by-actor", label=f"{IMPOSTOR} (token)")
    assert opened.rows() == [[opened.rows()[0][0], f"{IMPOSTOR} token", "server_create", "in disguise", "192.0.2.10"]]


def test_search_sort_and_filters_work_together(visit: Callable[..., Opened]) -> None:
    opened = visit()
    page = opened.page
    everything = opened.shown
    page.fill("#search", "volume")
    expect(page.locator(".dt-info")).not_to_have_text(everything)
    assert all("volume" in " ".join(row).lower() for row in opened.rows())
    page.select_option("#by-action", label="volume_delete")
    assert {row[2] for row in opened.rows()} == {"volume_delete"}
    page.click("#entries th.time")
    opened.await_oldest_first()
    times = [row[0] for row in opened.rows()]
    assert times == sorted(times)
    page.click("#clear")
    assert opened.shown == everything
    assert page.input_value("#search") == ""
    page.click(".dt-paging-button.next")
    assert opened.shown.startswith("26 to 50 of ")


def test_a_finding_leads_to_its_entries(visit: Callable[..., Opened]) -> None:
    opened = visit()
    opened.page.locator("button[data-only='4']").click()
    rows = opened.rows()
    assert {row[1] for row in rows} == {"admin staff"}
    assert opened.page.evaluate("document.activeElement.id") == "only"


def test_days_narrow_chart_and_table(visit: Callable[..., Opened]) -> None:
    opened = visit()
    page = opened.page
    everything = opened.shown
    first = str(page.get_attribute("#from", "min"))
    following = (datetime.fromisoformat(first) + timedelta(days=1)).date().isoformat()
    for day in (first, following):
        page.fill("#from", day)
        page.fill("#to", day)
        expect(page.locator("#activity svg .brush_brush path")).to_be_attached()
        assert {row[0][:10] for row in opened.rows()} == {day}
    page.click("#whole")
    assert page.input_value("#from") == ""
    assert opened.shown == everything


def test_dragging_over_the_chart_narrows_the_table(visit: Callable[..., Opened]) -> None:
    opened = visit()
    page = opened.page
    everything = opened.shown
    box = page.locator("#activity svg .overview_group").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.4, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=5)
    page.mouse.up()
    expect(page.locator(".dt-info")).not_to_have_text(everything)
    first, last = page.input_value("#from"), page.input_value("#to")
    assert "" < first < last
    assert {first <= row[0][:10] <= last for row in opened.rows()} == {True}
    assert opened.said == []


def test_the_keyboard_suffices(visit: Callable[..., Opened]) -> None:
    opened = visit()
    page = opened.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.focus("#search")
    page.keyboard.type("disguise")
    expect(page.locator("#entries tbody tr")).to_have_count(1)
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    page.locator("#entries th [role=button]").first.focus()
    page.keyboard.press("Enter")
    opened.await_oldest_first()


@pytest.mark.parametrize(
    ("language", "scheme", "width"),
    [("en", "light", 1280), ("de", "dark", 1280), ("en", "dark", 420), ("de", "light", 420)],
)
def test_it_is_accessible_and_fits(visit: Callable[..., Opened], language: str, scheme: str, width: int) -> None:
    opened = visit(language, width, color_scheme=scheme)
    page = opened.page
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true }")
    found = Axe().run(page)
    assert [f"{rule['id']}: {rule['nodes'][0]['html']}" for rule in found.response["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(245, 246, 248)", "dark": "rgb(15, 21, 27)"}[scheme]
    assert page.evaluate("document.documentElement.lang") == language


def test_it_prints_on_a4_also_out_of_the_dark(visit: Callable[..., Opened]) -> None:
    opened = visit(color_scheme="dark")
    page = opened.page
    printed = page.pdf(prefer_css_page_size=True, print_background=True)
    assert 2 <= printed.count(b"/Type /Page\n") <= A4_PAGES
    page.emulate_media(media="print", color_scheme="light")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(22, 32, 42)"
    for hidden in ("#filters", ".dt-paging", "button[data-only]", "details.numbers"):
        assert not page.locator(hidden).first.is_visible()


def test_without_javascript_the_findings_are_there(visit: Callable[..., Opened]) -> None:
    opened = visit(ready=False, java_script_enabled=False)
    text = opened.page.inner_text("main")
    for told in ("need JavaScript", "Sensitive changes", "Outside working hours", "First seen", "Coverage"):
        assert told in text


# --- The page of an access review


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same access review in each language, and one without data of the period before."""
    folder = tmp_path_factory.mktemp("reviews")
    now = datetime.now(timezone.utc)
    with Simulator(page_size=500) as simulator:
        log = simulator.project("main").log
        log.extend(history(weeks=9, until=now - timedelta(days=1), seed=7))
        for message in HOSTILE:
            log.append(action=message, actor={"user": {"email": message}}, timestamp=now - timedelta(days=2))
        log.append(actor={"user": {"email": "dora@example.com"}}, timestamp=now - timedelta(days=40))
        log.append(actor={"api_token": {"uuid": "u", "description": "old"}}, timestamp=now - timedelta(days=3))
        log.append(actor={"api_token": {"uuid": "u", "description": IMPOSTOR}}, timestamp=now - timedelta(days=2))
        options = {
            "form": "access_review",
            "api_token": simulator.project("main").token,
            "api_url": simulator.url,
            "time_zone": "Europe/Zurich",
        }
        for name, chosen in {
            "en": {"start": "-30d", "language": "en"},
            "de": {"start": "-30d", "language": "de"},
            "partial": {"start": "-60d", "actions": ["server_*"]},
        }.items():
            Report({**options, **chosen}).write({"html": str(folder / f"{name}.html")})
    return {name: folder / f"{name}.html" for name in ("en", "de", "partial")}


@pytest.fixture
def reviewed(browser: Browser, reviews: dict[str, Path]) -> Iterator[Callable[..., Opened]]:
    contexts = []

    def go(name: str = "en", width: int = 1280, **options: Any) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.goto(reviews[name].as_uri())
        return opened

    yield go
    for context in contexts:
        context.close()


@pytest.mark.parametrize(
    ("name", "scheme", "width"),
    [("en", "light", 1280), ("de", "dark", 1280), ("partial", "dark", 420), ("de", "light", 420)],
)
def test_a_review_is_accessible_fits_and_asks_for_nothing(
    reviewed: Callable[..., Opened], reviews: dict[str, Path], name: str, scheme: str, width: int
) -> None:
    opened = reviewed(name, width, color_scheme=scheme)
    found = Axe().run(opened.page)
    assert [f"{rule['id']}: {rule['nodes'][0]['html']}" for rule in found.response["violations"]] == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") == width
    assert opened.requests == [reviews[name].as_uri()]
    assert opened.said == []


def test_in_a_review_hostile_entries_stay_text(reviewed: Callable[..., Opened]) -> None:
    opened = reviewed()
    text = opened.page.inner_text("#people")
    for message in HOSTILE:
        assert message.replace("\u202e", "\ufffd") in text
    assert opened.page.locator("script, img").count() == 0
    opened.page.evaluate(INJECT)
    assert opened.page.evaluate("window.harmed") is None


def test_a_review_is_filled_in_and_printed_in_landscape(reviewed: Callable[..., Opened]) -> None:
    page = reviewed(color_scheme="dark").page
    row = page.locator("#people tr", has_text="dora@example.com")
    assert "dormant" in row.inner_text()
    row.get_by_label("Remove").check()
    row.get_by_label("Keep").check()
    assert not row.get_by_label("Remove").is_checked()
    row.get_by_label("Reviewer").fill("Kim")
    assert "formerly old" in page.locator("#tokens tr", has_text=IMPOSTOR).inner_text()
    printed = page.pdf(prefer_css_page_size=True, print_background=True)
    assert 2 <= printed.count(b"/Type /Page\n") <= REVIEW_PAGES
    wide, high = map(float, re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", printed)[0])
    assert wide > high
    page.emulate_media(media="print", color_scheme="light")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(22, 32, 42)"
    assert row.get_by_label("Reviewer").is_visible()


def test_a_review_says_where_data_is_missing(reviewed: Callable[..., Opened]) -> None:
    page = reviewed("partial").page
    assert "no data" in page.locator("dl.figures").inner_text()
    assert "lost to the provider's retention" in page.inner_text("#comparison")
    assert "server_*" in page.inner_text("#comparison")
