#!/usr/bin/python
# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: project_logs_review
short_description: Have changes in cloudscale.ch projects reviewed by a second person
version_added: 1.0.0
description:
  - Keeps a ledger of reviews. Each review names a reviewer, who is never the actor of the change, and records who
    acknowledged it and when.
  - Opens reviews with O(reviews) or O(id), closes them with O(acknowledge), and reminds of open ones with
    O(remind_after).
  - The playbooks C(auditops.cloudscale.review_open), C(auditops.cloudscale.review_acknowledge) and
    C(auditops.cloudscale.review_remind) use this module.
author:
  - auditops.cloudscale contributors (@auditops)
options:
  ledger:
    description:
      - Path to the directory of the ledger, in which each review is one JSON file. It is created if it does not exist.
      - Anyone who can write to the directory can change reviews.
    type: path
    required: true
  reviews:
    description:
      - Values of C(event.review), as the event source provides them. A review is opened for each of them.
      - The id of a review is that of the most severe alert, so the same event opens one review however often it comes.
    type: list
    elements: str
  id:
    description: A uuid under which to open a review that no detection asked for, such as C(event.meta.uuid).
    type: str
  entry_base64:
    description: The entry that the review of O(id) is about, as JSON in Base64, such as C(event.entry_base64).
    type: str
  reason:
    description: Why the review of O(id) is needed.
    type: str
  reviewers:
    description:
      - People who review changes. One of them is nominated by the id of the review, never the actor.
      - Used where an event names no reviewer.
    type: list
    elements: str
  deputies:
    description: People who can acknowledge a review in place of its reviewer; those at the time when it was opened.
    type: list
    elements: str
  acknowledge:
    description: Ids of reviews to close. Requires O(by).
    type: list
    elements: str
  by:
    description: Who acknowledges. Only the reviewer and the deputies of a review can close it, and never the actor.
    type: str
  note:
    description: What the reviewer has to say.
    type: str
  remind_after:
    description:
      - Send open reviews again whose last message is older than this, such as V(1h). V(0s) sends all.
    type: str
  webhook:
    description: A URL that receives the messages as JSON, with C(text) for people and C(alerts) for programs.
    type: dict
    suboptions:
      url:
        description: The URL.
        type: str
        required: true
      token_file:
        description: Path to a file with a token, which is sent as a bearer token.
        type: path
      ca_path:
        description: Path to the certificate authority of a private certificate.
        type: path
  mail:
    description: Sends the messages to the reviewers by mail. Their names must be e-mail addresses.
    type: dict
    suboptions:
      from:
        description: The sender's address.
        type: str
        required: true
      sendmail:
        description: Path to the program that takes mails.
        type: path
        default: /usr/sbin/sendmail
extends_documentation_fragment:
  - auditops.cloudscale.connection
  - auditops.cloudscale.attributes
attributes:
  check_mode:
    support: full
    details: Nothing is written or sent.
  diff_mode:
    support: none
    details: The result has the reviews.
requirements:
  - requests, for O(webhook)
notes:
  - The API is not read. The options of the connection are accepted so that C(module_defaults) of the action group fit.
  - A message that was not taken makes the module fail after all others were sent. The reviews are open nevertheless,
    and O(remind_after) sends them again.
seealso:
  - module: auditops.cloudscale.project_logs_detect
"""

EXAMPLES = r"""
- name: Open reviews of events and tell the reviewers
  auditops.cloudscale.project_logs_review:
    ledger: /var/lib/audit/reviews
    reviews: "{{ review_events }}"
    deputies: [lead@example.com]
    mail:
      from: audit@example.com

- name: Ask for a review of a change that no detection reported
  auditops.cloudscale.project_logs_review:
    ledger: /var/lib/audit/reviews
    id: 4cee7d0d-8e09-50ac-b570-f9db1fcf9ad9
    reason: The firewall was opened for a test
    reviewers: [kim@example.com, lou@example.com]

- name: Acknowledge a review
  auditops.cloudscale.project_logs_review:
    ledger: /var/lib/audit/reviews
    acknowledge: [4cee7d0d-8e09-50ac-b570-f9db1fcf9ad9]
    by: lou@example.com
    note: CHG-4711

- name: Remind of reviews that have been open for four hours
  auditops.cloudscale.project_logs_review:
    ledger: /var/lib/audit/reviews
    remind_after: 4h
    mail:
      from: audit@example.com
"""

RETURN = r"""
reviews:
  description: The reviews that were asked for, as the ledger has them now.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The id.
      type: str
    state:
      description: V(open) or V(acknowledged).
      type: str
    reviewer:
      description: Who was nominated.
      type: str
    deputies:
      description: Who can acknowledge it as well.
      type: list
      elements: str
    opened:
      description: When it was opened.
      type: str
    sent:
      description: Number of messages about it.
      type: int
    sent_at:
      description: When the last message was sent; null if none was.
      type: str
    acknowledged:
      description: When it was closed; null if it is open.
      type: str
    acknowledged_by:
      description: Who closed it; null if it is open.
      type: str
    note:
      description: What the reviewer had to say.
      type: str
    alerts:
      description: Why it needs a review. Each alert has C(id), C(detection), C(severity), C(title) and C(check).
      type: list
      elements: dict
    entry:
      description: The entry of the log.
      type: dict
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  contains:
    code:
      description: V(invalid_input), V(not_delivered), V(storage) or V(missing_dependency).
      type: str
    http_status:
      description: The HTTP status of the answer that was refused; null without one.
      type: int
    retryable:
      description: Whether the same call may succeed later.
      type: bool
"""

import threading

from ansible_collections.auditops.cloudscale.plugins.module_utils.ansible_module import (
    CloudscaleModule,
    connection_spec,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.reviews.desk import ReviewService


def argument_spec():
    texts = {"type": "list", "elements": "str"}
    return {
        **connection_spec(),
        "ledger": {"type": "path", "required": True},
        **dict.fromkeys(("reviews", "reviewers", "deputies", "acknowledge"), texts),
        **{name: {"type": "str"} for name in ("id", "entry_base64", "reason", "by", "note", "remind_after")},
        "webhook": {
            "type": "dict",
            "options": {
                "url": {"type": "str", "required": True},
                "token_file": {"type": "path", "no_log": False},
                "ca_path": {"type": "path"},
            },
        },
        "mail": {
            "type": "dict",
            "options": {
                "from": {"type": "str", "required": True},
                "sendmail": {"type": "path", "default": "/usr/sbin/sendmail"},
            },
        },
    }


def main():
    module = CloudscaleModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_one_of=[("reviews", "id", "acknowledge", "remind_after")],
        mutually_exclusive=[("reviews", "id", "acknowledge", "remind_after")],
        required_by={"acknowledge": "by", "entry_base64": "id"},
    )
    with module.report_errors():
        reviews, changed = ReviewService(module.params, module.check_mode).run(threading.Event())
    module.exit_json(changed=changed, reviews=[review.to_json() for review in reviews])


if __name__ == "__main__":
    main()
