#!/usr/bin/python
# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: project_logs_info
short_description: Query the audit log of a cloudscale.ch project
version_added: 1.0.0
description:
  - Reads the complete log of a project between two times, or from the position where an earlier read ended.
  - Returns the entries unchanged, in the order of the API. Adds, omits and merges nothing.
author:
  - auditops.cloudscale contributors (@auditops)
options:
  dest:
    description:
      - Path to a file. The entries are written to the file instead of being returned, one JSON object per line, with
        sorted keys and with numbers as received.
      - The file is replaced at the end of a successful read. If the read fails, the file stays unchanged.
      - The directory must exist. A relative path is relative to the directory that the module runs in.
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
    details: Reads the log as usual. Does not write O(dest); C(changed) shows whether the file would change.
  diff_mode:
    support: none
requirements:
  - requests
seealso:
  - plugin: auditops.cloudscale.project_logs
    plugin_type: lookup
  - plugin: auditops.cloudscale.project_logs_summary
    plugin_type: filter
  - module: auditops.cloudscale.project_logs_assert
  - ref: ansible_collections.auditops.cloudscale.docsite.lookup_or_module_guide
    description: When to use the lookup and when to use the module.
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

- name: Read the entries added since the last read
  auditops.cloudscale.project_logs_info:
    cursor: "{{ week.poll_more }}"
  register: since
  delegate_to: localhost
  run_once: true

- name: Write the deletions of November as JSON lines
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
  description: Entries, unchanged and in the order of the API.
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
    - URL to pass as O(cursor) to a later read, which returns the entries added since this read. The selection of this
      read has no effect on the later read.
    - If O(end) is in the past, the later read returns all entries with a timestamp at or after O(end), so no entry is
      returned twice. Entries with a timestamp before O(end) that become visible after this read are in neither read.
  returned: success
  type: str
  sample: https://api.cloudscale.ch/v1/project-logs?cursor=10025
range_empty:
  description:
    - V(true) if the range cannot have entries, because it begins in the future or O(start) equals O(end). A result
      without entries then says nothing about the project.
  returned: success
  type: bool
summary:
  description: Counts of the entries that were returned or written.
  returned: success
  type: dict
  contains:
    entries:
      description: Number of entries that were returned or written.
      type: int
    matched:
      description: Number of entries that match the selection, before O(limit).
      type: int
    read:
      description: Number of entries that the API returned.
      type: int
    pages:
      description: Number of pages that the API returned.
      type: int
    truncated:
      description: V(true) if O(limit) dropped older matches.
      type: bool
    first:
      description: Earliest timestamp of the entries; null without entries.
      type: str
    last:
      description: Latest timestamp of the entries; null without entries.
      type: str
    actions:
      description: Number of entries per action, most frequent first.
      type: dict
    actors:
      description: >-
        Number of entries per actor (e-mail address, description or uuid of a token, V(system), V(admin)), most frequent
        first.
      type: dict
    ip_addresses:
      description: Number of entries per IP address, most frequent first; V(none) for entries without an address.
      type: dict
dest:
  description: Absolute path of the file that the entries were written to.
  returned: success, with O(dest)
  type: str
failure:
  description: Machine-readable cause of the failure.
  returned: failure
  type: dict
  contains:
    code:
      description: >-
        Stable name, one of V(invalid_input), V(missing_dependency), V(unauthorized), V(forbidden),
        V(request_rejected), V(cursor_rejected), V(unreachable), V(certificate), V(invalid_response),
        V(service_unavailable), V(untrusted_url), V(pagination_loop), V(storage),
        V(cancelled).
      type: str
    http_status:
      description: HTTP status of the refused request; null without one.
      type: int
    retryable:
      description: V(true) if the same call can succeed later.
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
    lines_sha256,
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


def write_entries(module, query, dest):
    """Write the entries to dest. Return True if its content changed, or would change in check mode."""
    lines = map(canonical, query.entries())
    if module.check_mode:
        check_destination(dest)
        return lines_sha256(lines) != content_sha256(dest)
    with draft_file(dest) as draft:
        changed = write_lines(lines, draft) != content_sha256(dest)
        if changed:
            module.atomic_move(draft, dest)
    return changed


def run(module):
    query = Query(module.params)
    if module.params["dest"] is None:
        result = {"changed": False, "project_logs": [to_builtin_entry(entry) for entry in query.entries()]}
    else:
        dest = os.path.abspath(module.params["dest"])
        changed = write_entries(module, query, dest)
        arguments = module.load_file_common_arguments(module.params, path=dest)
        result = {"changed": module.set_fs_attributes_if_different(arguments, changed), "dest": dest}
    for warning in query.warnings:
        module.warn(warning)
    return {**result, "poll_more": query.poll_more, "range_empty": query.range_empty, "summary": query.summary}


def main():
    module = CloudscaleModule(argument_spec=argument_spec(), supports_check_mode=True, add_file_common_args=True)
    with module.report_errors():
        result = run(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
