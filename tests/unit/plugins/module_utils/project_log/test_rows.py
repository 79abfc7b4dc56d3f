# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import csv
import io

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.rows import neutralize_formula, row


def test_a_row_tells_an_entry_in_words() -> None:
    entry = {
        "timestamp": "2025-12-11T12:23:17.460366Z",
        "action": "server_create",
        "message": "Server 'hello' has been created",
        "ip_address": "172.30.244.1",
        "actor": {"api_token": {"uuid": "0a1b", "description": "ci deploy"}},
        "subject": {"project": {"uuid": "2c3d", "name": "Shop"}},
    }
    assert row(entry) == {
        "day": "2025-12-11",
        "time": "2025-12-11 12:23:17",
        "actor": "ci deploy",
        "actor_kind": "api_token",
        "action": "server_create",
        "message": "Server 'hello' has been created",
        "ip_address": "172.30.244.1",
        "resource_kind": "server",
        "resource": "hello",
        "subject": "Shop",
    }


def test_what_is_absent_or_unreadable_stays_tellable() -> None:
    found = row({"timestamp": "some time", "ip_address": None})
    assert (found["day"], found["time"], found["ip_address"], found["actor"]) == ("", "some time", "", "unknown")


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("text", ["=1", " =1", "a;=1", "a; -1;b", 'a;"=1";b', ";@a", "\uff1d1", "a;\uff1d1"])
def test_no_cell_is_a_formula_whatever_separates_cells(quoting: int, delimiter: str, text: str) -> None:
    written = io.StringIO()
    csv.writer(written, quoting=quoting).writerow(["first", neutralize_formula(text), "last"])
    cells = next(csv.reader([written.getvalue()], delimiter=delimiter))
    assert not [cell for cell in cells if cell.lstrip(' "').startswith(("=", "+", "-", "@", "\uff1d"))]


def test_texts_that_are_not_formulas_stay_unchanged() -> None:
    for text in ("", "a", "a=b", "a; b", "a, -1", "1-2;3", 'a "quoted" cell', "'=1"):
        assert neutralize_formula(text) == text
