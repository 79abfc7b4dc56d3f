# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks that open and close reviews, run as the engine or a user runs them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

    from .conftest import Controller

UUID = "0a1b2c3d-0000-4000-8000-00000000000"
ENTRY = {"action": "server_delete", "message": "{{ 7*7 }}", "actor": {"user": {"email": "kim@example.com"}}}


def play(controller: Controller, name: str, *more: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    ledger = str(controller.folder / "ledger")
    return controller.playbook(
        f"auditops.cloudscale.{name}", *more, "-e", json.dumps({"review_ledger": ledger, **variables})
    )


def opened(controller: Controller, number: int, reviewers: Any, *more: str) -> subprocess.CompletedProcess[str]:
    entry = base64.b64encode(json.dumps(ENTRY).encode()).decode()
    given = {"review_uuid": f"{UUID}{number}", "review_entry_base64": entry, "review_reviewers": reviewers}
    return play(controller, "review_open", *more, **given)


def test_a_review_is_opened_and_closed_by_somebody_else(controller: Controller) -> None:
    ledger = controller.folder / "ledger"
    checked = opened(controller, 0, ["lou@example.com"], "--check")
    assert (checked.returncode, ledger.exists()) == (0, False), checked.stdout + checked.stderr
    for number, reviewers in enumerate(["lou@example.com", ["Kim@example.com", "lou@example.com", ""]]):
        done = opened(controller, number, reviewers)
        assert done.returncode == 0, done.stdout + done.stderr
        record = json.loads((ledger / f"{UUID}{number}.json").read_text())
        assert (record["reviewer"], record["entry"]) == ("lou@example.com", ENTRY)
    assert opened(controller, 2, ["KIM@example.com"]).returncode == 2
    own = play(controller, "review_acknowledge", review_uuid=f"{UUID}0", review_by="Kim@Example.com")
    assert "Nobody acknowledges their own change" in own.stdout + own.stderr
    other = play(controller, "review_acknowledge", review_uuid=f"{UUID}0", review_by="Lou@example.com")
    assert other.returncode == 0, other.stdout + other.stderr
    assert json.loads((ledger / f"{UUID}0.json").read_text())["state"] == "acknowledged"


def test_reviewers_and_reason_may_come_from_the_inventory(controller: Controller) -> None:
    inventory = controller.folder / "inventory.yml"
    variables = {"review_reviewers": "Kim@example.com, , lou@example.com", "review_reason": "As the policy says"}
    inventory.write_text(json.dumps({"all": {"vars": variables, "hosts": {"localhost": None}}}))
    entry = base64.b64encode(json.dumps(ENTRY).encode()).decode()
    given = {"review_uuid": f"{UUID}9", "review_entry_base64": entry}
    done = play(controller, "review_open", "-i", str(inventory), **given)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((controller.folder / "ledger" / f"{UUID}9.json").read_text())
    assert (record["reviewer"], record["reason"]) == ("lou@example.com", "As the policy says")
