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
  - Manages a ledger of reviews. Each review names a reviewer, who is never the actor of the change, and records who
    acknowledged the review and when.
  - Opens reviews with O(reviews) or O(id), closes reviews with O(acknowledge), and sends reminders of open reviews with
    O(remind_after).
  - The playbooks C(auditops.cloudscale.review_open), C(auditops.cloudscale.review_acknowledge) and
    C(auditops.cloudscale.review_remind) use this module.
author:
  - auditops.cloudscale contributors (@auditops)
options:
  ledger:
    description:
      - Path to the directory of the ledger, with one JSON file per review. Created if it does not exist.
      - Anyone who can write to the directory can change reviews.
    type: path
    required: true
  reviews:
    description:
      - Values of C(event.review) from the event source. Each value opens one review.
      - The id of the review is the id of the most severe alert, so a repeated event opens no second review.
    type: list
    elements: str
  id:
    description: UUID for a new review without an alert, such as C(event.meta.uuid).
    type: str
  entry_base64:
    description: Entry for the review of O(id), as JSON in Base64, such as C(event.entry_base64).
    type: str
  reason:
    description: Reason for the review of O(id).
    type: str
  reviewers:
    description:
      - People who review changes. The id of the review determines the reviewer, who is never the actor.
      - Used if an event names no reviewer.
    type: list
    elements: str
  deputies:
    description: People who can acknowledge a review instead of its reviewer. Later changes do not affect open reviews.
    type: list
    elements: str
  acknowledge:
    description: Ids of the reviews to close. Requires O(by).
    type: list
    elements: str
  by:
    description: Person who acknowledges, which must be the reviewer or a deputy of the review, and not the actor.
    type: str
  note:
    description: Comment of the reviewer.
    type: str
  remind_after:
    description:
      - Minimum age of the last message about an open review before the message is sent again, such as V(1h). V(0s)
        sends messages about all open reviews.
    type: str
  webhook:
    description: Webhook that receives the messages as JSON, with C(text) for people and C(alerts) for programs.
    type: dict
    suboptions:
      url:
        description: URL of the webhook.
        type: str
        required: true
      token_file:
        description: Path to a file with a bearer token.
        type: path
      ca_path:
        description: Path to a file with the certificate authority of a private certificate.
        type: path
  mail:
    description: Mail to the reviewers, whose names must be e-mail addresses.
    type: dict
    suboptions:
      from:
        description: E-mail address of the sender.
        type: str
        required: true
      sendmail:
        description: Path to the sendmail program.
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
    details: The result contains the reviews.
requirements:
  - requests, for O(webhook)
notes:
  - The module does not read the API. It accepts the options of the connection so that C(module_defaults) of the action
    group apply to all modules.
  - If a message cannot be delivered, the module fails after all other messages were sent. The review stays open, and
    O(remind_after) sends its message again.
seealso:
  - module: auditops.cloudscale.project_logs_detect
  - ref: ansible_collections.auditops.cloudscale.docsite.eda_guide
    description: Reviews of changes by a second person, with a rulebook.
"""

EXAMPLES = r"""
- name: Open reviews of events and mail the reviewers
  auditops.cloudscale.project_logs_review:
    ledger: /var/lib/audit/reviews
    reviews: "{{ review_events }}"
    deputies: [lead@example.com]
    mail:
      from: audit@example.com

- name: Open a review of a change without an alert
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

- name: Send reminders of reviews that have been open for four hours
  auditops.cloudscale.project_logs_review:
    ledger: /var/lib/audit/reviews
    remind_after: 4h
    mail:
      from: audit@example.com
"""

RETURN = r"""
reviews:
  description: Reviews that were opened, closed or sent again.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Id of the review.
      type: str
    state:
      description: State, V(open) or V(acknowledged).
      type: str
    reviewer:
      description: Nominated reviewer.
      type: str
    deputies:
      description: People who can also acknowledge the review.
      type: list
      elements: str
    opened:
      description: Time at which the review was opened.
      type: str
    sent:
      description: Number of messages sent about the review.
      type: int
    sent_at:
      description: Time of the last message; null without a message.
      type: str
    acknowledged:
      description: Time at which the review was acknowledged; null if it is open.
      type: str
    acknowledged_by:
      description: Person who acknowledged the review; null if it is open.
      type: str
    note:
      description: Comment of the reviewer.
      type: str
    alerts:
      description: Alerts that the review is about, each with C(id), C(detection), C(severity), C(title) and C(check).
      type: list
      elements: dict
    entry:
      description: Entry that the review is about.
      type: dict
failure:
  description: Machine-readable cause of the failure.
  returned: failure
  type: dict
  contains:
    code:
      description: >-
        Stable name, one of V(invalid_input), V(not_delivered), V(storage), V(missing_dependency) and V(cancelled).
      type: str
    http_status:
      description: HTTP status of the refused request; null without one.
      type: int
    retryable:
      description: V(true) if the same call can succeed later.
      type: bool
"""

import threading

from ansible_collections.auditops.cloudscale.plugins.module_utils.ansible_module import (
    CloudscaleModule,
    connection_spec,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.reviews.service import ReviewService


def argument_spec():
    list_of_texts = {"type": "list", "elements": "str"}
    return {
        **connection_spec(),
        "ledger": {"type": "path", "required": True},
        **dict.fromkeys(("reviews", "reviewers", "deputies", "acknowledge"), list_of_texts),
        **{name: {"type": "str"} for name in ("id", "entry_base64", "reason", "by", "note", "remind_after")},
        "webhook": {
            "type": "dict",
            "options": {
                # Chats put secrets into the path of a webhook.
                "url": {"type": "str", "required": True, "no_log": True},
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


def run(module):
    reviews, changed = ReviewService(module.params, module.check_mode).run(threading.Event())
    return {"changed": changed, "reviews": [review.to_json() for review in reviews]}


def main():
    module = CloudscaleModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_one_of=[("reviews", "id", "acknowledge", "remind_after")],
        mutually_exclusive=[("reviews", "id", "acknowledge", "remind_after")],
        required_by={"acknowledge": "by", "entry_base64": "id"},
    )
    with module.report_errors():
        result = run(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
