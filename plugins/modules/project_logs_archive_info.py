#!/usr/bin/python
# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: project_logs_archive_info
short_description: Get the status of an audit log archive, and verify it
version_added: 1.0.0
description:
  - Returns what an archive covers. With O(verify=true) it also verifies offline that the archive is intact. Neither
    needs a token, nor a network unless the archive is in a bucket.
  - With O(reconcile=true) it compares the archive with the entries that the provider still has.
  - With O(verify=true) or O(reconcile=true) it fails when there are findings of severity V(error), and with
    O(reconcile=true) also when there is nothing to compare.
author:
  - auditops.cloudscale contributors (@auditops)
options:
  api_token:
    description:
      - The API token of the project. Required with O(reconcile=true), here or through the environment; nothing else
        reads the API.
      - Ansible masks its text wherever it appears in a result.
    type: str
  path:
    description:
      - The folder of the archive, or its place in a bucket as O(auditops.cloudscale.project_logs_archive#module:path).
    type: path
    required: true
  verify:
    description:
      - Whether to verify the archive, which reads all of it.
      - If V(false), only the newest commits are read.
    type: bool
    default: false
  reconcile:
    description:
      - Whether to read the log again, from O(start) instead of a saved cursor, and to compare the archive with it. This
        needs a token and one request for each page of the log, from O(start) to its newest entry.
      - Compared is what the archive covers and the provider must still have; RV(reconciled) tells the range.
    type: bool
    default: false
  start:
    description:
      - With O(reconcile=true), where the comparison begins.
      - A time with offset (V(2026-11-22T08:00:00Z)), a date (its midnight in UTC), V(now), or a distance back from now
        in seconds, minutes, hours, days or weeks (V(-90d), V(-24h), V(-15m)).
    type: str
  end:
    description: With O(reconcile=true), where the comparison ends; the same forms, exclusive.
    type: str
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
      archive_id:
        description: Accepted so that a head can be passed as it was returned. The SHA-256 covers it.
        type: str
  allowed_signers:
    description:
      - Path to a file of those whose signatures count, in the format that C(ssh-keygen) describes under ALLOWED
        SIGNERS. They must have signed the archive.
      - It lies where the module runs, and must be none of the archive's files. It needs C(ssh-keygen) there.
    type: path
  heads:
    description:
      - Path to a file of heads that were noted elsewhere, one JSON object a line with the keys C(archive_id),
        C(sequence) and C(sha256). The archive must still have all of them.
      - Records of other archives are skipped. A file without any head of this archive is a finding.
      - The file is on the host where the module runs. Requires O(verify=true).
    type: path
extends_documentation_fragment:
  - auditops.cloudscale.connection
  - auditops.cloudscale.attributes
attributes:
  diff_mode:
    support: none
notes:
  - The connection's options are used with O(reconcile=true) only.
seealso:
  - module: auditops.cloudscale.project_logs_archive
"""

EXAMPLES = r"""
- name: Prove that the archive is whole and still holds what it held a year ago
  auditops.cloudscale.project_logs_archive_info:
    path: /var/lib/audit/shop
    verify: true
    expected_head: "{{ lookup('ansible.builtin.file', 'heads/shop.json') | from_json }}"

- name: Verify that the archive is intact and signed by the collectors
  auditops.cloudscale.project_logs_archive_info:
    path: /var/lib/audit/signed
    verify: true
    allowed_signers: /etc/audit/allowed-signers

- name: Verify that the archive still has all heads that the log server noted
  auditops.cloudscale.project_logs_archive_info:
    path: /var/lib/audit/shop
    verify: true
    heads: /var/lib/audit/heads.jsonl

- name: Prove that the archive has what the provider has of the last week
  auditops.cloudscale.project_logs_archive_info:
    path: /var/lib/audit/shop
    reconcile: true
    start: -7d

- name: Ask whether the archive keeps up
  auditops.cloudscale.project_logs_archive_info:
    path: /var/lib/audit/shop
  register: archive
  failed_when: archive.status.state != 'current'
"""

RETURN = r"""
status:
  description:
    - Where the archive stands as of its newest commit. With O(verify=true) it is the newest when that began; null when
      that cannot be read.
  returned: success, and failure with findings
  type: dict
  contains:
    project:
      description: The project whose log the archive holds, as C(name) and C(uuid).
      type: dict
    path:
      description: Path or address of the archive.
      type: str
    entries:
      description: Number of entries.
      type: int
    commits:
      description: Number of commits.
      type: int
    last_verified:
      description: Time of the last verification that found nothing; null if it is not known.
      type: str
    failure:
      description: What failed in the last run; null if nothing did, or if it is not known.
      type: dict
    head:
      description: The newest commit, as C(archive_id), C(sequence) and C(sha256).
      type: dict
    timestamp:
      description: >-
        The newest time stamp of the archive, as C(sequence), C(sha256) and C(time); null if it has none, or without
        C(openssl) on the host. Only C(cloudscale-audit verify --timestamp-ca) checks time stamps.
      type: dict
    covered_from:
      description: The beginning of the time that the archive covers; what was pruned is before it.
      type: str
    covered_until:
      description: The end of the time that the archive covers, by the provider's clock.
      type: str
    pruned_until:
      description: The midnight before which all days were let go of by C(prune); null if none were.
      type: str
    retention_deadline:
      description: When the provider begins to delete entries that are not in the archive.
      type: str
    gaps:
      description: All spans of time on record as lost.
      type: list
      elements: dict
    state:
      description: V(new), V(current), V(backlog), V(stale) or V(expired).
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
      description: Details of the finding.
      type: str
    severity:
      description: V(error), or V(warning) for what takes nothing from the archive's evidence.
      type: str
reconciled:
  description: What was compared with the provider.
  returned: success and failure with findings, with O(reconcile=true)
  type: dict
  contains:
    start:
      description: Where the comparison began, after it was clipped; null when there was nothing to compare.
      type: str
    end:
      description: Where it ended.
      type: str
    entries:
      description: How many entries are on both sides.
      type: int
    renamed:
      description: How many of them look different at the provider, because a project or a token was renamed.
      type: int
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  contains:
    code:
      description:
        - A stable name, such as V(invalid_input), V(storage), V(missing_dependency) or V(archive_damaged); with
          O(reconcile=true) also those of the API, such as V(unauthorized).
      type: str
    http_status:
      description: The HTTP status, if the API answered with an error.
      type: int
    retryable:
      description: Whether the same call may succeed later.
      type: bool
"""


from ansible_collections.auditops.cloudscale.plugins.module_utils.ansible_module import (
    CloudscaleModule,
    connection_spec,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import AllowedSigners
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.status import status, status_or_none
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import Head
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.heads import check_heads, read_heads
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reconciler import reconcile
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.open import open_archive
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.timestamper import with_timestamp
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.verifier import verify
from ansible_collections.auditops.cloudscale.plugins.module_utils.counts import pluralize
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import ArchiveDamaged, InvalidInput
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Connection, Range
from ansible_collections.auditops.cloudscale.plugins.module_utils.times import utc_now

NOT_INTACT = "is not intact: {}. Keep it as it is, and compare it with a copy."
NOT_EQUAL = "is not what the provider has: {}. Keep it as it is, and ask the provider."


def argument_spec():
    head = {"sequence": {"type": "int", "required": True}, "sha256": {"type": "str", "required": True}}
    head["archive_id"] = {"type": "str"}
    return {
        **connection_spec(),
        "path": {"type": "path", "required": True},
        "verify": {"type": "bool", "default": False},
        "reconcile": {"type": "bool", "default": False},
        "start": {"type": "str"},
        "end": {"type": "str"},
        "expected_head": {"type": "dict", "options": head},
        "allowed_signers": {"type": "path"},
        "heads": {"type": "path"},
    }


def verify_archive(module, store):
    """What the verification found."""
    noted, signers, heads = (module.params[name] for name in ("expected_head", "allowed_signers", "heads"))
    records = read_heads(heads) if heads else None
    findings = verify(
        store,
        Head(noted["sequence"], noted["sha256"]) if noted else None,
        AllowedSigners(signers) if signers else None,
    )
    return findings if records is None else [*findings, *check_heads(store, records).findings]


def reconcile_archive(module, store):
    """What was compared with the provider, and what differs."""
    given = module.params
    span = Range.from_mapping({"start": given["start"], "end": given["end"]}, utc_now())
    with Api(Connection.from_mapping(given)) as api:
        return reconcile(store, api, span)


def fail_on_errors(module, store, findings, result, told):
    """Fail with the findings when they are more than warnings."""
    problems = [finding for finding in findings if not finding.is_warning]
    if not problems:
        for finding in findings:
            module.warn(f"{finding.type} in {finding.path}: {finding.detail}")
        return
    first = problems[0]
    found = pluralize(len(problems), "finding", "findings, the first")
    what = f"{found} is {first.type} in {first.path} ({first.detail})"
    message = f"The archive in {store} {told.format(what)}"
    module.fail_json(message, failure=ArchiveDamaged(message).failure, **result)


def fail_on_empty_comparison(module, store, result):
    """Fail, because a comparison of nothing says nothing."""
    message = (
        f"Nothing was compared: no part of the range is both in the archive in {store} and at the provider; choose "
        "another range, or collect first."
    )
    module.fail_json(message, failure=InvalidInput(message).failure, **result)


def run(module):
    given = module.params
    if not given["reconcile"] and (given["start"] or given["end"]):
        raise InvalidInput("start and end require reconcile=true; set it or remove them.")
    if not given["verify"] and (given["expected_head"] or given["allowed_signers"] or given["heads"]):
        raise InvalidInput("expected_head, allowed_signers and heads require verify=true; set it or remove them.")
    store = open_archive(given["path"])
    # Before the rest: what a collector at work adds meanwhile is not verified.
    before = status_or_none(store, utc_now()) if given["verify"] else status(store, utc_now())
    findings = verify_archive(module, store) if given["verify"] else []
    result = {
        "changed": False,
        "findings": [finding.to_json() for finding in findings],
        "status": with_timestamp(before, store).to_json() if before else None,
    }
    fail_on_errors(module, store, findings, result, NOT_INTACT)
    if given["reconcile"]:
        compared = reconcile_archive(module, store)
        result["findings"] += [finding.to_json() for finding in compared.findings]
        result["reconciled"] = compared.to_json()
        fail_on_errors(module, store, compared.findings, result, NOT_EQUAL)
        if compared.start is None:
            fail_on_empty_comparison(module, store, result)
    return result


def main():
    module = CloudscaleModule(argument_spec=argument_spec(), supports_check_mode=True)
    with module.report_errors():
        result = run(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
