#!/usr/bin/python
# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: project_logs_detect
short_description: Find changes in cloudscale.ch projects that deserve a second pair of eyes
version_added: 1.0.0
description:
  - Applies detections to a range of the audit log, such as deletions, changes at unusual hours or from unknown
    networks, and actors that nobody has seen before. What fires is an alert.
  - Reads the log of the project from the API, or O(archives).
  - With O(fail_on), fails if there are alerts of that severity or a higher one, and also if a part of the range could
    not be looked at, such as one that the provider has deleted.
author:
  - auditops.cloudscale contributors (@auditops)
options:
  api_token:
    description:
      - The API token of the project; one with read access suffices. Required here or through the environment, unless
        O(archives) is set.
      - Ansible masks its text wherever it appears in a result.
    type: str
  archives:
    description:
      - Archives as M(auditops.cloudscale.project_logs_archive) keeps them, each of one project, in a folder or at
        V(s3://BUCKET/PREFIX). They are read in place of the API.
      - All entries before O(start) are taken for normal. Of the API, only the week before O(start) is.
      - Excludes O(cursor).
    type: list
    elements: path
  reviewers:
    description:
      - People who look at alerts. Each alert names one of them, always the same one for the same alert and never the
        actor of the entry.
    type: list
    elements: str
  fail_on:
    description: Fail if there are alerts of this severity or a higher one.
    type: str
    choices: [info, low, medium, high, critical]
  limit:
    description: Return only this number of alerts, the newest ones. O(fail_on) looks at all of them.
    type: int
extends_documentation_fragment:
  - auditops.cloudscale.connection
  - auditops.cloudscale.range
  - auditops.cloudscale.selection
  - auditops.cloudscale.detections
  - auditops.cloudscale.attributes
attributes:
  check_mode:
    support: full
    details: The module changes nothing.
  diff_mode:
    support: none
    details: The module changes nothing.
requirements:
  - requests
notes:
  - The selection (O(actions), O(actors) and so on) restricts which entries are reported. What is normal is learnt from
    all entries.
seealso:
  - module: auditops.cloudscale.project_logs_assert
  - module: auditops.cloudscale.project_logs_info
"""

EXAMPLES = r"""
- name: Look at the last day
  auditops.cloudscale.project_logs_detect:
    start: -24h
    own_actors: [ci deploy]
  register: watched

- name: Show what deserves a look
  ansible.builtin.debug:
    msg: "{{ watched.alerts | map(attribute='entry') | auditops.cloudscale.project_logs_table }}"

- name: Fail the pipeline if somebody from an unknown network changed a firewall's server
  auditops.cloudscale.project_logs_detect:
    start: -24h
    resources: [firewall-*]
    known_networks: [192.0.2.0/24, 2001:db8::/32]
    fail_on: high

- name: Report every change of a load balancer, from an archive
  auditops.cloudscale.project_logs_detect:
    archives: [/var/lib/audit/shop]
    start: -7d
    detections:
      - name: load_balancer_changed
        title: A load balancer was changed
        severity: medium
        select:
          actions: [load_balancer_*]
"""

RETURN = r"""
alerts:
  description: What fired, in the order of the log.
  returned: when the log was read
  type: list
  elements: dict
  contains:
    id:
      description: The same for the same alert in every run.
      type: str
    detection:
      description: The name of the detection.
      type: str
      sample: deletion
    severity:
      description: V(info), V(low), V(medium), V(high) or V(critical).
      type: str
    title:
      description: What the detection is about.
      type: str
    time:
      description: When it happened; null if the timestamp of the entry is unreadable.
      type: str
    project:
      description: What the archive calls the project, or else its path; empty if the API was read.
      type: str
    entry:
      description: The entry, as the API gave it.
      type: dict
    reviewer:
      description: Who of O(reviewers) should look at it; null if there is nobody.
      type: str
entries:
  description: How many entries the range has.
  returned: when the log was read
  type: int
inactive:
  description: Detections that are off, each with the option that it needs.
  returned: when the log was read
  type: dict
  sample: {unknown_network: known_networks}
missing:
  description: Parts of the range that O(archives) do not hold.
  returned: when the log was read
  type: list
  elements: dict
  contains:
    archive:
      description: The archive.
      type: str
    from:
      description: Where the part begins; null without a beginning.
      type: str
    to:
      description: Where it ends; null without an end.
      type: str
    why:
      description: The reason, such as V(pruned) or V(not collected).
      type: str
poll_more:
  description: A URL to pass as O(cursor) to the next call; null with O(archives).
  returned: when the log was read
  type: str
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  contains:
    code:
      description: >-
        V(alerts_found) for alerts as of O(fail_on), V(range_incomplete) if a part of the range could not be looked at,
        V(archive_damaged), or one of the names that M(auditops.cloudscale.project_logs_info) returns.
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
    detections_spec,
    range_spec,
    selection_spec,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.detection import SEVERITIES
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.search import Search


def argument_spec():
    return {
        **connection_spec(),
        **range_spec(),
        **selection_spec(),
        **detections_spec(),
        "archives": {"type": "list", "elements": "path"},
        "reviewers": {"type": "list", "elements": "str"},
        "fail_on": {"type": "str", "choices": list(SEVERITIES)},
    }


def main():
    module = CloudscaleModule(
        argument_spec=argument_spec(), supports_check_mode=True, mutually_exclusive=[("archives", "cursor")]
    )
    with module.report_errors():
        search = Search(module.params)
        found = search.run()
    for warning in found.warnings:
        module.warn(warning)
    error = search.error(found)
    if error:
        module.fail_json(error.message, failure=error.failure, **search.to_json(found))
    module.exit_json(changed=False, **search.to_json(found))


if __name__ == "__main__":
    main()
