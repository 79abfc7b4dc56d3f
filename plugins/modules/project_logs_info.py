#!/usr/bin/python
# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: project_logs_info
short_description: Ask the audit log of a cloudscale.ch project
version_added: 1.0.0
description:
  - Reads the log of a project between two times, or on from where an earlier read ended, completely, whatever its size.
  - Entries are returned as the API gave them, in its order; nothing is added, left out or merged.
author:
  - auditops.cloudscale contributors (@auditops)
options:
  dest:
    description:
      - Write the entries to this file instead of returning them, one JSON object a line, with sorted keys and numbers
        as received.
      - The file is written page by page and replaced as a whole at the end; when the read fails, it stays as it was.
      - Its folder must exist. A relative path counts from the folder that the module runs in.
    type: path
extends_documentation_fragment:
  - auditops.cloudscale.connection
  - auditops.cloudscale.range
  - auditops.cloudscale.selection
  - auditops.cloudscale.concurrency
  - auditops.cloudscale.attributes
  - files
attributes:
  check_mode:
    details: Reads as ever; O(dest) is not written, C(changed) tells whether it would be.
  diff_mode:
    support: none
seealso:
  - plugin: auditops.cloudscale.project_logs
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Read the log of the last week
  auditops.cloudscale.project_logs_info:
    start: -7d
  register: week
  delegate_to: localhost
  run_once: true

- name: Show who made most changes
  ansible.builtin.debug:
    var: week.summary.actors

- name: Read on where the last read ended
  auditops.cloudscale.project_logs_info:
    cursor: "{{ week.poll_more }}"
  register: since
  delegate_to: localhost
  run_once: true

- name: Keep the deletions of November as JSON lines
  auditops.cloudscale.project_logs_info:
    start: 2026-11-01
    end: 2026-12-01
    actions: ["*_delete"]
    dest: deletions.jsonl
    mode: "0640"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
project_logs:
  description: The entries, as the API gave them and in its order.
  returned: success, without O(dest)
  type: list
  elements: dict
  sample:
    - timestamp: "2025-12-11T12:23:17.460366Z"
      action: server_create
      message: Server 'hello' has been created
      ip_address: 172.30.244.1
      actor:
        user:
          email: johanna@example.com
      subject:
        project:
          uuid: 6ee2f8b0-8e4c-4f6f-9c50-1b8a4a4a9c11
          name: My Project
poll_more:
  description:
    - A URL to pass as O(cursor). It later returns the entries that became visible since this read, whatever was
      selected of it.
    - After a read with an O(end) in the past, it returns all entries stamped at or after that end, and so none that
      this read returned. Entries stamped before O(end) that become visible after this read are then in neither.
  returned: success
  type: str
  sample: https://api.cloudscale.ch/v1/project-logs?cursor=10025
range_empty:
  description:
    - Whether the log can have no entries of the range, because the range begins in the future or O(start) equals
      O(end). A result without entries then says nothing about the project.
  returned: success
  type: bool
summary:
  description: Counts of the entries returned or written.
  returned: success
  type: dict
  contains:
    entries:
      description: How many entries were returned or written.
      type: int
    matched:
      description: How many entries were selected, before O(limit).
      type: int
    read:
      description: How many entries the API returned.
      type: int
    pages:
      description: How many pages the API returned.
      type: int
    truncated:
      description: Whether O(limit) left out older matches.
      type: bool
    first:
      description: The earliest timestamp among the entries; null without entries.
      type: str
    last:
      description: The latest timestamp among the entries; null without entries.
      type: str
    actions:
      description: Entries by action, most frequent first.
      type: dict
    actors:
      description: >-
        Entries by actor (e-mail address, description or uuid of a token, V(system), V(admin)), most frequent first.
      type: dict
    ip_addresses:
      description: Entries by address, most frequent first; V(none) where an entry has no address.
      type: dict
dest:
  description: The whole path of the file that the entries were written to.
  returned: success, with O(dest)
  type: str
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  contains:
    code:
      description: >-
        A stable name, one of V(invalid_input), V(missing_dependency), V(unauthorized), V(forbidden),
        V(request_rejected), V(cursor_rejected), V(unreachable), V(certificate), V(invalid_response),
        V(service_unavailable), V(untrusted_url), V(pagination_loop), V(storage).
      type: str
    http_status:
      description: The HTTP status of the answer that was refused; null without one.
      type: int
    retryable:
      description: Whether the same call may succeed later.
      type: bool
"""

import os

from ansible_collections.auditops.cloudscale.plugins.module_utils.ansible_module import (
    CloudscaleModule,
    concurrency_spec,
    connection_spec,
    range_spec,
    selection_spec,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.files import (
    check_destination,
    content_sha256,
    draft_file,
    write_lines,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import canonical, to_builtin_entry
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.query import Query


def argument_spec():
    return {
        **connection_spec(),
        **range_spec(),
        **selection_spec(),
        **concurrency_spec(),
        "dest": {"type": "path"},
    }


def write_entries(module, question, dest):
    """Write the entries to dest and tell whether its content changed."""
    lines = map(canonical, question.entries())
    if module.check_mode:
        check_destination(dest)
        return write_lines(lines, "/dev/null") != content_sha256(dest)
    with draft_file(dest) as draft:
        changed = write_lines(lines, draft) != content_sha256(dest)
        if changed:
            module.atomic_move(draft, dest)
    return changed


def run(module):
    question = Query(module.params)
    if module.params["dest"] is None:
        result = {"changed": False, "project_logs": [to_builtin_entry(entry) for entry in question.entries()]}
    else:
        dest = os.path.abspath(module.params["dest"])
        changed = write_entries(module, question, dest)
        arguments = module.load_file_common_arguments(module.params, path=dest)
        result = {"changed": module.set_fs_attributes_if_different(arguments, changed), "dest": dest}
    for warning in question.warnings:
        module.warn(warning)
    return {**result, "poll_more": question.poll_more, "range_empty": question.range_empty, "summary": question.summary}


def main():
    module = CloudscaleModule(argument_spec=argument_spec(), supports_check_mode=True, add_file_common_args=True)
    with module.report_errors():
        result = run(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
