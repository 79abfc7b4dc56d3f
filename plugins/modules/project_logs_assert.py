#!/usr/bin/python
# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: project_logs_assert
short_description: Verify changes in a cloudscale.ch project with its audit log
version_added: 1.0.0
description:
  - Compares a range of the log with your expectations. The range usually begins at a cursor that was taken before a
    change.
  - Polls the log until every expected entry is found. Reads each entry once.
  - Succeeds if every expectation is met and no unexpected entry has appeared O(settle) seconds later.
  - Fails at once if it finds a forbidden or unexpected change.
  - Rejects rules that every log would meet. Requires O(cursor) or O(start), and also O(exclusive=true) or a rule in
    O(expect) or O(forbid). The range must not begin in the future or end before the provider retention.
  - Each entry matches at most one expectation, independent of the order of the rules. If any assignment of entries
    meets all expectations, the module finds it.
author:
  - auditops.cloudscale contributors (@auditops)
options:
  expect:
    description:
      - Changes that must be in the log. Each rule must have at least one condition, and an entry must meet all
        conditions of the rule.
      - By default, a rule needs one matching change and allows more. With O(expect[].count) or O(expect[].max),
        additional changes are unexpected.
      - Without this option, the module only waits O(settle) seconds for unexpected changes.
      - If every rule has O(expect[].min=0) and no O(expect[].max), O(exclusive) or O(forbid) is required.
    type: list
    elements: dict
    suboptions:
      action: &action
        description: >-
          Action, such as V(server_create) or V(server_*). V(*) matches any characters and V(?) matches one character;
          all other characters match themselves.
        type: str
      resource: &resource
        description:
          - Name of a resource in the message, such as V(web1) for C(Server 'web1' has been created). Both names of a
            rename match. V(*) and V(?) are wildcards, as in O(expect[].action).
          - The name is parsed from the message. The wording of messages is not a stable part of the API, so the result
            is best effort.
        type: str
      message_pattern: &message
        description:
          - Regular expression that is searched for in the message. Pass names through the filter C(regex_escape).
        type: str
      actor: &actor
        description: >-
          Actor of the change. Name a user by e-mail address, a token by its description or uuid, automated tasks as
          V(system), and provider staff as V(admin). V(*) and V(?) are wildcards, as in O(expect[].action). The case of
          e-mail addresses is ignored.
        type: str
      ip_network: &ip_network
        description: Network or address from which the change was made.
        type: str
      count:
        description: Exact number of changes. Mutually exclusive with O(expect[].min) and O(expect[].max).
        type: int
      min:
        description: Minimum number of changes. The default is 1, or 0 with O(expect[].max).
        type: int
      max:
        description: Maximum number of changes.
        type: int
  forbid:
    description: Changes that must not be in the log, even if they are also expected or ignored.
    type: list
    elements: dict
    suboptions:
      action: *action
      resource: *resource
      message_pattern: *message
      actor: *actor
      ip_network: *ip_network
  ignore:
    description: Changes that are never unexpected, unless they are forbidden. They can still meet an expectation.
    type: list
    elements: dict
    suboptions:
      action: *action
      resource: *resource
      message_pattern: *message
      actor: *actor
      ip_network: *ip_network
  exclusive:
    description: If V(true), every change must be expected or ignored.
    type: bool
    default: false
  own_actors:
    description:
      - Actors that make the expected changes, named as in O(expect[].actor). Rules of O(expect) without an actor match
        only changes by these actors.
      - There is no default, because the API does not show which token the module itself uses.
    type: list
    elements: str
  timeout:
    description:
      - Maximum time to wait for missing changes, in seconds. At its end, the log is read a last time.
      - Retries after an error of the API can take longer, see O(api_retry_budget).
    type: float
    default: 60
  interval:
    description: Time between two polls, in seconds.
    type: float
    default: 5
  settle:
    description:
      - Time to wait after every expectation is met, in seconds. A final poll then detects simultaneous changes by
        others. With V(0), there is no final poll.
      - This time can end after O(timeout).
    type: float
    default: 5
extends_documentation_fragment:
  - auditops.cloudscale.connection
  - auditops.cloudscale.range
  - auditops.cloudscale.attributes
attributes:
  check_mode:
    details: >-
      Reads the log once and does not wait. Missing changes are returned, but do not cause a failure, because the change
      was not made. Unexpected changes cause a failure, and so does a call without a rule or without a range.
  diff_mode:
    support: none
requirements:
  - requests
notes:
  - Take the cursor with a start in the past, such as V(-1h), so that no entry is lost if clocks differ. The cursor is
    the position after the last entry read.
seealso:
  - module: auditops.cloudscale.project_logs_info
  - plugin: auditops.cloudscale.project_logs_trail
    plugin_type: callback
  - ref: ansible_collections.auditops.cloudscale.docsite.change_verification_guide
    description: Change verification, with complete examples.
"""

EXAMPLES = r"""
- name: Take a cursor before the change
  auditops.cloudscale.project_logs_info:
    start: -1h
    limit: 1
  register: before
  delegate_to: localhost
  run_once: true

- name: Scale the server
  cloudscale_ch.cloud.server:
    name: web-1
    flavor: flex-8-2
    force: true

- name: Verify that the server was scaled, and that nothing else was changed
  auditops.cloudscale.project_logs_assert:
    cursor: "{{ before.poll_more }}"
    expect:
      - action: server_scale
        message_pattern: "'web-1'.* to flex-8-2"
        count: 1
      - action: server_*
        message_pattern: "'web-1'"
        max: 2
    exclusive: true
    ignore:
      - actor: system
  delegate_to: localhost
  run_once: true

- name: Verify that nobody deleted anything last night
  auditops.cloudscale.project_logs_assert:
    start: "2026-11-21T22:00:00+01:00"
    end: "2026-11-22T02:00:00+01:00"
    forbid:
      - action: "*_delete"
    settle: 0
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
matched:
  description: Entries that meet an expectation, unchanged and in the order of the API.
  returned: when the log was read
  type: list
  elements: dict
missing:
  description: Expectations that are not met, each with the keys of its rule.
  returned: when the log was read
  type: list
  elements: dict
  contains:
    name:
      description: Name of the expectation.
      type: str
      sample: expect[0]
    wanted:
      description: Required number of changes, in words.
      type: str
      sample: at least 1
    found:
      description: Number of changes that match the expectation.
      type: int
    nearest:
      description: Entry that meets most conditions of the expectation; null if no entry is similar.
      type: dict
      contains:
        entry:
          description: Entry, unchanged.
          type: dict
        differs:
          description: Conditions that the entry does not meet.
          type: list
          elements: str
        counted_for:
          description: Expectation that the entry already meets; null if there is none.
          type: str
unexpected:
  description: Entries that are forbidden, too many, or (with O(exclusive)) not expected.
  returned: when the log was read
  type: list
  elements: dict
waited:
  description: Duration, in seconds.
  returned: when the log was read
  type: float
poll_more:
  description:
    - URL to pass as O(cursor) to a later read, which returns the entries added since the last read.
    - If O(end) is in the past, the later read returns all entries with a timestamp at or after O(end), so no entry is
      read twice. Entries with a timestamp before O(end) that become visible after the last read are in neither read.
  returned: when the log was read
  type: str
  sample: https://api.cloudscale.ch/v1/project-logs?cursor=10025
failure:
  description: Machine-readable cause of the failure.
  returned: failure
  type: dict
  contains:
    code:
      description: >-
        V(unexpected_changes) if there are unexpected changes, V(missing_changes) if changes are only missing, or one of
        the codes of M(auditops.cloudscale.project_logs_info).
      type: str
    http_status:
      description: HTTP status of the refused request; null without one.
      type: int
    retryable:
      description: V(true) if the same call can succeed later.
      type: bool
"""

from ansible_collections.auditops.cloudscale.plugins.module_utils.ansible_module import (
    CloudscaleModule,
    connection_spec,
    range_spec,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.verification.expectations import (
    CONDITIONS,
    COUNTS,
    RULES,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.verification.verification import (
    Verification,
    WaitPolicy,
)


def argument_spec():
    conditions = {name: {"type": "str"} for name in CONDITIONS}
    counts = {name: {"type": "int"} for name in COUNTS}
    return {
        **connection_spec(),
        **range_spec(),
        **{name: {"type": "list", "elements": "dict", "options": conditions} for name in RULES},
        "expect": {"type": "list", "elements": "dict", "options": {**conditions, **counts}},
        "exclusive": {"type": "bool", "default": False},
        "own_actors": {"type": "list", "elements": "str"},
        "timeout": {"type": "float", "default": WaitPolicy.timeout},
        "interval": {"type": "float", "default": WaitPolicy.interval},
        "settle": {"type": "float", "default": WaitPolicy.settle},
    }


def run(module):
    result = Verification(module.params).run(once=module.check_mode)
    for warning in result.warnings:
        module.warn(warning)
    if result.error:
        module.fail_json(result.error.message, failure=result.error.failure, **result.as_dict())
    return {"changed": False, **result.as_dict()}


def main():
    module = CloudscaleModule(argument_spec=argument_spec(), supports_check_mode=True)
    with module.report_errors():
        result = run(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
