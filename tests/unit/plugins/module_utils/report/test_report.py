# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report refuses before it reads anything, and how it words a range; needs none of the reports' libraries."""

from __future__ import annotations

import re
import sys
from datetime import datetime, timedelta, timezone
from typing import Any, Dict

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import InvalidInput, MissingDependency
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.markup import code, text
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.query.sources import Sources
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.report import Report, destinations
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.translations import (
    format_count,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"time_zone": "Mars/Olympus"}, "is not a time zone"),
        ({"time_zone": "../../etc/passwd"}, "is not a time zone"),
        ({"language": "fr"}, "is not valid; use one of en, de"),
        ({"working_hours": "nine to five"}, "is not valid; use a form such as"),
        ({"working_hours": "18:00-08:00"}, "is not valid; use a form such as"),
        ({"baseline": "a while"}, "not a valid duration"),
        ({"ip_networks": ["nowhere"]}, "is not a valid network"),
    ],
)
def test_options_that_cannot_be_used_are_named(options: Dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        Report(options)


def test_the_suffix_names_the_form() -> None:
    assert destinations("/tmp/a.b/report.HTML", []) == {"html": "/tmp/a.b/report.HTML"}
    assert destinations("report.md", ["md", "parquet"]) == {"md": "report.md", "parquet": "report.parquet"}
    wanted = {"csv": "a.csv", "jsonl": "a.jsonl", "meta": "a.meta.json"}
    assert destinations("a.csv", ["jsonl"]) == wanted
    for dest in ("report", "report.txt", ".html"):
        with pytest.raises(InvalidInput, match="is not supported; use"):
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
def test_a_missing_library_is_reported_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, form: str, missing: list[str], library: str
) -> None:
    for name in ("duckdb", "ibis", "jinja2", "vl_convert", "itables"):
        monkeypatch.setitem(sys.modules, name, None if name in missing else sys)
    with pytest.raises(MissingDependency) as caught:
        Report({"api_token": "t", "api_url": "https://127.0.0.1:1/v1"}).write({form: "/nowhere"})
    assert caught.value.library == library


def test_numbers_have_their_thousands_apart() -> None:
    assert [format_count(value) for value in (0, 999, 1000, 1234567)] == [
        "0",
        "999",
        "1\u202f000",
        "1\u202f234\u202f567",
    ]


def test_markdown_is_text() -> None:
    assert text("a|b [c](d) <e> `f` \\ *g* ~h~") == "a\\|b \\[c\\](d) &lt;e&gt; \\`f\\` \\\\ \\*g\\* \\~h\\~"


@pytest.mark.parametrize(
    ("value", "span"),
    [
        ("", ""),
        ("https://evil.example/ www.evil.example", "`https://evil.example/ www.evil.example`"),
        ("@team closes #12 and !3 & <b>*x*</b> _y_", "`@team closes #12 and !3 & <b>*x*</b> _y_`"),
        ("a`b", "``a`b``"),
        ("`` @team ``", "``` `` @team `` ```"),
        ("`", "`` ` ``"),
        (" ", "`   `"),
        ("a|b||c", r"`a\|b\|\|c`"),
        ("a\\|b", r"`a\\\|b`"),
        ("a\\", "`a\\`"),
    ],
)
def test_a_code_span_holds_any_text(value: str, span: str) -> None:
    assert code(value) == span


@given(st.text(alphabet="`|\\ @a", max_size=12))
def test_no_text_ends_a_code_span_or_a_cell_of_a_table(value: str) -> None:
    span = code(value)
    if not value:
        return
    fence = re.match("`+", span)
    assert fence is not None
    inside = span[len(fence[0]) : -len(fence[0])]
    assert span.endswith(fence[0])
    assert fence[0] not in re.findall("`+", inside)
    assert not inside.startswith("`")
    assert not inside.endswith("`")
    # A pipe that is not escaped would end the cell; two backslashes are one that escapes nothing.
    assert "|" not in re.sub(r"\\.", "", inside)


@pytest.mark.parametrize("value", [[""], "", None, " "])
def test_an_empty_list_of_archives_is_not_set(value: Any) -> None:
    with pytest.raises(InvalidInput, match="api_token"):
        Sources({"archives": value}, "/nowhere", NOW, timedelta(0))


def test_an_empty_path_among_archives_is_refused() -> None:
    with pytest.raises(InvalidInput, match="archives: item 2 of 2 is empty"):
        Sources({"archives": ["/a", ""]}, "/nowhere", NOW, timedelta(0))
