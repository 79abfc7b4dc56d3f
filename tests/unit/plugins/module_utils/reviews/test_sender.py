# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages to reviewers: one for each, repeated after a failure, with a command that can be pasted."""

from __future__ import annotations

import email
import email.policy
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import AuditError, InvalidInput, NotDelivered
from ansible_collections.auditops.cloudscale.plugins.module_utils.reviews.ledger import Review
from ansible_collections.auditops.cloudscale.plugins.module_utils.reviews.sender import compose
from ansible_collections.auditops.cloudscale.plugins.module_utils.reviews.service import ReviewService
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.notify.hook import Hook, NoWait
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.reviews.test_ledger import (
    ENTRY,
    ID,
    alert,
    event,
)

OTHER = ID.replace("0", "1")


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as running:
        yield running


@pytest.fixture
def sendmail(tmp_path: Path) -> Path:
    path = tmp_path / "sendmail"
    path.write_text(f'#!/bin/sh\ncd "{tmp_path}"\n[ ! -e fail ] || exit 75\ncat > "mail$(ls mail* | wc -l)"\n')
    path.chmod(0o755)
    return path


def mails(sendmail: Path) -> list[Any]:
    files = sorted(path for path in sendmail.parent.iterdir() if path.name.startswith("mail"))
    return [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in files]


class Office:
    """A ledger and the channels to reviewers."""

    def __init__(self, directory: Path, hook: Hook, sendmail: Path) -> None:
        self.ledger = directory / "the ledger"
        self.options: dict[str, Any] = {
            "ledger": str(self.ledger),
            "deputies": ["lead@example.com"],
            "webhook": {"url": hook.url, "token_file": "", "ca_path": None},
            "mail": {"from": "audit@example.com", "sendmail": str(sendmail)},
        }

    def run(self, check: bool = False, **options: Any) -> tuple[list[Review], bool]:
        return ReviewService({**self.options, **options}, check).run(NoWait())


@pytest.fixture
def office(tmp_path: Path, hook: Hook, sendmail: Path) -> Office:
    return Office(tmp_path, hook, sendmail)


def review(*alerts: dict[str, Any], reviewer: str = "lou@example.com", sent: int = 0, **entry: Any) -> Review:
    given = list(alerts) or [alert()]
    return Review(given[0]["id"], reviewer, "2026-11-22T12:05:00Z", given, {**ENTRY, **entry}, sent=sent)


def test_a_message_asks_the_reviewer_and_has_all_facts() -> None:
    unknown = alert(OTHER, "high", detection="unknown_network", title="A change came from an unknown network", check="")
    message = compose([review(alert(), unknown)], "/var/lib/rulebook/reviews")
    subject = "[high] A resource was deleted; a change came from an unknown network in shop"
    assert message.subject == f"Please review: {subject}"
    assert message.text.splitlines() == [
        "lou@example.com, please review this change:",
        subject,
        "Server '{{ 7*7 }}' has been deleted",
        "By kim@example.com from 192.0.2.7, 2026-11-22 12:00:00 UTC",
        "What to do: Ask the actor.",
        "Acknowledge it with:",
        "ansible-playbook auditops.cloudscale.review_acknowledge \\",
        "  -e review_ledger=/var/lib/rulebook/reviews \\",
        f"  -e review_id={ID} \\",
        "  -e review_by=lou@example.com",
    ]
    assert [alert["id"] for alert in message.alerts] == [ID, OTHER]
    assert message.alerts[0]["reviewer"] == "lou@example.com"


def test_the_reviews_of_one_reviewer_are_one_message() -> None:
    message = compose([review(), review(alert(OTHER, "critical"))], "/l")
    assert message.subject == "Please review: [critical] 2 changes in shop"
    who = "  By kim@example.com from 192.0.2.7, 2026-11-22 12:00:00 UTC"
    assert message.text.splitlines()[:6] == [
        "lou@example.com, please review these 2 changes:",
        "- [medium] A resource was deleted: Server '{{ 7*7 }}' has been deleted",
        who,
        "- [critical] A resource was deleted: Server '{{ 7*7 }}' has been deleted",
        who,
        "Acknowledge them with:",
    ]
    assert f"-e review_id={ID},{OTHER} " in message.text


@pytest.mark.parametrize("ledger", ["/var/lib/reviews", "/a b/'c'", '/"{}$(id)', "/l\u00e9dger"])
@pytest.mark.parametrize("reviewer", ["lou@example.com", "Lou O'Neil <$HOME> \\"])
def test_the_command_can_be_pasted_as_it_is(ledger: str, reviewer: str) -> None:
    splitter = pytest.importorskip("ansible.parsing.splitter")
    body = compose([review(reviewer=reviewer)], ledger).body
    words = shlex.split(body[body.index("ansible-playbook") :].replace("\\\n", " "))
    assert words[:2] == ["ansible-playbook", "auditops.cloudscale.review_acknowledge"]
    given: dict[str, Any] = {}
    for flag, word in zip(words[2::2], words[3::2], strict=True):
        assert flag == "-e"
        given.update(json.loads(word) if word.startswith("{") else splitter.parse_kv(word))
    assert given == {"review_ledger": ledger, "review_id": ID, "review_by": reviewer}


def test_hostile_entries_are_text(office: Office, hook: Hook, sendmail: Path) -> None:
    office.run(
        reviews=[event(message="<!channel> @here\r\nBcc: x@evil.example\x1b[31m")], reviewers=["lou@example.com"]
    )
    (mail,) = mails(sendmail)
    assert (mail["To"], mail["Bcc"]) == ("lou@example.com", None)
    text = hook.taken[0].body["text"]
    assert "<!channel>" not in text
    assert "@here" not in text
    assert "\x1b" not in text + mail.get_content()


def test_each_reviewer_gets_one_message(office: Office, hook: Hook, sendmail: Path) -> None:
    numbers = [f"{number:032x}" for number in range(12)]
    events = [event(alert(number)) for number in numbers]
    people = ["lou@example.com", "max@example.com"]
    reviews, changed = office.run(reviews=events, reviewers=people)
    assert changed
    assert [one.id for one in reviews] == numbers
    assert {one.sent for one in reviews} == {1}
    assert sorted(mail["To"] for mail in mails(sendmail)) == people
    assert len(hook.taken) == 2
    assert {one["id"] for taken in hook.taken for one in taken.body["alerts"]} == set(numbers)
    assert office.run(reviews=events, reviewers=people) == (reviews, False)
    assert len(hook.taken) == 2


def test_a_reminder_is_another_message(office: Office, hook: Hook) -> None:
    office.run(reviews=[event()], reviewers=["lou@example.com"])
    assert office.run(remind_after="1h") == ([], False)
    (reminded,), changed = office.run(remind_after="0s")
    assert (reminded.sent, changed) == (2, True)
    keys = [taken.headers["Idempotency-Key"] for taken in hook.taken]
    assert len(set(keys)) == len(keys) == 2


def test_an_undelivered_message_is_sent_again_with_the_same_key(office: Office, hook: Hook, sendmail: Path) -> None:
    given = {"reviews": [event()], "reviewers": ["lou@example.com"]}
    hook.answer = (403, {})
    with pytest.raises(NotDelivered, match=r"^Not all reviews were sent; review_remind retries them: lou@example"):
        office.run(**given)
    assert len(list(office.ledger.iterdir())) == 1
    hook.answer = (200, {})
    (sent,), changed = office.run(**given)
    assert (sent.sent, changed) == (1, True)
    assert len({seen.headers["Idempotency-Key"] for seen in hook.seen}) == 1


def test_a_failure_for_one_reviewer_does_not_affect_the_others(office: Office, hook: Hook, sendmail: Path) -> None:
    events = [event(alert(ID, reviewer="Lou")), event(alert(OTHER, reviewer="max@example.com"))]
    with pytest.raises(NotDelivered, match="Lou: The reviewer is not an e-mail address, so no mail can be sent"):
        office.run(reviews=events)
    assert [mail["To"] for mail in mails(sendmail)] == ["max@example.com"]
    assert len(hook.taken) == 1


def test_reviews_are_opened_without_a_channel(office: Office, hook: Hook) -> None:
    (opened,), changed = office.run(reviews=[event()], reviewers=["lou@example.com"], webhook=None, mail=None)
    assert (opened.sent, changed, hook.taken) == (0, True, [])


def test_check_mode_does_nothing(office: Office, hook: Hook) -> None:
    given = {"reviews": [event()], "reviewers": ["lou@example.com"]}
    (opened,), changed = office.run(check=True, **given)
    assert (opened.reviewer, changed, office.ledger.exists()) == ("lou@example.com", True, False)
    office.run(**given)
    assert office.run(check=True, **given)[1] is False
    (closed,), changed = office.run(check=True, acknowledge=[ID], by="lead@example.com")
    assert (closed.state, changed) == ("acknowledged", True)
    (left,), changed = office.run(check=True, remind_after="0s")
    assert (left.state, left.sent, changed, len(hook.taken)) == ("open", 1, True, 1)


def test_several_are_acknowledged_at_once(office: Office) -> None:
    office.run(reviews=[event(alert(ID)), event(alert(OTHER))], reviewers=["lou@example.com"])
    closed, changed = office.run(acknowledge=[ID, OTHER], by="lou@example.com")
    assert ([one.state for one in closed], changed) == (["acknowledged"] * 2, True)
    assert office.run(acknowledge=[ID, OTHER], by="lou@example.com")[1] is False


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"webhook": {"url": "http://chat.example.com/s3cret"}}, "webhook: url would send alerts to chat.example.com"),
        ({"mail": {"from": "x y"}}, "mail: from must be an e-mail address"),
        ({"remind_after": "soon"}, "remind_after: 'soon' is not a valid duration"),
        ({"reviewers": 5}, "reviewers: 5 is not a list of texts"),
    ],
)
def test_options_are_checked_first(office: Office, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        office.run(**{"reviews": [event()], **options})
    assert refused.value.message.startswith(sentence)
    assert not office.ledger.exists()


def test_a_missing_token_file_is_reported(office: Office, tmp_path: Path) -> None:
    office.options["webhook"]["token_file"] = str(tmp_path / "missing")
    with pytest.raises(AuditError, match="The token_file /.*/missing cannot be read"):
        office.run(reviews=[event()], reviewers=["lou@example.com"])
