# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The archive's modules, through real playbook runs."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import cat
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.signer import Signer

if TYPE_CHECKING:
    from .conftest import Controller, Results

ARCHIVE = "auditops.cloudscale.project_logs_archive"
INFO = "auditops.cloudscale.project_logs_archive_info"
OTHER_HEAD = {"sequence": 1, "sha256": "0" * 64}


def kept(path: Path) -> list[Any]:
    return list(cat(LocalStore(str(path))))


@pytest.fixture(scope="module")
def path(controller: Controller) -> Path:
    return controller.directory / "archive"


@pytest.fixture(scope="module")
def first(controller: Controller, simulator: Simulator, path: Path) -> Results:
    """A first round: check mode, two runs, and the status after them."""
    log = simulator.project("main").log
    for message in ("one", "{{ 7*7 }}", "<script>", "four"):
        log.append(action="server_create", message=message)
    collect = {ARCHIVE: {"path": str(path), "project": "shop"}}
    return controller.run(
        {
            "none yet": {INFO: {"path": str(path)}},
            "dry": {**collect, "check_mode": True},
            "still none": {"ansible.builtin.stat": {"path": str(path)}},
            "collected": collect,
            "again": collect,
            "dry again": {**collect, "check_mode": True},
            "verified": {INFO: {"path": str(path), "verify": True, "expected_head": "{{ case_3.head }}"}},
            "status": {INFO: {"path": str(path), "api_token": "not used"}},
            "other head": {
                INFO: {"path": str(path), "verify": True, "expected_head": {"sequence": 1, "sha256": "0" * 64}}
            },
            "other head unverified": {
                INFO: {"path": str(path), "verify": False, "expected_head": {"sequence": 1, "sha256": "0" * 64}}
            },
            "bad start": {ARCHIVE: {"path": str(path), "start": "soon"}},
            "wrong token": {ARCHIVE: {"path": str(path), "api_token": "wrong-but-well-formed-0123456789"}},
            "no path": {ARCHIVE: {}},
            "on a file": {ARCHIVE: {"path": "/etc/hostname"}},
        }
    )


def test_check_mode_returns_what_would_be_added_and_writes_nothing(first: Results) -> None:
    assert (first["dry"]["changed"], first["dry"]["added"]) == (True, 4)
    assert first["still none"]["stat"]["exists"] is False
    assert (first["dry again"]["changed"], first["dry again"]["added"]) == (False, 0)


def test_everything_is_kept_once(first: Results, simulator: Simulator, path: Path) -> None:
    assert (first["collected"]["changed"], first["collected"]["added"], first["collected"]["commits_added"]) == (
        True,
        4,
        1,
    )
    assert (first["again"]["changed"], first["again"]["added"]) == (False, 0)
    assert first["again"]["head"]["sequence"] == 1
    assert kept(path)[:4] == simulator.project("main").log.entries[:4]


def test_the_result_contains_the_covered_range(first: Results) -> None:
    collected = first["collected"]
    assert collected["covered_from"] < collected["covered_until"] < collected["retention_deadline"]
    assert (collected["gaps"], collected["state"]) == ([], "current")


def test_an_intact_archive_is_verified(first: Results) -> None:
    assert first["verified"]["findings"] == []
    assert first["verified"]["status"]["head"] == first["collected"]["head"]
    assert first["status"]["status"]["state"] == "current"


@pytest.mark.parametrize(
    ("case", "code", "words"),
    [
        ("none yet", "storage", ["There is no archive in", "check the path"]),
        ("other head", "archive_damaged", ["is not intact", "head"]),
        ("other head unverified", "invalid_input", ["expected_head, allowed_signers and heads require verify=true"]),
        ("bad start", "invalid_input", ["start", "Use a date"]),
        ("wrong token", "unauthorized", ["check api_token"]),
        ("no path", "invalid_input", ["path"]),
        ("on a file", "storage", ["/etc/hostname"]),
    ],
)
def test_failures_are_reported(first: Results, case: str, code: str, words: list[str]) -> None:
    assert first[case]["failed"] is True
    assert first[case]["failure"]["code"] == code
    assert [word for word in words if word not in first[case]["msg"]] == []


def test_a_failed_run_keeps_its_commits_and_the_next_continues(
    first: Results, controller: Controller, simulator: Simulator, path: Path
) -> None:
    log = simulator.project("main").log
    for number in range(9):
        log.append(action="server_stop", message=str(number))
    simulator.script(Fault("pass"), Fault("status", status=500))
    collect = {ARCHIVE: {"path": str(path), "api_retries": 0}}
    done = controller.run({"broken": collect, "next": collect, "verified": {INFO: {"path": str(path), "verify": True}}})
    assert done["broken"]["failure"] == {"code": "service_unavailable", "http_status": 500, "retryable": True}
    assert done["next"]["added"] == 6
    assert done["verified"]["findings"] == []
    assert kept(path) == log.entries


def test_another_project_is_kept_out(first: Results, controller: Controller, simulator: Simulator, path: Path) -> None:
    other = simulator.add_project("other")
    other.log.append(action="server_create", message="not of this archive")
    before = kept(path)
    mixed = controller.run({"mixed": {ARCHIVE: {"path": str(path), "api_token": other.token}}})["mixed"]
    assert mixed["failure"]["code"] == "project_mismatch"
    assert kept(path) == before


def test_every_commit_is_signed_and_only_allowed_signers_count(
    first: Results, controller: Controller, simulator: Simulator, tmp_path: Path
) -> None:
    signer, stranger, path = Signer(tmp_path, "log1"), Signer(tmp_path, "stranger"), tmp_path / "archive"
    collect = {"path": str(path), "sign_key": signer.key, "pin": str(tmp_path / "pin")}
    ask = {INFO: {"path": str(path), "verify": True, "allowed_signers": signer.allowed}}
    simulator.project("main").log.append(action="server_stop", message="to be signed")
    done = controller.run(
        {
            "begun": {ARCHIVE: {"path": str(path)}},
            "no key": {ARCHIVE: {**collect, "sign_key": "/nowhere/key"}},
            "not pinned": {ARCHIVE: {**collect, "sign_key": signer.key}},
            "unsigned": ask,
            "pinned": {ARCHIVE: {"path": str(path), "pin": str(tmp_path / "pin")}},
        }
    )
    simulator.project("main").log.append(action="server_stop", message="signed")
    assert done["no key"]["failure"]["code"] == "invalid_input"
    assert "is not signed" in done["not pinned"]["msg"]
    assert [finding["type"] for finding in done["unsigned"]["findings"]] == ["signature_absent"]
    done = controller.run(
        {
            "dry": {ARCHIVE: collect, "check_mode": True},
            "signed": {ARCHIVE: collect},
            "verified": ask,
            "nothing new": {ARCHIVE: collect},
            "without a key": {ARCHIVE: {"path": str(path)}},
            "strange": {INFO: {"path": str(path), "verify": True, "allowed_signers": stranger.allowed}},
            "nowhere": {INFO: {"path": str(path), "verify": True, "allowed_signers": "/nowhere/allowed"}},
        }
    )
    assert (done["dry"]["added"], done["signed"]["added"], done["nothing new"]["added"]) == (1, 1, 0)
    assert done["verified"]["findings"] == []
    assert "this run has no key" in done["without a key"]["msg"]
    assert [finding["type"] for finding in done["strange"]["findings"]] == ["signature_bad"]
    assert done["nowhere"]["failure"]["code"] == "invalid_input"


def test_findings_fail_and_are_named(first: Results, controller: Controller, path: Path) -> None:
    victim = next((path / "entries").rglob("*.gz"))
    whole = victim.read_bytes()
    victim.write_bytes(whole + b"x")
    found = controller.run({"found": {INFO: {"path": str(path), "verify": True}}})["found"]
    victim.write_bytes(whole)
    assert found["failed"] is True
    assert [finding["type"] for finding in found["findings"]] == ["appended"]
    assert found["findings"][0]["path"] == str(victim.relative_to(path))
    assert found["failure"]["code"] == "archive_damaged"
    assert found["status"]["state"] == "current"
    assert "Traceback" not in json.dumps(found)


def test_findings_are_returned_even_if_the_head_is_unreadable(
    first: Results, controller: Controller, path: Path
) -> None:
    head = max((path / "commits").iterdir())
    whole = head.read_bytes()
    head.write_bytes(whole[:-20])
    found = controller.run({"found": {INFO: {"path": str(path), "verify": True}}})["found"]
    head.write_bytes(whole)
    assert [finding["type"] for finding in found["findings"]] == ["commit_malformed"]
    assert (found["failure"]["code"], found["status"]) == ("archive_damaged", None)


def test_the_archive_is_compared_with_what_the_provider_has(
    first: Results, controller: Controller, simulator: Simulator, path: Path
) -> None:
    log = simulator.project("main").log
    info = {"path": str(path), "reconcile": True}
    log.append(timestamp=datetime.now(timezone.utc) - timedelta(days=3), message="before")
    controller.run({"collected": {ARCHIVE: {"path": str(path)}}})
    log.append(timestamp=datetime.now(timezone.utc) - timedelta(days=2), message="never collected")
    done = controller.run(
        {
            "different": {INFO: info},
            "same": {INFO: {**info, "end": "-60h"}},
            "without": {INFO: {"path": str(path), "start": "-7d"}},
            "no token": {INFO: {**info, "api_token": "wrong-but-well-formed-0123456789"}},
        }
    )
    assert done["different"]["failed"] is True
    assert [finding["type"] for finding in done["different"]["findings"]] == ["missing_in_archive"]
    assert "differs from the provider's log: 1 finding is" in done["different"]["msg"]
    assert done["different"]["reconciled"]["entries"] >= 1
    assert (done["same"]["findings"], done["same"]["reconciled"]["entries"]) == ([], 1)
    assert done["same"]["status"]["state"] == "current"
    assert done["without"]["failure"]["code"] == "invalid_input"
    assert done["no token"]["failure"]["code"] == "unauthorized"
