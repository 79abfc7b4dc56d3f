# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opens and acknowledges reviews and sends reminders, as the options of the module say."""

from __future__ import annotations

import threading
from typing import Any, List, Mapping, Optional, Tuple

from ..notify.channels import SENDMAIL, Webhook
from ..notify.receivers import parse_address, parse_url
from ..project_log.selection import parse_list
from ..times import parse_duration
from .ledger import Ledger, Review, ReviewRequest
from .sender import Sender

ReviewOutcome = Tuple[List[Review], bool]
"""Reviews, and True if anything changed."""


class ReviewService:
    """Opens the reviews of ``reviews`` or ``id``, closes those of ``acknowledge``, or sends reminders.

    :raises InvalidInput: an option is not valid.
    """

    def __init__(self, options: Mapping[str, Any], dry_run: bool = False) -> None:
        self._ledger = Ledger(str(options["ledger"]))
        self._dry_run = dry_run
        self._reviewers = parse_list(options.get("reviewers"), "reviewers")
        self._deputies = parse_list(options.get("deputies"), "deputies")
        self._acknowledge = parse_list(options.get("acknowledge"), "acknowledge")
        self._by, self._note = str(options.get("by") or ""), str(options.get("note") or "")
        self._sender = _sender(self._ledger, options)
        remind_after = options.get("remind_after")
        self._remind_after = None if remind_after is None else parse_duration(remind_after, "remind_after")
        self._requests = _requests(options)

    def run(self, stop: threading.Event) -> ReviewOutcome:
        """Carry out the action that the options choose.

        :raises AuditError: a review could not be opened, closed or sent; all others were processed.
        """
        if self._acknowledge:
            return self._close()
        if self._remind_after is not None:
            overdue = self._ledger.overdue(self._remind_after)
            reviews = overdue if self._dry_run else self._sender.send(overdue, stop)
            return reviews, bool(overdue)
        return self._open(stop)

    def _open(self, stop: threading.Event) -> ReviewOutcome:
        """Open the requested reviews, and send those that were not sent yet."""
        opened = [
            self._ledger.open(request, self._reviewers, self._deputies, self._dry_run) for request in self._requests
        ]
        reviews = list({review.id: review for review, _is_new in opened}.values())
        unsent = [review for review in reviews if review.is_open and not review.sent]
        changed = any(is_new for _review, is_new in opened) or bool(unsent and self._sender.is_configured)
        if self._dry_run:
            return reviews, changed
        sent = {review.id: review for review in self._sender.send(unsent, stop)}
        return [sent.get(review.id, review) for review in reviews], changed

    def _close(self) -> ReviewOutcome:
        closed = [self._ledger.acknowledge(one, self._by, self._note, self._dry_run) for one in self._acknowledge]
        return [review for review, _was_open in closed], any(was_open for _review, was_open in closed)


def _requests(options: Mapping[str, Any]) -> List[ReviewRequest]:
    if options.get("id"):
        reason = str(options.get("reason") or "")
        return [ReviewRequest.from_entry(options["id"], str(options.get("entry_base64") or ""), reason)]
    return [ReviewRequest.from_event(text) for text in options.get("reviews") or ()]


def _sender(ledger: Ledger, options: Mapping[str, Any]) -> Sender:
    webhook: Optional[Webhook] = None
    webhook_options = options.get("webhook")
    if webhook_options:
        # A playbook passes an empty text for a path that is not set.
        token_file, ca_path = webhook_options.get("token_file") or None, webhook_options.get("ca_path") or None
        webhook = Webhook(parse_url(webhook_options["url"], "webhook: url"), token_file, ca_path)
    mail = options.get("mail")
    if not mail:
        return Sender(ledger, webhook)
    sender_address = parse_address(mail.get("from"), "mail: from")
    return Sender(ledger, webhook, sender_address, str(mail.get("sendmail") or SENDMAIL))
