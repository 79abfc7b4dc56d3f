#!/usr/bin/python
# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: project_logs_detect
short_description: Find changes in cloudscale.ch projects that need a review
version_added: 1.0.0
description:
  - Applies detections to a range of the audit log, for example for deletions, changes outside working hours or from
    unknown networks, and first changes by an actor. Each detection that fires yields an alert.
  - Reads the log of the project from the API, or reads O(archives).
  - With O(fail_on), fails if there are alerts of that severity or higher. Also fails if a part of the range could not
    be read, such as one that the provider has deleted.
author:
  - auditops.cloudscale contributors (@auditops)
options:
  api_token:
    description:
      - API token of the project. A token with read access is enough. Required here or through the environment, unless
        O(archives) is set.
      - Ansible masks the text of the token everywhere in results.
    type: str
  archives:
    description:
      - Paths to archives of M(auditops.cloudscale.project_logs_archive), or their addresses in a bucket,
        V(s3://BUCKET/PREFIX). The module reads the archives instead of the API.
      - All archived entries before O(start) are the baseline of normal activity. From the API, the baseline is the week
        before O(start).
      - Mutually exclusive with O(cursor).
    type: list
    elements: path
  reviewers:
    description:
      - People who review alerts. Each alert names one reviewer, the same reviewer in every run, and never the actor of
        the entry.
    type: list
    elements: str
  fail_on:
    description: Minimum severity of alerts that make the module fail. By default, alerts cause no failure.
    type: str
    choices: [info, low, medium, high, critical]
  limit:
    description: Maximum number of alerts to return, newest kept. O(fail_on) considers all alerts.
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
  - requests, unless O(archives) is set
  - boto3, if O(archives) are in a bucket
notes:
  - The selection (O(actions), O(actors) and so on) limits which entries can have alerts. The baseline contains all
    entries.
seealso:
  - module: auditops.cloudscale.project_logs_assert
  - module: auditops.cloudscale.project_logs_info
  - ref: ansible_collections.auditops.cloudscale.docsite.detections_guide
    description: How to write and test your own detections.
  - ref: ansible_collections.auditops.cloudscale.docsite.detections_reference
    description: All built-in detections.
"""

EXAMPLES = r"""
- name: Find alerts in the last day
  auditops.cloudscale.project_logs_detect:
    start: -24h
    own_actors: [ci deploy]
  register: watched

- name: Show the entries with alerts
  ansible.builtin.debug:
    msg: "{{ watched.alerts | map(attribute='entry') | auditops.cloudscale.project_logs_table }}"

- name: Fail if a firewall was changed from an unknown network
  auditops.cloudscale.project_logs_detect:
    start: -24h
    resources: [firewall-*]
    known_networks: [192.0.2.0/24, 2001:db8::/32]
    fail_on: high

- name: Find all changes of load balancers in an archive
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
  description: Alerts, in the order of the log.
  returned: when the log was read
  type: list
  elements: dict
  contains:
    id:
      description: Id of the alert, the same in every run.
      type: str
    detection:
      description: Name of the detection.
      type: str
      sample: deletion
    severity:
      description: Severity, one of V(info), V(low), V(medium), V(high) and V(critical).
      type: str
    title:
      description: Title of the detection.
      type: str
    time:
      description: Time of the change; null if the timestamp of the entry is unreadable.
      type: str
    project:
      description: Label of the project in the archive, or the path of the archive; empty if the API was read.
      type: str
    entry:
      description: Entry, unchanged.
      type: dict
    reviewer:
      description: Reviewer from O(reviewers); null without a reviewer.
      type: str
entries:
  description: Number of entries in the range.
  returned: when the log was read
  type: int
inactive:
  description: Detections that are off, each with the option that the detection needs.
  returned: when the log was read
  type: dict
  sample: {unknown_network: known_networks}
missing:
  description: Parts of the range that O(archives) lack.
  returned: when the log was read
  type: list
  elements: dict
  contains:
    archive:
      description: Path of the archive.
      type: str
    from:
      description: Start of the part; null without a start.
      type: str
    to:
      description: End of the part; null without an end.
      type: str
    why:
      description: Reason, such as V(pruned) or V(not collected).
      type: str
poll_more:
  description: URL to pass as O(cursor) to the next call; null with O(archives).
  returned: when the log was read
  type: str
failure:
  description: Machine-readable cause of the failure.
  returned: failure
  type: dict
  contains:
    code:
      description: >-
        V(alerts_found) for alerts at or above O(fail_on), V(range_incomplete) if a part of the range could not be read,
        V(archive_damaged), or one of the codes of M(auditops.cloudscale.project_logs_info).
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


def run(module):
    search = Search(module.params)
    found = search.run()
    for warning in found.warnings:
        module.warn(warning)
    error = search.error(found)
    if error:
        module.fail_json(error.message, failure=error.failure, **search.to_json(found))
    return {"changed": False, **search.to_json(found)}


def main():
    module = CloudscaleModule(
        argument_spec=argument_spec(), supports_check_mode=True, mutually_exclusive=[("archives", "cursor")]
    )
    with module.report_errors():
        result = run(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
