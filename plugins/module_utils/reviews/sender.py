# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells reviewers of their reviews, by a chat's webhook and by mail."""

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
    """Sends reviews. ``address`` is where mails come from; without it there are none."""

    ledger: Ledger
    webhook: Optional[Webhook] = None
    sender_address: Optional[str] = None
    sendmail: str = SENDMAIL

    @property
    def is_configured(self) -> bool:
        """Whether there is a way to tell anybody."""
        return self.webhook is not None or self.sender_address is not None

    def send(self, reviews: Sequence[Review], stop: threading.Event) -> List[Review]:
        """Tell each reviewer in one message, and note it in the ledger.

        :raises NotDelivered: a message was not taken; all others were sent, and noted.
        """
        sent: Dict[str, Review] = {}
        failures: List[str] = []
        for part in _batches(reviews) if self.is_configured else ():
            try:
                self._send_message(part, stop)
            except Cancelled:
                raise
            except AuditError as error:
                failures.append(f"{one_line(part[0].reviewer, 100)}: {error.message.rstrip('.')}")
                continue
            sent.update((review.id, self.ledger.record_sent(review)) for review in part)
        if failures:
            raise NotDelivered(f"Not all reviewers were told, review_remind tries again: {'; '.join(failures)}.")
        return [sent.get(review.id, review) for review in reviews]

    def _send_message(self, reviews: Sequence[Review], stop: threading.Event) -> None:
        message = compose(reviews, self.ledger.path)
        if self.sender_address:
            reviewer = reviews[0].reviewer.strip()
            if "@" not in reviewer:
                raise InvalidInput("A mail needs a reviewer with an e-mail address")
            Mail((parse_address(reviewer, "reviewer"),), self.sender_address, self.sendmail).send(message, stop)
        if self.webhook:
            self.webhook.send(message, stop)


def compose(reviews: Sequence[Review], ledger: str) -> Message:
    """The message to a reviewer about these reviews; each time that they are sent it has another id."""
    alerts = [review.to_alerts() for review in reviews]
    several = [alert for found in alerts for alert in found]
    # The message is to the reviewer: no line has to name them once more.
    described = [describe(found, _checks(one))._replace(reviewer="") for found, one in zip(alerts, reviews)]
    command = _acknowledge_command(reviews, ledger)
    if len(reviews) == 1:
        subject, text, what, them = described[0].headline, described[0].lines(), "this change", "it"
    else:
        changes = pluralize(len(reviews), "change", "changes")
        subject = headline(several, changes)
        text, what, them = format_list(described), f"these {changes}", "them"
    asked = f"{one_line(reviews[0].reviewer, 100)}, please review {what}:"
    closing = [f"Acknowledge {them} with:", command]
    body = "\n\n".join([asked, *("\n".join(one.lines()) for one in described), *closing])
    identifier = combined_id([json.dumps([review.id, review.sent]) for review in reviews])
    plain = [alert_payload(alert) for alert in several]
    return Message(identifier, f"Please review: {subject}", chat_text([asked, *text, *closing]), body, plain)


def _batches(reviews: Sequence[Review]) -> Iterator[List[Review]]:
    """The reviews of each reviewer, in messages of a bounded size."""
    by_reviewer: Dict[str, List[Review]] = {}
    for review in reviews:
        by_reviewer.setdefault(review.reviewer, []).append(review)
    for own in by_reviewer.values():
        for start in range(0, len(own), MAX_ALERTS):
            yield own[start : start + MAX_ALERTS]


def _checks(review: Review) -> Dict[str, str]:
    return {str(alert["detection"]): str(alert["check"]) for alert in review.alerts}


def _acknowledge_command(reviews: Sequence[Review], ledger: str) -> str:
    """What a reviewer pastes into a shell."""
    identifiers = ",".join(review.id for review in reviews)
    values = {"review_ledger": ledger, "review_id": identifiers, "review_by": reviews[0].reviewer}
    words = [shlex.quote(_extra_variable(name, value)) for name, value in values.items()]
    return " \\\n  ".join([f"ansible-playbook {_PLAYBOOK}", *(f"-e {word}" for word in words)])


def _extra_variable(name: str, value: str) -> str:
    """A variable for ``-e``: as JSON where Ansible would split or unquote the value."""
    return f"{name}={value}" if _NEEDS_NO_QUOTES.fullmatch(value) else json.dumps({name: value})
