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
  - Returns the status of an archive. With O(verify=true), also verifies that the archive is intact. Neither requires a
    token. A network is required only if the archive is in a bucket.
  - With O(reconcile=true), compares the archive with the entries that the provider still has.
  - With O(verify=true) or O(reconcile=true), fails if there are findings of severity V(error). With O(reconcile=true),
    also fails if there is nothing to compare.
author:
  - auditops.cloudscale contributors (@auditops)
options:
  api_token:
    description:
      - API token of the project. Required with O(reconcile=true), here or through the environment. Without
        O(reconcile=true), the API is not read.
      - Ansible masks the text of the token everywhere in results.
    type: str
  path:
    description:
      - Path to the directory of the archive, or its address in a bucket, as in
        O(auditops.cloudscale.project_logs_archive#module:path).
    type: path
    required: true
  verify:
    description:
      - If V(true), the complete archive is read and verified. If V(false), only the newest commits are read.
    type: bool
    default: false
  reconcile:
    description:
      - If V(true), the log is read again, from O(start) instead of a saved cursor, and compared with the archive. This
        requires a token, and one request per page of the log from O(start) to its newest entry.
      - Only the period that the archive covers and that the provider must still have is compared. RV(reconciled)
        contains this period.
    type: bool
    default: false
  start:
    description:
      - Start of the comparison, inclusive. Requires O(reconcile=true).
      - A time with offset (V(2026-11-22T08:00:00Z)), a date (its midnight in UTC), V(now), or an offset before now in
        seconds, minutes, hours, days or weeks (V(-90d), V(-24h), V(-15m)).
    type: str
  end:
    description: End of the comparison, exclusive, in the same formats. Requires O(reconcile=true).
    type: str
  expected_head:
    description:
      - Head that was noted earlier and stored elsewhere. The archive must still have this commit.
      - Requires O(verify=true).
    type: dict
    suboptions:
      sequence:
        description: Sequence number of the commit.
        type: int
        required: true
      sha256:
        description: SHA-256 of the commit, in hexadecimal.
        type: str
        required: true
      archive_id:
        description: >-
          Ignored, because the SHA-256 covers the id. Accepted so that a returned head can be passed unchanged.
        type: str
  allowed_signers:
    description:
      - Path to a file with the public keys of trusted signers, in the format that C(ssh-keygen) describes under ALLOWED
        SIGNERS. Fails unless the archive is signed with these keys.
      - The file must be on the host where the module runs, outside the archive, and the host must have C(ssh-keygen).
        Requires O(verify=true).
    type: path
  heads:
    description:
      - Path to a file of heads that were noted elsewhere, one JSON object per line with the keys C(archive_id),
        C(sequence) and C(sha256). The archive must still have all these heads.
      - Heads of other archives are skipped. A file without a head of this archive is a finding.
      - The file must be on the host where the module runs. Requires O(verify=true).
    type: path
extends_documentation_fragment:
  - auditops.cloudscale.connection
  - auditops.cloudscale.attributes
attributes:
  diff_mode:
    support: none
requirements:
  - requests, for O(reconcile)
  - boto3, if O(path) is in a bucket
  - C(ssh-keygen), for O(allowed_signers)
notes:
  - The options of the connection are used only with O(reconcile=true).
seealso:
  - module: auditops.cloudscale.project_logs_archive
  - ref: ansible_collections.auditops.cloudscale.docsite.archive_auditors_guide
    description: What verification shows, and how to check an archive independently.
"""

EXAMPLES = r"""
- name: Verify that the archive is intact and still has the head of a year ago
  auditops.cloudscale.project_logs_archive_info:
    path: /var/lib/audit/shop
    verify: true
    expected_head: "{{ lookup('ansible.builtin.file', 'heads/shop.json') | from_json }}"

- name: Verify that the archive is intact and signed by the collectors
  auditops.cloudscale.project_logs_archive_info:
    path: /var/lib/audit/signed
    verify: true
    allowed_signers: /etc/audit/allowed-signers

- name: Verify that the archive still has all noted heads
  auditops.cloudscale.project_logs_archive_info:
    path: /var/lib/audit/shop
    verify: true
    heads: /var/lib/audit/heads.jsonl

- name: Verify that the archive has all entries of the last week that the provider has
  auditops.cloudscale.project_logs_archive_info:
    path: /var/lib/audit/shop
    reconcile: true
    start: -7d

- name: Fail unless the archive is current
  auditops.cloudscale.project_logs_archive_info:
    path: /var/lib/audit/shop
  register: archive
  failed_when: archive.status.state != 'current'
"""

RETURN = r"""
status:
  description:
    - Status of the archive as of its newest commit. With O(verify=true), as of the newest commit at the start of the
      verification; null if that commit cannot be read.
  returned: success, and failure with findings
  type: dict
  contains:
    project:
      description: Project of the archive, as C(name) and C(uuid).
      type: dict
    path:
      description: Path to the archive, or its address in a bucket.
      type: str
    entries:
      description: Number of entries.
      type: int
    commits:
      description: Number of commits.
      type: int
    last_verified:
      description: Time of the last verification without findings; null if unknown.
      type: str
    failure:
      description: Failure of the last run; null if the run succeeded or its result is unknown.
      type: dict
    head:
      description: Newest commit, as C(archive_id), C(sequence) and C(sha256).
      type: dict
    timestamp:
      description: >-
        Newest time stamp of the archive, as C(sequence), C(sha256) and C(time); null without a time stamp, or without
        C(openssl) on the host. Only C(cloudscale-audit verify --timestamp-ca) verifies time stamps.
      type: dict
    covered_from:
      description: Start of the covered period. Pruned entries are before this time.
      type: str
    covered_until:
      description: End of the covered period, by the provider's clock.
      type: str
    pruned_until:
      description: Start of the oldest day kept after C(prune); null if nothing was pruned.
      type: str
    retention_deadline:
      description: Time at which the provider begins to delete entries that are not archived.
      type: str
    gaps:
      description: All recorded gaps, as C(from), C(to) and C(why).
      type: list
      elements: dict
    state:
      description: V(new), V(current), V(backlog), V(stale) or V(expired).
      type: str
findings:
  description: Findings of the verification and of the comparison, including warnings.
  returned: success, and failure with findings
  type: list
  elements: dict
  contains:
    type:
      description: Type of the finding, a stable name such as V(missing), V(altered) or V(chain).
      type: str
    path:
      description: Path of the affected file, inside the archive.
      type: str
    detail:
      description: Details of the finding.
      type: str
    severity:
      description: V(error), or V(warning) if the evidence of the archive is not affected.
      type: str
reconciled:
  description: Period and entries that were compared with the provider.
  returned: success and failure with findings, with O(reconcile=true)
  type: dict
  contains:
    start:
      description: Start of the compared period; null if there was nothing to compare.
      type: str
    end:
      description: End of the compared period.
      type: str
    entries:
      description: Number of entries that the archive and the provider both have.
      type: int
    renamed:
      description: Number of these entries that differ only because a project or a token was renamed.
      type: int
failure:
  description: Machine-readable cause of the failure.
  returned: failure
  type: dict
  contains:
    code:
      description:
        - Stable name, such as V(invalid_input), V(storage), V(missing_dependency) or V(archive_damaged). With
          O(reconcile=true), also the codes of the API, such as V(unauthorized).
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
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import AllowedSigners
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.status import status, status_or_none
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.finding import errors
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

NOT_INTACT = "The archive in {} is not intact: {}. Do not change it, and compare it with a copy."
NOT_EQUAL = "The archive in {} differs from the provider's log: {}. Do not change it, and ask the provider."


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
    """Return the findings of the verification."""
    head, signers, heads_file = (module.params[name] for name in ("expected_head", "allowed_signers", "heads"))
    # Read before the verification, which takes long, so that an unusable file fails at once.
    heads = read_heads(heads_file) if heads_file else None
    findings = verify(
        store,
        Head(head["sequence"], head["sha256"]) if head else None,
        AllowedSigners(signers) if signers else None,
    )
    return findings if heads is None else [*findings, *check_heads(store, heads).findings]


def reconcile_archive(module, store):
    """Compare the archive with the provider's log, and return the compared range and the findings."""
    params = module.params
    time_range = Range.from_mapping({"start": params["start"], "end": params["end"]}, utc_now())
    with Api(Connection.from_mapping(params)) as api:
        return reconcile(store, api, time_range)


def fail_on_errors(module, store, findings, result, template):
    """Fail if there are findings of severity error; otherwise warn of each finding."""
    problems = errors(findings)
    if not problems:
        for finding in findings:
            module.warn(f"{finding.type} in {finding.path}: {finding.detail}")
        return
    first = problems[0]
    count = pluralize(len(problems), "finding", "findings, the first")
    message = template.format(store, f"{count} is {first.type} in {first.path} ({first.detail})")
    module.fail_json(message, failure=ArchiveDamaged(message).failure, **result)


def fail_on_empty_comparison(module, store, result):
    """Fail because there was nothing to compare."""
    message = (
        f"Nothing was compared, because the archive in {store} and the provider have no part of the range in common. "
        "Choose another range, or collect first."
    )
    module.fail_json(message, failure=InvalidInput(message).failure, **result)


def run(module):
    params = module.params
    if not params["reconcile"] and (params["start"] or params["end"]):
        raise InvalidInput("start and end require reconcile=true; set it or remove them.")
    if not params["verify"] and (params["expected_head"] or params["allowed_signers"] or params["heads"]):
        raise InvalidInput("expected_head, allowed_signers and heads require verify=true; set it or remove them.")
    store = open_archive(params["path"])
    # Read before the verification, because a concurrent collector can add commits that are not verified.
    before = status_or_none(store, utc_now()) if params["verify"] else status(store, utc_now())
    findings = verify_archive(module, store) if params["verify"] else []
    result = {
        "changed": False,
        "findings": [finding.to_json() for finding in findings],
        "status": with_timestamp(before, store).to_json() if before else None,
    }
    fail_on_errors(module, store, findings, result, NOT_INTACT)
    if params["reconcile"]:
        comparison = reconcile_archive(module, store)
        result["findings"] += [finding.to_json() for finding in comparison.findings]
        result["reconciled"] = comparison.to_json()
        fail_on_errors(module, store, comparison.findings, result, NOT_EQUAL)
        if comparison.start is None:
            fail_on_empty_comparison(module, store, result)
    return result


def main():
    module = CloudscaleModule(argument_spec=argument_spec(), supports_check_mode=True)
    with module.report_errors():
        result = run(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
