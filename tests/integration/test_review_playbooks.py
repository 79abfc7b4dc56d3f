# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks that open and close reviews, run as the engine or a user runs them."""

from __future__ import annotations

import base64
import email
import email.policy
import json
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.notify.hook import Hook

if TYPE_CHECKING:
    from .conftest import Controller

UUID = "0a1b2c3d-0000-4000-8000-00000000000"
ENTRY = {"action": "server_delete", "message": "{{ 7*7 }}", "actor": {"user": {"email": "kim@example.com"}}}


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as running:
        yield running


def play(controller: Controller, name: str, *more: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    ledger = str(controller.directory / "ledger")
    given = {"review_ledger": ledger, **variables}
    return controller.playbook(f"auditops.cloudscale.{name}", *more, "-e", json.dumps(given))


def opened(controller: Controller, number: int, reviewers: Any, *more: str) -> subprocess.CompletedProcess[str]:
    entry = base64.b64encode(json.dumps(ENTRY).encode()).decode()
    given = {"review_uuid": f"{UUID}{number}", "review_entry_base64": entry, "review_reviewers": reviewers}
    return play(controller, "review_open", *more, **given)


def test_a_review_is_opened_and_closed_by_somebody_else(controller: Controller) -> None:
    ledger = controller.directory / "ledger"
    checked = opened(controller, 0, ["lou@example.com"], "--check")
    assert (checked.returncode, ledger.exists()) == (0, False), checked.stdout + checked.stderr
    for number, reviewers in enumerate(["lou@example.com", ["Kim@example.com", "lou@example.com"]]):
        done = opened(controller, number, reviewers)
        assert done.returncode == 0, done.stdout + done.stderr
        record = json.loads((ledger / f"{UUID}{number}.json").read_text())
        assert (record["reviewer"], record["entry"]) == ("lou@example.com", ENTRY)
    assert "changed=0" in opened(controller, 0, "lou@example.com").stdout
    assert opened(controller, 2, ["KIM@example.com"]).returncode == 2
    for by, printed in (
        ("Kim@Example.com", "The actor of a change cannot acknowledge"),
        ("max@example.com", "Only lou@"),
    ):
        refused = play(controller, "review_acknowledge", review_id=f"{UUID}0", review_by=by)
        assert printed in refused.stdout + refused.stderr
    other = play(controller, "review_acknowledge", review_id=f"{UUID}0,{UUID}1", review_by="Lou@example.com")
    assert other.returncode == 0, other.stdout + other.stderr
    assert {json.loads(path.read_text())["state"] for path in ledger.iterdir()} == {"acknowledged"}


def test_events_are_reviewed_and_a_mail_is_pasted(controller: Controller, hook: Hook) -> None:
    """The command in a mail is run by a shell, from another directory than the playbook that sent it."""
    reader = controller.directory / "sendmail"
    reader.write_text(f'#!/bin/sh\ncat >> "{controller.directory}/mails"\n')
    reader.chmod(0o755)
    alert = {"id": UUID.replace("-", "") + "5", "detection": "deletion", "severity": "medium", "check": "Ask."}
    printed = [{**alert, "title": "A resource was deleted", "reviewer": "lou@example.com"}]
    review = base64.b64encode(json.dumps({"detections": printed, "entry": ENTRY}).encode()).decode()
    given = {
        "review_events": [review, review],
        "review_deputies": "lead@example.com",
        "review_mail_from": "audit@example.com",
        "review_sendmail": str(reader),
        "review_webhook_url": hook.url,
        "review_ledger": str(controller.directory / "a ledger"),
    }
    for playbook, more in (("review_open", {}), ("review_open", {}), ("review_remind", {"review_remind_after": "0s"})):
        done = play(controller, playbook, "-vvv", **given, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "s3cret" not in done.stdout + done.stderr
    assert [[one["id"] for one in taken.body["alerts"]] for taken in hook.taken] == [[printed[0]["id"]]] * 2
    assert "{{ 7*7 }}" in hook.taken[0].body["text"]

    mail = email.message_from_string((controller.directory / "mails").read_text(), policy=email.policy.default)
    assert mail["To"] == "lou@example.com"
    body = mail.get_content()
    command = body[body.index("ansible-playbook") :].split("\n\n")[0].split("From:")[0]
    pasted = subprocess.run(
        ["sh", "-c", command],
        cwd="/",
        env=controller.environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert pasted.returncode == 0, pasted.stdout + pasted.stderr
    record = json.loads((controller.directory / "a ledger" / f"{printed[0]['id']}.json").read_text())
    assert (record["state"], record["acknowledged_by"], record["sent"]) == ("acknowledged", "lou@example.com", 2)


def test_reviewers_and_reason_can_come_from_the_inventory(controller: Controller) -> None:
    inventory = controller.directory / "inventory.yml"
    variables = {"review_reviewers": "Kim@example.com, , lou@example.com", "review_reason": "As the policy says"}
    inventory.write_text(json.dumps({"all": {"vars": variables, "hosts": {"localhost": None}}}))
    entry = base64.b64encode(json.dumps(ENTRY).encode()).decode()
    given = {"review_uuid": f"{UUID}9", "review_entry_base64": entry}
    done = play(controller, "review_open", "-i", str(inventory), **given)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((controller.directory / "ledger" / f"{UUID}9.json").read_text())
    assert (record["reviewer"], record["alerts"][0]["title"]) == ("lou@example.com", "As the policy says")
