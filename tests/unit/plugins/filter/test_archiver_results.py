# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filters for the output of the command on archiver hosts. Ledgers have tests with the playbook check_archivers."""

from __future__ import annotations

import json

from ansible_collections.auditops.cloudscale.plugins.filter.archiver_results import archiver_failures


def test_failing_projects_are_named_with_their_failed_checks() -> None:
    failed = {"name": "space", "failed": True, "detail": "No room."}
    passed = {"name": "clock", "failed": False, "detail": "right"}
    archives = [
        {"name": "main", "checks": [passed], "exit_status": 0},
        {"name": "other", "checks": [passed, failed], "exit_status": 4},
        {"name": "third", "msg": "No token for third.", "exit_status": 2},
    ]
    sentences = archiver_failures({"rc": 4, "stdout": json.dumps({"archives": archives})})
    assert sentences == ["other cannot be collected: space: No room.", "third cannot be collected: No token for third."]
    assert archiver_failures({"rc": 0, "stdout": ""}) == archiver_failures({"skipped": True}) == []
    assert archiver_failures({"rc": 1, "stdout": "", "stderr": "no such unit"}) == ["no such unit"]
    assert archiver_failures({"rc": 255, "stdout": "", "stderr": ""}) == [
        "The doctor ended with status 255 and no output; see the journal of the host."
    ]
