# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sends reviews to their reviewers, by a chat's webhook and by mail."""

from __future__ import annotations

import json
import re
import shlex
import threading
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence

from ..counts import pluralize
from ..errors import AuditError, Cancelled, InvalidInput, NotDelivered
from ..notify.channels import SENDMAIL, Mail, Webhook
from ..notify.message import (
    MAX_ALERTS,
    Message,
    alert_payload,
    chat_text,
    combined_id,
    describe,
    format_list,
    headline,
    one_line,
)
from ..notify.receivers import parse_address
from .ledger import Ledger, Review

_NEEDS_NO_QUOTES = re.compile(r"[A-Za-z0-9@._+:,/-]+", re.ASCII)
_PLAYBOOK = "auditops.cloudscale.review_acknowledge"


class Sender(NamedTuple):
    """Sends reviews. Without ``sender_address`` no mails are sent."""

    ledger: Ledger
    webhook: Optional[Webhook] = None
    sender_address: Optional[str] = None
    sendmail: str = SENDMAIL

    @property
    def is_configured(self) -> bool:
        """True if there is a channel to send reviews."""
        return self.webhook is not None or self.sender_address is not None

    def send(self, reviews: Sequence[Review], stop: threading.Event) -> List[Review]:
        """Send each reviewer one message about their reviews, and record that in the ledger.

        :raises NotDelivered: a message was not accepted; all others were sent and recorded.
        """
        sent: Dict[str, Review] = {}
        failures: List[str] = []
        for batch in _batches(reviews) if self.is_configured else ():
            try:
                self._send_message(batch, stop)
            except Cancelled:
                raise
            except AuditError as error:
                failures.append(f"{one_line(batch[0].reviewer, 100)}: {error.message.rstrip('.')}")
                continue
            sent.update((review.id, self.ledger.record_sent(review)) for review in batch)
        if failures:
            raise NotDelivered(f"Not all reviews were sent; review_remind retries them: {'; '.join(failures)}.")
        return [sent.get(review.id, review) for review in reviews]

    def _send_message(self, reviews: Sequence[Review], stop: threading.Event) -> None:
        message = compose(reviews, self.ledger.path)
        if self.sender_address:
            reviewer = reviews[0].reviewer.strip()
            if "@" not in reviewer:
                raise InvalidInput("The reviewer is not an e-mail address, so no mail can be sent")
            Mail((parse_address(reviewer, "reviewer"),), self.sender_address, self.sendmail).send(message, stop)
        if self.webhook:
            self.webhook.send(message, stop)


def compose(reviews: Sequence[Review], ledger: str) -> Message:
    """The message to a reviewer about reviews. Each message about the same reviews has another id."""
    alerts = [alert for review in reviews for alert in review.to_alerts()]
    # The first line names the reviewer, so the descriptions do not.
    descriptions = [describe(review.to_alerts(), _checks(review))._replace(reviewer="") for review in reviews]
    if len(reviews) == 1:
        subject, text = descriptions[0].headline, descriptions[0].lines()
        what, them = "this change", "it"
    else:
        changes = pluralize(len(reviews), "change", "changes")
        subject, text = headline(alerts, changes), format_list(descriptions)
        what, them = f"these {changes}", "them"
    request = f"{one_line(reviews[0].reviewer, 100)}, please review {what}:"
    closing = [f"Acknowledge {them} with:", _acknowledge_command(reviews, ledger)]
    body = "\n\n".join([request, *("\n".join(change.lines()) for change in descriptions), *closing])
    identifier = combined_id([json.dumps([review.id, review.sent]) for review in reviews])
    payload = [alert_payload(alert) for alert in alerts]
    return Message(identifier, f"Please review: {subject}", chat_text([request, *text, *closing]), body, payload)


def _batches(reviews: Sequence[Review]) -> Iterator[List[Review]]:
    """The reviews grouped by reviewer, in batches of at most MAX_ALERTS."""
    by_reviewer: Dict[str, List[Review]] = {}
    for review in reviews:
        by_reviewer.setdefault(review.reviewer, []).append(review)
    for reviews_of_one in by_reviewer.values():
        for start in range(0, len(reviews_of_one), MAX_ALERTS):
            yield reviews_of_one[start : start + MAX_ALERTS]


def _checks(review: Review) -> Dict[str, str]:
    return {str(alert["detection"]): str(alert["check"]) for alert in review.alerts}


def _acknowledge_command(reviews: Sequence[Review], ledger: str) -> str:
    """The shell command with which the reviewer acknowledges the reviews."""
    identifiers = ",".join(review.id for review in reviews)
    values = {"review_ledger": ledger, "review_id": identifiers, "review_by": reviews[0].reviewer}
    variables = [shlex.quote(_extra_variable(name, value)) for name, value in values.items()]
    return " \\\n  ".join([f"ansible-playbook {_PLAYBOOK}", *(f"-e {variable}" for variable in variables)])


def _extra_variable(name: str, value: str) -> str:
    """A variable for ``-e``, as JSON if Ansible would split or unquote the value."""

    return f"{name}={value}" if _NEEDS_NO_QUOTES.fullmatch(value) else json.dumps({name: value})
