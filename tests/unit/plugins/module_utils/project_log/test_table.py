# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.table import table


def entry(email: str, message: str, address: Any = None) -> Any:
    return {
        "timestamp": "2026-11-22T12:23:17.460366Z",
        "action": "server_stop",
        "message": message,
        "ip_address": address,
        "actor": {"user": {"email": email}},
    }


def test_entries_stand_in_columns() -> None:
    entries = [entry("anna@example.com", "a", "192.0.2.7"), entry("b@example.com", "b\nnew line \x1b[31m")]
    assert table(entries) == [
        "2026-11-22 12:23:17 UTC  anna@example.com  192.0.2.7  server_stop  a",
        "2026-11-22 12:23:17 UTC  b@example.com                server_stop  b\ufffdnew line \ufffd[31m",
    ]


def test_a_column_without_anything_in_it_is_left_out() -> None:
    assert table([entry("b@example.com", "b")]) == ["2026-11-22 12:23:17 UTC  b@example.com  server_stop  b"]


def test_times_in_another_zone_carry_their_offset() -> None:
    summer = {**entry("b@example.com", "b"), "timestamp": "2026-07-01T22:00:00Z"}
    unreadable = {**entry("b@example.com", "b"), "timestamp": "noon"}
    assert table([entry("b@example.com", "b"), summer, unreadable], ZoneInfo("Europe/Zurich")) == [
        "2026-11-22 13:23:17 +01:00  b@example.com  server_stop  b",
        "2026-07-02 00:00:00 +02:00  b@example.com  server_stop  b",
        "noon                        b@example.com  server_stop  b",
    ]
    assert table([entry("b@example.com", "b")], ZoneInfo("UTC"), show_utc=False) == [
        "2026-11-22 12:23:17  b@example.com  server_stop  b"
    ]


def test_wide_characters_take_two_places() -> None:
    lines = table([entry("\u5c71\u7530", "x"), entry("anna", "x"), entry("a\u0301nna", "x")])
    assert lines[0].index("server_stop") == lines[1].index("server_stop") - 2
    assert lines[2].index("server_stop") == lines[1].index("server_stop") + 1


def test_long_texts_are_cut() -> None:
    line = table([entry("b@example.com", "x" * 1_000_000)])[0]
    assert line.endswith("xxx...")
    assert len(line) < 250


def test_an_empty_list_has_no_lines() -> None:
    assert table([]) == []
