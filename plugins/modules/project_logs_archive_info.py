#!/usr/bin/python
# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: project_logs_archive_info
short_description: Tell where an archive of an audit log stands, and verify it
version_added: 0.1.0
description:
  - Tells what an archive covers, and proves offline that it is whole. It needs no token, and no network unless the
    archive lies in a bucket.
  - Fails when anything is found that a sound archive does not have.
author:
  - auditops.cloudscale contributors (@auditops)
options:
  path:
    description:
      - The folder of the archive, or its place in a bucket as O(auditops.cloudscale.project_logs_archive#module:path).
    type: path
    required: true
  verify:
    description:
      - Whether to verify the archive, that is to read all of it.
      - Without it, only the newest commits are read.
    type: bool
    default: true
  expected_head:
    description: A head that was noted earlier and kept elsewhere; the archive must still hold that commit.
    type: dict
    suboptions:
      sequence:
        description: The number of the commit.
        type: int
        required: true
      sha256:
        description: The SHA-256 of the commit's bytes, in hexadecimal.
        type: str
        required: true
extends_documentation_fragment:
  - auditops.cloudscale.connection
  - auditops.cloudscale.attributes
attributes:
  diff_mode:
    support: none
notes:
  - The connection's options are accepted so that defaults of the action group fit; they are not used.
seealso:
  - module: auditops.cloudscale.project_logs_archive
"""

EXAMPLES = r"""
- name: Prove that the archive is whole and still holds what it held a year ago
  auditops.cloudscale.project_logs_archive_info:
    path: /var/lib/audit/shop
    expected_head: "{{ lookup('ansible.builtin.file', 'heads/shop.json') | from_json }}"

- name: Ask whether the archive keeps up
  auditops.cloudscale.project_logs_archive_info:
    path: /var/lib/audit/shop
    verify: false
  register: archive
  failed_when: archive.status.state != 'live'
"""

RETURN = r"""
status:
  description: Where the archive stands as of its newest commit.
  returned: success, and failure with findings
  type: dict
  contains:
    added:
      description: How many entries were ever added.
      type: int
    commits:
      description: How many commits there are.
      type: int
    head:
      description: The newest commit, as sequence and sha256.
      type: dict
    covered_from:
      description: The beginning of the time that the archive covers.
      type: str
    covered_until:
      description: The end of the time that the archive covers, by the provider's clock.
      type: str
    retention_deadline:
      description: When the provider begins to delete entries that are not in the archive.
      type: str
    gaps:
      description: All spans of time on record as lost.
      type: list
      elements: dict
    state:
      description: V(live), V(backlog), V(degraded) or V(expired).
      type: str
findings:
  description: What a sound archive would not have, warnings included.
  returned: success, and failure with findings
  type: list
  elements: dict
  contains:
    type:
      description: What kind of finding; a stable name such as V(missing), V(altered) or V(chain).
      type: str
    path:
      description: The file it is about, inside the archive.
      type: str
    detail:
      description: What about it.
      type: str
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  contains:
    code:
      description: A stable name, one of V(invalid_input), V(storage), V(missing_library), V(archive_damaged).
      type: str
    status:
      description: Always null.
      type: int
    retryable:
      description: Whether the same call may succeed later.
      type: bool
"""

from datetime import datetime, timezone

from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format import Head
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.location import existing_archive
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.verifier import status, verify
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import ArchiveDamaged
from ansible_collections.auditops.cloudscale.plugins.module_utils.options import CloudscaleModule, connection_spec


def argument_spec():
    head = {"sequence": {"type": "int", "required": True}, "sha256": {"type": "str", "required": True}}
    return {
        **connection_spec(),
        "path": {"type": "path", "required": True},
        "verify": {"type": "bool", "default": True},
        "expected_head": {"type": "dict", "options": head},
    }


def verified(module, store):
    """What the verification found; when that is more than warnings, the module fails with it."""
    noted = module.params["expected_head"]
    findings = verify(store, Head(noted["sequence"], noted["sha256"]) if noted else None)
    told = [finding._asdict() for finding in findings]
    problems = [finding for finding in findings if not finding.is_warning]
    if problems:
        first = problems[0]
        message = (
            f"The archive in {store} is not sound: {len(problems)} findings, the first is {first.type} in {first.path} "
            f"({first.detail}). Keep it as it is, and compare it with a copy."
        )
        module.fail_json(message, failure=ArchiveDamaged(message).failure, findings=told, status=standing(store))
    for finding in findings:
        module.warn(f"{finding.type} in {finding.path}: {finding.detail}")
    return told


def standing(store):
    """The status, or None where even the newest commit cannot be read."""
    try:
        return status(store, datetime.now(timezone.utc)).to_json()
    except ArchiveDamaged:
        return None


def run(module):
    store = existing_archive(module.params["path"])
    findings = verified(module, store) if module.params["verify"] else []
    return {"changed": False, "status": status(store, datetime.now(timezone.utc)).to_json(), "findings": findings}


def main():
    module = CloudscaleModule(argument_spec=argument_spec(), supports_check_mode=True)
    with module.errors_told():
        result = run(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
