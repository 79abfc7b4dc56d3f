# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger of reviews: who is nominated, who may acknowledge, and what survives a kill."""

from __future__ import annotations

import json
import os
import threading
from base64 import b64encode
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.detector import assign_reviewer
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import InvalidInput, StorageError
from ansible_collections.auditops.cloudscale.plugins.module_utils.reviews.ledger import Ledger, ReviewRequest

ID = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
UUID = "0a1b2c3d-0000-4000-8000-000000000000"
ENTRY = {
    "timestamp": "2026-11-22T12:00:00Z",
    "action": "server_delete",
    "message": "Server '{{ 7*7 }}' has been deleted",
    "ip_address": "192.0.2.7",
    "actor": {"user": {"email": "kim@example.com"}},
    "subject": {"project": {"uuid": "p", "name": "shop"}},
}
PEOPLE = ["Kim@Example.com", "lou@example.com", "max@example.com"]


def packed(value: Any) -> str:
    return b64encode(json.dumps(value).encode()).decode()


def alert(number: str = ID, severity: str = "medium", reviewer: Any = None, **more: Any) -> dict[str, Any]:
    result = {"detection": "deletion", "title": "A resource was deleted", "check": "Ask the actor.", **more}
    return {"id": number, "severity": severity, "reviewer": reviewer, **result}


def event(*alerts: dict[str, Any], **entry: Any) -> str:
    return packed({"detections": alerts or [alert()], "entry": {**ENTRY, **entry}})


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 12, 5, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Ledger:
    return Ledger(str(tmp_path / "ledger"), clock)


def test_the_same_event_opens_one_review(ledger: Ledger, tmp_path: Path) -> None:
    request = ReviewRequest.from_event(event())
    review, is_new = ledger.open(request, PEOPLE)
    assert (is_new, review.reviewer, review.state, review.sent) == (True, assign_reviewer(ID, ENTRY, PEOPLE), "open", 0)
    assert ledger.open(request, ["new@example.com"]) == (review, False)
    (record,) = (tmp_path / "ledger").iterdir()
    assert (record.name, record.stat().st_mode & 0o777) == (f"{ID}.json", 0o600)
    assert (tmp_path / "ledger").stat().st_mode & 0o777 == 0o700
    assert json.loads(record.read_text())["entry"] == ENTRY


def test_the_most_severe_alert_gives_a_review_its_id_and_its_reviewer(ledger: Ledger) -> None:
    other = ID.replace("0", "1")
    request = ReviewRequest.from_event(
        event(alert(reviewer="lou@example.com"), alert(other, "high", "max@example.com"))
    )
    review, _is_new = ledger.open(request, ["anna@example.com"])
    assert (review.id, review.reviewer, len(review.alerts)) == (other, "max@example.com", 2)


def test_an_entry_without_an_alert_can_be_reviewed(ledger: Ledger) -> None:
    review, _is_new = ledger.open(ReviewRequest.from_entry(UUID, packed(ENTRY), "As the policy says"), PEOPLE)
    assert (review.id, review.entry, review.alerts[0]["title"]) == (UUID, ENTRY, "As the policy says")
    review, _is_new = ledger.open(ReviewRequest.from_entry(UUID.replace("a", "b"), "", ""), PEOPLE)
    assert (review.entry, review.alerts[0]["title"]) == ({}, "A review was requested")


@pytest.mark.parametrize("people", [[], ["KIM@example.com"], [" kim@Example.com "]])
def test_the_actor_of_a_change_is_never_its_reviewer(ledger: Ledger, people: list[str]) -> None:
    with pytest.raises(InvalidInput, match="No reviewer is left for a change"):
        ledger.open(ReviewRequest.from_event(event()), people)
    assert not os.path.exists(ledger.path)


@pytest.mark.parametrize(
    ("by", "sentence"),
    [
        ("kim@EXAMPLE.com", "The actor of a change cannot acknowledge its review; lou@example.com can."),
        (
            "max@example.com",
            f"Only lou@example.com or lead@example.com can acknowledge review {ID}, not max@example.com.",
        ),
        (" ", "by is empty; name the person who acknowledges the review."),
    ],
)
def test_only_the_reviewer_or_a_deputy_acknowledges(ledger: Ledger, by: str, sentence: str) -> None:
    ledger.open(ReviewRequest.from_event(event()), ["lou@example.com"], ["lead@example.com"])
    with pytest.raises(InvalidInput) as refused:
        ledger.acknowledge(ID, by)
    assert refused.value.message == sentence


def test_a_deputy_who_made_the_change_cannot_acknowledge_it(ledger: Ledger) -> None:
    ledger.open(ReviewRequest.from_event(event()), ["lou@example.com"], ["kim@example.com"])
    with pytest.raises(InvalidInput, match="The actor of a change cannot acknowledge"):
        ledger.acknowledge(ID, "Kim@example.com")


@pytest.mark.parametrize("by", ["LOU@example.com", "lead@example.com"])
def test_an_acknowledgement_is_recorded_once(ledger: Ledger, clock: Clock, by: str) -> None:
    ledger.open(ReviewRequest.from_event(event()), ["lou@example.com"], ["lead@example.com"])
    clock.now += timedelta(hours=1)
    assert ledger.acknowledge(ID, by, "CHG-4711", dry_run=True)[1]
    review, changed = ledger.acknowledge(ID, by, "CHG-4711")
    assert (changed, review.state, review.acknowledged_by, review.note) == (True, "acknowledged", by, "CHG-4711")
    assert review.acknowledged == "2026-11-22T13:05:00Z"
    assert ledger.acknowledge(ID, "lou@example.com", "again") == (review, False)
    assert ledger.overdue(timedelta(0)) == []


def test_reviews_are_overdue_by_their_last_message(ledger: Ledger, clock: Clock) -> None:
    review, _is_new = ledger.open(ReviewRequest.from_event(event()), ["lou@example.com"])
    assert ledger.overdue(timedelta(hours=1)) == []
    clock.now += timedelta(hours=1)
    assert ledger.overdue(timedelta(hours=1)) == [review]
    sent = ledger.record_sent(review)
    assert (sent.sent, ledger.overdue(timedelta(hours=1)), ledger.overdue(timedelta(0))) == (1, [], [sent])


def test_recording_a_message_keeps_a_concurrent_acknowledgement(ledger: Ledger) -> None:
    review, _is_new = ledger.open(ReviewRequest.from_event(event()), ["lou@example.com"])
    ledger.acknowledge(ID, "lou@example.com")
    assert ledger.record_sent(review).state == "acknowledged"


def test_concurrent_requests_open_one_review(ledger: Ledger) -> None:
    found: list[bool] = []
    people = [f"{number}@example.com" for number in range(8)]

    def open_it(person: str) -> None:
        found.append(ledger.open(ReviewRequest.from_event(event()), [person])[1])

    threads = [threading.Thread(target=open_it, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(True) == 1


@pytest.mark.parametrize("text", ["", "x", "e30", packed([]), packed({}), packed({"detections": [], "entry": {}})])
def test_anything_but_the_review_of_an_event_is_an_error(text: str) -> None:
    with pytest.raises(InvalidInput):
        ReviewRequest.from_event(text)


@pytest.mark.parametrize(
    "change", [{"id": "../x"}, {"id": 7}, {"severity": "bad"}, {"title": None, "id": None}], ids=str
)
def test_an_invalid_alert_is_an_error(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        ReviewRequest.from_event(event({**alert(), **change}))


@pytest.mark.parametrize("identifier", ["../../etc/passwd", "", ID.upper(), ID + "\n"])
def test_an_id_cannot_address_another_file(ledger: Ledger, identifier: str) -> None:
    ledger.open(ReviewRequest.from_event(event()), ["lou@example.com"])
    with pytest.raises(InvalidInput, match="is not the id of a review"):
        ledger.acknowledge(identifier, "lou@example.com")


def test_an_unknown_review_is_an_error(ledger: Ledger) -> None:
    with pytest.raises(StorageError, match="The ledger /.* cannot be used: No such file"):
        ledger.acknowledge(ID, "lou@example.com")
    assert ledger.overdue(timedelta(0)) == []
    ledger.open(ReviewRequest.from_event(event()), ["lou@example.com"])
    with pytest.raises(InvalidInput, match=f"Review {UUID} is not in /"):
        ledger.acknowledge(UUID, "lou@example.com")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"id": 1, "reviewer": 2, "opened": "x", "alerts": [], "entry": {}}']
)
def test_a_damaged_record_is_an_error(ledger: Ledger, content: str) -> None:
    ledger.open(ReviewRequest.from_event(event()), ["lou@example.com"])
    Path(ledger.path, f"{ID}.json").write_text(content)
    with pytest.raises(StorageError, match=r"\.json is not a valid review; restore or remove it"):
        ledger.open(ReviewRequest.from_event(event()), ["lou@example.com"])


def test_a_ledger_has_an_absolute_path() -> None:
    with pytest.raises(InvalidInput, match="ledger: reviews must be an absolute path"):
        Ledger("reviews")
