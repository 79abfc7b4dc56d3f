#!/usr/bin/python
# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: project_logs_assert
short_description: Prove from the audit log of a cloudscale.ch project what was changed and what was not
version_added: 1.0.0
description:
  - Compares a part of the log, usually everything since a cursor that was taken before a change, with what is expected.
  - Waits for entries that are missing by polling on; no entry is read twice.
  - Succeeds when every expectation is met and nothing unexpected has shown up O(settle) seconds later.
  - Fails at once when it finds a change that is forbidden or expected by no rule.
  - Refuses to run where every log would pass. At least one rule in O(expect) or O(forbid), or O(exclusive=true), is
    required, and so is O(cursor) or O(start). The range must be one that the provider can have entries of.
  - Each entry counts for one expectation only. Which one does not depend on the order of the rules. If the entries
    can be dealt out so that all expectations are met, they are.
author:
  - auditops.cloudscale contributors (@auditops)
options:
  expect:
    description:
      - Changes that must be in the log. All conditions of a rule must hold; at least one is needed.
      - By default one change suffices and more are welcome. With O(expect[].count) or O(expect[].max), changes beyond
        them are unexpected.
      - Without it, the module only waits O(settle) seconds for unexpected changes.
      - If every rule has O(expect[].min=0) and no O(expect[].max), O(exclusive) or O(forbid) is required.
    type: list
    elements: dict
    suboptions:
      action: &action
        description: >-
          The action, such as V(server_create) or V(server_*). V(*) stands for any characters and V(?) for one; all
          other characters mean themselves.
        type: str
      resource: &resource
        description:
          - The name of a resource that the message names, such as V(web1) for C(Server 'web1' has been created). Both
            names of a rename match. V(*) and V(?) are special, as in O(expect[].action).
          - The name is read from the message, whose wording is not a stable part of the API, so this is best effort.
        type: str
      message_pattern: &message
        description:
          - A regular expression to be found in the message. Names belong through the filter C(regex_escape).
        type: str
      actor: &actor
        description: >-
          Who made the change. A user is named by e-mail address, a token by its description or uuid, automated tasks
          are V(system), the provider's staff are V(admin). V(*) and V(?) are special, as in O(expect[].action). E-mail
          addresses are compared without case.
        type: str
      ip_network: &ip_network
        description: A network or address that the change was made from.
        type: str
      count:
        description: Exactly this number of changes. Excludes O(expect[].min) and O(expect[].max).
        type: int
      min:
        description: At least this number of changes. The default is 1, or 0 with O(expect[].max).
        type: int
      max:
        description: At most this number of changes.
        type: int
  forbid:
    description: Changes that must not be in the log, even if they are expected or ignored too.
    type: list
    elements: dict
    suboptions:
      action: *action
      resource: *resource
      message_pattern: *message
      actor: *actor
      ip_network: *ip_network
  ignore:
    description: Changes that are never unexpected, unless they are forbidden. They may still meet an expectation.
    type: list
    elements: dict
    suboptions:
      action: *action
      resource: *resource
      message_pattern: *message
      actor: *actor
      ip_network: *ip_network
  exclusive:
    description: Whether every change must be expected or ignored.
    type: bool
    default: false
  own_actors:
    description:
      - Who makes the changes that you expect, named as for O(expect[].actor). Rules of O(expect) that name no actor
        are met by changes of these only.
      - The API does not tell which token the module itself uses, so nothing is assumed.
    type: list
    elements: str
  timeout:
    description:
      - Seconds to wait for what is missing. The log is asked a last time when they are over.
      - Retries after a fault of the API may take longer, see O(api_retry_budget).
    type: float
    default: 60
  interval:
    description: Seconds between two polls.
    type: float
    default: 5
  settle:
    description:
      - Once every expectation is met, seconds to wait before a final poll, which shows whoever interferes at the same
        time. With V(0) there is no such poll.
      - They may end after O(timeout).
    type: float
    default: 5
extends_documentation_fragment:
  - auditops.cloudscale.connection
  - auditops.cloudscale.range
  - auditops.cloudscale.attributes
attributes:
  check_mode:
    details: >-
      Reads the log once and does not wait. Missing changes are returned and are not a failure, because the change was
      not made. Unexpected changes are a failure, and so is a call without a rule or without a range.
  diff_mode:
    support: none
notes:
  - Take the cursor with a RV(ignore:start) some time before now, so that clocks that differ lose nothing; the cursor
    lies behind all that was read.
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

- name: Prove that it was scaled, and that nothing else was changed
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

- name: Prove that nobody deleted anything last night
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
  description: The entries that meet an expectation, as the API gave them and in its order.
  returned: when the log was read
  type: list
  elements: dict
missing:
  description: The expectations that are not met, each with the keys that it was given.
  returned: when the log was read
  type: list
  elements: dict
  contains:
    name:
      description: Which one it is.
      type: str
      sample: expect[0]
    wanted:
      description: How many changes it asks for, in words.
      type: str
      sample: at least 1
    found:
      description: How many changes count for it.
      type: int
    nearest:
      description: The entry that comes nearest to what is missing; null if none is like it.
      type: dict
      contains:
        entry:
          description: The entry, as the API gave it.
          type: dict
        differs:
          description: The conditions that it does not meet.
          type: list
          elements: str
        counted_for:
          description: The expectation that it already counts for; null if there is none.
          type: str
unexpected:
  description: The entries that are forbidden, too many, or (with O(exclusive)) expected by no rule.
  returned: when the log was read
  type: list
  elements: dict
waited:
  description: How long it took, in seconds.
  returned: when the log was read
  type: float
poll_more:
  description:
    - A URL to pass as O(cursor). It later returns the entries that became visible since the last read.
    - After a read with an O(end) in the past, it returns all entries stamped at or after that end, and so none that
      this module read. Entries stamped before O(end) that become visible after the last read are then in neither.
  returned: when the log was read
  type: str
  sample: https://api.cloudscale.ch/v1/project-logs?cursor=10025
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  contains:
    code:
      description: >-
        V(unexpected_changes) if there are changes that should not be, V(missing_changes) if there are only too few, or
        one of the names that M(auditops.cloudscale.project_logs_info) returns.
      type: str
    http_status:
      description: The HTTP status of the answer that was refused; null without one.
      type: int
    retryable:
      description: Whether the same call may succeed later.
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


def main():
    module = CloudscaleModule(argument_spec=argument_spec(), supports_check_mode=True)
    with module.report_errors():
        result = Verification(module.params).run(once=module.check_mode)
    for warning in result.warnings:
        module.warn(warning)
    if result.error:
        module.fail_json(result.error.message, failure=result.error.failure, **result.as_dict())
    module.exit_json(changed=False, **result.as_dict())


if __name__ == "__main__":
    main()
