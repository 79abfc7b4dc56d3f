# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report's page in a real browser, offline, with entries that would harm it if they could."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

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
COMMAND = Path(__file__).parents[2] / "bin/cloudscale-audit"
IMPOSTOR = "johanna@example.com"
A4_PAGES = 60
REVIEW_PAGES = 8
NOT_OVER = (".state", "#coverage td li >> nth=0")
# Without rows, and for each row.
PAGE_BYTES = 1_000_000
BYTES_PER_ENTRY = 150
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
    """The same report in each language, and one of two projects, one with an archive, with a part in the future."""
    directory = tmp_path_factory.mktemp("reports")
    now = datetime.now(timezone.utc)
    with Simulator(page_size=500) as simulator:
        log = simulator.project("main").log
        log.extend(history(weeks=6, until=now - timedelta(days=1), seed=7))
        for number in range(5):
            moment = now - timedelta(hours=5, minutes=-number)
            log.append(action="volume_delete", message=f"Volume 'v-{number}' has been deleted", timestamp=moment)
        for message in HOSTILE:
            log.append(action="server_delete", message=message, actor={"user": {"email": message}})
        log.append(action="volume_update", message="Volume 'a_b:c' has been updated")
        log.append(message="in disguise", actor={"api_token": {"uuid": "u", "description": IMPOSTOR}})
        log.append(message="=1+1", more={"of": ["it"]})
        log.append(timestamp="about noon", message="when?", ip_address="198.18.0.1", actor={"admin": {}})
        mail = simulator.add_project("mail")
        mail.log.extend(history(weeks=2, until=now - timedelta(days=1), seed=9))
        options = {
            "api_url": simulator.url,
            "start": "-30d",
            "time_zone": "Europe/Zurich",
            "title": "Audit <b>November</b>",
            "own_actors": ["deployment", "autoscaler"],
        }
        main = {"name": "shop", "api_token": simulator.project("main").token}
        for name, given in {
            "en": {"api_token": main["api_token"]},
            "de": {"api_token": main["api_token"], "language": "de", "working_hours": "Mon-Fri 08:00-18:00"},
            "two": {
                "projects": [main, {"name": "mail", "api_token": mail.token}],
                "archives": [collected(mail.token, simulator.url, directory / "mail")],
                "end": (now + timedelta(days=5)).isoformat(),
            },
        }.items():
            Report({**options, **given}).write({"html": str(directory / f"{name}.html")})
    return {name: directory / f"{name}.html" for name in ("en", "de", "two")}


def collected(token: str, url: str, path: Path) -> str:
    """The path of an archive of the project."""
    command = [sys.executable, str(COMMAND), "collect", str(path), "--project", "mail", "--api-url", url]
    subprocess.run(command, env={**os.environ, "CLOUDSCALE_API_TOKEN": token}, check=True)
    return str(path)


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

    def go(language: str = "en", width: int = 1280, ready: bool = True, fragment: str = "", **options: Any) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.goto(reports[language].as_uri() + fragment)
        if ready:
            opened.page.wait_for_selector("html[data-drawn]")
        return opened

    yield go
    for context in contexts:
        context.close()


def test_it_opens_offline_without_requests_or_errors(visit: Callable[..., Opened], reports: dict[str, Path]) -> None:
    for language, path in reports.items():
        opened = visit(language)
        assert opened.requests == [path.as_uri()]
        assert opened.said == []
        assert opened.page.locator("#activity svg .all_marks path").count() > 100
        assert opened.page.locator("#rhythm svg .heat_marks path").count() == 7 * 24


def test_it_stays_small(reports: dict[str, Path]) -> None:
    for path in reports.values():
        page = path.read_text()
        rows = len(re.findall(r'<script type="application/gzip" id="packed">(.*?)</script>', page)[0])
        entries = int(re.findall(r"<dd>([\d\u202f]+)", page)[0].replace("\u202f", ""))
        assert rows < BYTES_PER_ENTRY * entries
        assert path.stat().st_size - rows < PAGE_BYTES


def test_hostile_entries_stay_text(visit: Callable[..., Opened]) -> None:
    opened = visit()
    opened.page.select_option("#by-alert", label="A resource was deleted")
    text = opened.page.inner_text("#entries")
    for message in HOSTILE:
        assert message.replace("\u202e", "\ufffd") in text
        # In the details and the filters, too.
        # By keyboard: a click can miss while the page is still moving.
        opened.page.locator("#entries tbody tr", has_text=message[:20]).first.locator("button.open").press("Enter")
        opened.page.locator(".details a.only").nth(1).press("Enter")
        assert opened.page.locator("#chips").inner_text() != ""
        opened.page.click("#clear")
        opened.page.select_option("#by-alert", label="A resource was deleted")
    assert opened.page.evaluate("window.harmed") is None
    assert opened.page.locator("main img, main b").count() == 0
    assert opened.page.inner_text("h1") == opened.page.title() == "Audit <b>November</b>"
    # Even what found a way into the page could not run there.
    opened.page.evaluate(INJECT)
    expect(opened.page.locator("#injected")).to_be_attached()
    assert opened.page.evaluate("window.harmed") is None
    assert "Content Security Policy" in " ".join(opened.said)


def test_a_token_named_like_a_person_is_kept_apart(visit: Callable[..., Opened]) -> None:
    opened = visit()
    opened.page.select_option("#by-actor", label=f"{IMPOSTOR} (token)")
    assert opened.rows() == [[opened.rows()[0][0], f"{IMPOSTOR} token", "server_create", "in disguise", "192.0.2.10"]]


def test_own_automation_is_filtered_and_so_is_all_else(visit: Callable[..., Opened]) -> None:
    opened = visit()
    shown = []
    for kind in ("", "own", "others_than_own"):
        opened.page.select_option("#by-kind", kind)
        # Thousands are separated by a narrow space.
        shown.append(re.findall(r"of (\d+(?:\s\d+)*)", opened.shown)[0])
    everything, own, others = (int(re.sub(r"\s", "", count)) for count in shown)
    assert own > 0
    assert others > 0
    assert own + others == everything


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


def test_alerts_are_first_and_link_to_their_entries(visit: Callable[..., Opened]) -> None:
    opened = visit()
    page = opened.page
    headings = page.locator("main h2, main h3").all_inner_texts()
    assert headings[0] == "Needs attention"
    assert headings[1].startswith("critical Five resources were deleted within ten minutes 1")
    assert headings[2].startswith("high The provider's staff changed something")
    assert "Volume 'v-4' has been deleted" in page.locator("#attention .group").first.inner_text()
    # One click from the kind of alert to its entries, and one from the alert to its entry.
    page.locator("#attention .group").nth(1).get_by_text("in the table").click()
    assert {row[1] for row in opened.rows()} == {"admin staff"}
    assert page.evaluate("document.activeElement.id") == "all"
    page.locator("#attention .group").first.locator(".time a").click()
    assert [row[3].split("\n")[0] for row in opened.rows()] == ["Volume 'v-4' has been deleted critical"]
    assert page.locator("#chips li").count() == 2


def test_filters_combine_can_be_removed_and_are_in_the_url(visit: Callable[..., Opened]) -> None:
    opened = visit()
    page = opened.page
    everything = opened.shown
    page.locator("#who-and-what").get_by_role("link", name="marco@example.com").click()
    page.locator("#who-and-what").get_by_role("link", name="server_reboot").click()
    rows = opened.rows()
    assert {(row[1], row[2]) for row in rows} == {("marco@example.com person", "server_reboot")}
    assert page.input_value("#by-actor") == "user:marco@example.com"
    fragment = page.evaluate("location.hash")
    assert fragment == "#actor=user%3Amarco%40example.com&action=server_reboot"
    # Somebody else opens the same address, and goes back and forth.
    other = visit(fragment=fragment)
    assert other.rows() == rows
    page.locator("#chips button", has_text="server_reboot").click()
    assert {row[1] for row in opened.rows()} == {"marco@example.com person"}
    assert len({row[2] for row in opened.rows()}) > 1
    page.go_back()
    expect(page.locator("#chips li")).to_have_count(2)
    assert opened.rows() == rows
    page.click("#clear")
    assert opened.shown == everything
    assert page.evaluate("location.hash") == ""


@pytest.mark.parametrize(
    ("searched", "holds"),
    [
        ("volume marco", lambda row: "volume" in row.lower() and "marco" in row),
        ('"has been scaled"', lambda row: "has been scaled" in row),
        ("volume -attach", lambda row: "volume" in row.lower() and "attach" not in row),
        ('volume -"has been created"', lambda row: "volume" in row.lower() and "has been created" not in row),
        ("marco|nina scaled|rebooted", lambda row: re.search("(marco|nina)(.|\n)*(scaled|rebooted)", row)),
        ("scaled*flex-8", lambda row: re.search("scaled.*flex-8", row)),
        ("(.*", lambda row: False),
    ],
)
def test_search_supports_words_exact_text_not_or_and_wildcards(
    visit: Callable[..., Opened], searched: str, holds: Callable[[str], Any]
) -> None:
    opened = visit(fragment="#q=" + quote(searched))
    rows = [" ".join(row) for row in opened.rows()]
    if not holds("volume marco has been scaled rebooted flex-8"):
        assert rows == ["No entry matches."]
    else:
        assert rows
        assert [row for row in rows if not holds(row)] == []


def test_a_row_opens_its_details_and_a_resource_its_life(visit: Callable[..., Opened]) -> None:
    opened = visit(fragment="#q=v-2")
    page = opened.page
    page.locator("#entries button.open").focus()
    page.keyboard.press("Enter")
    details = page.locator("#entries .details")
    expect(details).to_be_visible()
    line = details.locator("dd code").first.inner_text()
    assert json.loads(line)["message"] == "Volume 'v-2' has been deleted"
    expect(details.locator("dd code").last).to_have_text(hashlib.sha256(line.encode()).hexdigest())
    details.get_by_role("link", name="volume v-2").click()
    assert "resource=volume%3Av-2" in page.evaluate("location.hash")
    page.goto(page.url.split("#")[0] + "#resource=" + quote("volume:a_b:c"))
    expect(page.locator("#chips button")).to_contain_text("volume a_b:c")
    # Also of an entry that has more than the table shows.
    page.goto(page.url.split("#")[0] + "#q=" + quote('"=1+1"'))
    expect(page.locator("#entries tbody tr")).to_have_count(1)
    page.locator("#entries tbody tr td.what").click()
    entry = page.locator("#entries .details dd code").first.inner_text()
    assert json.loads(entry)["more"] == {"of": ["it"]}
    assert opened.said == []


def test_details_name_the_data_file_of_an_archive(visit: Callable[..., Opened], reports: dict[str, Path]) -> None:
    opened = visit("two", fragment="#project=mail")
    page = opened.page
    page.locator("#entries button.open").first.click()
    details = page.locator("#entries .details")
    line, _digest, file = details.locator("dd code").all_inner_texts()
    stored = gzip.decompress((reports["two"].parent / "mail" / file).read_bytes()).decode()
    assert line in stored.splitlines()
    # What only the API has is in no file.
    page.goto(page.url.split("#")[0] + "#project=shop")
    expect(page.locator("#entries td.project").first).to_have_text("shop")
    page.locator("#entries button.open").first.click()
    expect(details.locator("dd code")).to_have_count(2)
    assert "Archive file" not in details.inner_text()
    assert opened.said == []


def test_the_busiest_resources_lead_to_their_lives(visit: Callable[..., Opened]) -> None:
    opened = visit("two")
    page = opened.page
    ranking = page.locator(".ranking", has=page.get_by_role("heading", name="Resources"))
    row = ranking.locator("tbody tr").first
    name, count = row.locator("a").inner_text(), row.locator(".number").inner_text()
    assert int(count) > 1
    row.locator("a").click()
    assert f"of {count} " in opened.shown
    assert [cells[4] for cells in opened.rows() if f"'{name}" not in cells[4]] == []
    assert len({cells[1] for cells in opened.rows()}) == 1


def test_a_row_is_copied_as_the_text_of_a_ticket(visit: Callable[..., Opened]) -> None:
    opened = visit(fragment="#q=v-4", permissions=["clipboard-read", "clipboard-write"])
    page = opened.page
    page.click("#entries button.open")
    page.click("#entries .copy")
    expect(page.locator("#entries .copy")).to_have_text("Copied.")
    text = page.evaluate("navigator.clipboard.readText()")
    assert "What: Volume 'v-4' has been deleted" in text
    assert "Alert: critical: Five resources were deleted within ten minutes" in text
    assert re.search(r"^SHA-256: [0-9a-f]{64}$", text, re.MULTILINE)
    # Where the browser forbids it, the text is there to be copied by hand.
    opened = visit(fragment="#q=v-4")
    opened.page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
    opened.page.click("#entries button.open")
    opened.page.click("#entries .copy")
    expect(opened.page.locator("#entries textarea")).to_have_value(text)
    assert opened.said == []


def test_filtered_rows_are_downloaded_for_a_spreadsheet(visit: Callable[..., Opened], tmp_path: Path) -> None:
    opened = visit(fragment="#alert=burst_of_deletions")
    page = opened.page
    found = []
    for fragment in ("#alert=burst_of_deletions", "#q=" + quote('"=1+1"')):
        page.goto(page.url.split("#")[0] + fragment)
        with page.expect_download() as download:
            page.click(".download")
        download.value.save_as(tmp_path / "rows.csv")
        with (tmp_path / "rows.csv").open(newline="", encoding="utf-8-sig") as file:
            found += list(csv.DictReader(file))
    assert [row["message"] for row in found] == ["Volume 'v-4' has been deleted", "'=1+1"]
    assert (found[0]["resource_kind"], found[0]["resource"], found[0]["actor_kind"]) == ("volume", "v-4", "user")
    assert opened.said == []


def test_the_heat_map_and_its_table_lead_to_an_hour(visit: Callable[..., Opened]) -> None:
    opened = visit()
    page = opened.page
    page.locator("#rhythm-of-work summary").click()
    cell = page.locator("#rhythm-of-work td a").first
    count = cell.inner_text()
    cell.click()
    assert f"of {count} " in opened.shown
    assert len({row[0][11:13] for row in opened.rows()}) == 1
    page.click("#clear")
    page.locator("#rhythm svg .heat_marks path").nth(10).click()
    expect(page.locator("#chips li")).to_have_count(1)


def test_several_projects_are_kept_apart(visit: Callable[..., Opened]) -> None:
    opened = visit("two")
    page = opened.page
    assert page.locator("#entries th.project").count() == 1
    page.locator("#who-and-what").get_by_role("link", name="mail", exact=True).click()
    assert {row[1] for row in opened.rows()} == {"mail"}
    # The part of the range that has not come yet is hatched on both charts, and named.
    for chart in ("missing", "gaps"):
        assert page.locator(f"#activity svg .{chart}_marks path").count() >= 1
    assert "after this report was made" in page.locator(".legend").inner_text()
    # This is not a gap, so nothing is red.
    colours = [page.locator(place).evaluate("element => getComputedStyle(element).color") for place in NOT_OVER]
    assert page.locator(".state").inner_text().startswith("Complete so far, not over yet")
    assert colours == [page.locator(".range").evaluate("element => getComputedStyle(element).color")] * 2
    assert opened.said == []


def test_days_narrow_chart_and_table(visit: Callable[..., Opened]) -> None:
    opened = visit()
    page = opened.page
    everything = opened.shown
    first = (datetime.now(timezone.utc) - timedelta(days=20)).date().isoformat()
    following = (datetime.fromisoformat(first) + timedelta(days=1)).date().isoformat()
    for day in (first, following):
        page.fill("#from", day)
        page.fill("#to", day)
        page.press("#to", "Enter")
        expect(page.locator("#activity svg .brush_brush path")).to_be_attached()
        assert {row[0][:10] for row in opened.rows()} == {day}
    page.click("#whole")
    assert page.input_value("#from") == ""
    assert opened.shown == everything


def test_dragging_over_the_chart_narrows_the_table(visit: Callable[..., Opened]) -> None:
    opened = visit()
    page = opened.page
    everything = opened.shown
    page.evaluate("document.getElementById('activity').scrollIntoView({behavior: 'instant'})")
    box = page.locator("#activity svg .small_marks").bounding_box()
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


def test_the_page_works_with_the_keyboard_alone(visit: Callable[..., Opened]) -> None:
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
    [("en", "light", 1280), ("de", "dark", 1280), ("two", "light", 820), ("en", "dark", 420), ("de", "light", 420)],
)
def test_it_is_accessible_and_fits(visit: Callable[..., Opened], language: str, scheme: str, width: int) -> None:
    opened = visit(language, width, color_scheme=scheme)
    page = opened.page
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true }")
    page.locator("#entries button.open").first.click()
    page.select_option("#by-alert", "*")
    found = Axe().run(page)
    assert [f"{rule['id']}: {rule['nodes'][0]['html']}" for rule in found.response["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(245, 246, 248)", "dark": "rgb(15, 21, 27)"}[scheme]
    assert page.evaluate("document.documentElement.lang") == {"de": "de"}.get(language, "en")


def test_it_prints_on_a4_also_out_of_the_dark(visit: Callable[..., Opened]) -> None:
    opened = visit(color_scheme="dark")
    page = opened.page
    printed = page.pdf(prefer_css_page_size=True, print_background=True)
    assert 2 <= printed.count(b"/Type /Page\n") <= A4_PAGES
    page.emulate_media(media="print", color_scheme="light")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(22, 32, 42)"
    for hidden in ("#filters", ".dt-paging", ".contents", "details.numbers", ".for-mice"):
        assert not page.locator(hidden).first.is_visible()
    # What is folded on the screen is printed, and the bound of the table is said.
    assert page.locator("details.more table").first.is_visible()
    assert "Only the first 1\u202f000 rows of the table are printed" in page.locator("#all .in-print").inner_text()
    for event, rows in (("beforeprint", 1000), ("afterprint", 25)):
        page.evaluate("event => { dispatchEvent(new Event(event)) }", event)
        assert len(opened.rows()) == rows


def test_both_charts_show_the_range_asked_for(visit: Callable[..., Opened]) -> None:
    page = visit("two").page
    labels = page.locator("#activity svg .role-axis-label text").all_text_contents()
    dates = [label for label in labels if not label.isdigit()]
    assert dates
    assert dates[: len(dates) // 2] == dates[len(dates) // 2 :]
    ends = [page.locator(f"#activity svg .{name}_marks").bounding_box() for name in ("missing", "gaps")]
    assert ends[0] is not None
    assert ends[1] is not None
    assert [round(ends[0][side]) for side in ("x", "width")] == [round(ends[1][side]) for side in ("x", "width")]


def test_action_and_origin_stay_visible_on_a_phone(visit: Callable[..., Opened]) -> None:
    page = visit(width=390).page
    for column in ("action", "address", "what"):
        assert page.locator(f"#entries tbody td.{column}").nth(3).is_visible()
    page.locator("#entries button.open").nth(3).click()
    assert page.locator("#entries .details").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_without_javascript_the_findings_are_there(visit: Callable[..., Opened]) -> None:
    opened = visit(ready=False, java_script_enabled=False)
    text = opened.page.inner_text("main")
    for printed in ("need JavaScript", "Needs attention", "A resource was deleted", "First seen", "Coverage"):
        assert printed in text


# --- The page of an access review


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same access review in each language, and one without data of the period before."""
    directory = tmp_path_factory.mktemp("reviews")
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
            Report({**options, **chosen}).write({"html": str(directory / f"{name}.html")})
    return {name: directory / f"{name}.html" for name in ("en", "de", "partial")}


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
