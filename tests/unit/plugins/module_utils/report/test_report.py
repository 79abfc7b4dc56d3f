# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report refuses before it reads anything, and how it words a range; needs none of the reports' libraries."""

from __future__ import annotations

import sys
from typing import Any, Dict

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import InvalidInput, MissingDependency
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.markdown import text
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.report import Report, destinations
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.translations import (
    LANGUAGES,
    Words,
    format_count,
)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"time_zone": "Mars/Olympus"}, "no time zone"),
        ({"time_zone": "../../etc/passwd"}, "no time zone"),
        ({"language": "fr"}, "none of en, de"),
        ({"working_hours": "nine to five"}, "is none; write it as"),
        ({"working_hours": "18:00-08:00"}, "is none; write it as"),
        ({"baseline": "a while"}, "no length of time"),
        ({"ip_networks": ["nowhere"]}, "no network"),
    ],
)
def test_options_that_cannot_be_used_are_named(options: Dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        Report(options)


def test_the_suffix_names_the_form() -> None:
    assert destinations("/tmp/a.b/report.HTML", []) == {"html": "/tmp/a.b/report.HTML"}
    assert destinations("report.md", ["md", "csv"]) == {"md": "report.md", "csv": "report.csv"}
    for dest in ("report", "report.txt", ".html"):
        with pytest.raises(InvalidInput, match="names no form"):
            destinations(dest, [])


@pytest.mark.parametrize(
    ("form", "missing", "library"),
    [
        ("csv", ["ibis", "itables"], "ibis-framework[duckdb]"),
        ("html", ["itables"], "itables"),
        ("html", ["vl_convert", "itables"], "vl-convert-python, itables"),
        ("html", ["duckdb", "ibis", "jinja2"], "ibis-framework[duckdb], jinja2"),
    ],
)
def test_a_missing_library_is_told_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, form: str, missing: list[str], library: str
) -> None:
    for name in ("duckdb", "ibis", "jinja2", "vl_convert", "itables"):
        monkeypatch.setitem(sys.modules, name, None if name in missing else sys)
    with pytest.raises(MissingDependency) as caught:
        Report({"api_token": "t", "api_url": "https://127.0.0.1:1/v1"}).write({form: "/nowhere"})
    assert caught.value.library == library


@pytest.mark.parametrize(
    ("start", "end", "english", "german"),
    [
        ("", "", "everything that is kept", "alles, was aufbewahrt ist"),
        ("-30d", "", "the last 30 days", "die letzten 30 Tage"),
        ("2026-01-01", "2026-02-01", "2026-01-01 to 2026-02-01", "2026-01-01 bis 2026-02-01"),
        ("2026-01-01", "", "2026-01-01 to now", "2026-01-01 bis jetzt"),
        ("-1d", "", "the last 24 hours", "die letzten 24 Stunden"),
        ("-2w", "-1w", "\u22122 weeks to \u22127 days", "\u22122 Wochen bis \u22127 Tage"),
    ],
)
def test_a_range_is_told_as_it_was_asked_for(start: str, end: str, english: str, german: str) -> None:
    assert [Words(language).asked(start, end) for language in LANGUAGES] == [english, german]


def test_numbers_have_their_thousands_apart() -> None:
    assert [format_count(value) for value in (0, 999, 1000, 1234567)] == [
        "0",
        "999",
        "1\u202f000",
        "1\u202f234\u202f567",
    ]


def test_markdown_is_text() -> None:
    assert text("a|b [c](d) <e> `f` \\ *g* ~h~") == "a\\|b \\[c\\](d) &lt;e&gt; \\`f\\` \\\\ \\*g\\* \\~h\\~"
