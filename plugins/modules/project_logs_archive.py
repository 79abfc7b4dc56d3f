#!/usr/bin/python
# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: project_logs_archive
short_description: Archive the audit log of a cloudscale.ch project
version_added: 1.0.0
description:
  - Reads new entries from the log of a project and adds them to an archive. An archive is a directory of compressed
    JSON lines with a chain of commits, which makes the entries and the covered period tamper-evident.
  - Every entry is archived exactly once, even if a run is killed or several collectors write to the archive
    concurrently. The guide to the format of archives lists rare exceptions.
  - Records a gap where the provider deleted entries before they were read.
author:
  - auditops.cloudscale contributors (@auditops)
options:
  path:
    description:
      - Path to the directory of the archive, which is created if it does not exist. One archive contains the log of one
        project.
      - Or an address in a bucket, C(s3://BUCKET/PREFIX), which requires the Python library C(boto3). Set credentials
        and server in the environment, such as E(AWS_ACCESS_KEY_ID), E(AWS_SECRET_ACCESS_KEY) and E(AWS_ENDPOINT_URL).
      - An address can end with options, as in a URL. C(?claims=s3://BUCKET/PREFIX) names a second bucket that resolves
        concurrent commits. Use it if the first bucket ignores conditional writes.
        C(?lock_days=400&lock_mode=governance) locks each object.
    type: path
    required: true
  project:
    description: Label of the project, which is stored in the archive.
    type: str
  start:
    description:
      - Start of a new archive, in the formats of O(auditops.cloudscale.project_logs_info#module:start). The default is
        the oldest entry that the provider has.
      - Has no effect on an existing archive, which continues where it ended.
    type: str
  pin:
    description:
      - Path to a file outside the archive that stores the newest commit of the archive. A run fails if the archive no
        longer has this commit.
      - With O(sign_key), the default is a file in the state directory of the user (E(XDG_STATE_HOME), or
        C(~/.local/state)). Without O(sign_key), there is no default.
    type: path
  sign_key:
    description:
      - Path to an OpenSSH key with which C(ssh-keygen) signs every commit.
      - The key is a private key without a passphrase, or the public key of a key in an agent. The key and C(ssh-keygen)
        must be on the host where the module runs.
      - A signed archive accepts only signed commits. An existing archive without signatures is signed from its pinned
        head on.
      - O(auditops.cloudscale.project_logs_archive_info#module:allowed_signers) verifies the signatures.
    type: path
  allowed_signers:
    description:
      - Path to a file with the public keys of all collectors that can add to the archive, in the format that
        C(ssh-keygen) describes under ALLOWED SIGNERS. A run fails if the newest commits have no signature by one of
        these keys.
      - Required if several keys sign the archive, and for the first signature of a new key.
    type: path
extends_documentation_fragment:
  - auditops.cloudscale.connection
  - auditops.cloudscale.attributes
attributes:
  check_mode:
    details: Reads new entries and returns what would be added. Writes and signs nothing.
  diff_mode:
    support: none
requirements:
  - requests
  - boto3, if O(path) is in a bucket
  - C(ssh-keygen), for O(sign_key) and O(allowed_signers)
seealso:
  - module: auditops.cloudscale.project_logs_archive_info
  - ref: ansible_collections.auditops.cloudscale.docsite.archive_guide
    description: Archives, from the first collection run to retention.
"""

EXAMPLES = r"""
- name: Archive new entries
  auditops.cloudscale.project_logs_archive:
    path: /var/lib/audit/shop
    project: shop
  register: archive

- name: Create a directory for heads that nobody with access to the archive can change
  ansible.builtin.file:
    path: heads
    state: directory
    mode: "0750"
  delegate_to: localhost

- name: Note the head
  ansible.builtin.copy:
    content: "{{ archive.head | to_json }}"
    dest: heads/shop.json
    mode: "0640"
  delegate_to: localhost

- name: Create a signing key
  ansible.builtin.command:
    cmd: ssh-keygen -q -t ed25519 -N '' -f /etc/audit/signing-key
    creates: /etc/audit/signing-key

- name: Archive new entries with signatures
  auditops.cloudscale.project_logs_archive:
    path: /var/lib/audit/signed
    sign_key: /etc/audit/signing-key
"""

RETURN = r"""
added:
  description: Number of entries that the run added.
  returned: success
  type: int
commits_added:
  description: Number of commits that the run added.
  returned: success
  type: int
project:
  description: Project of the archive.
  returned: success
  type: dict
  contains:
    name:
      description: Label of the project; empty without a label.
      type: str
    uuid:
      description: UUID of the project; null until the first entry.
      type: str
path:
  description: Path to the archive, or its address in a bucket.
  returned: success
  type: str
entries:
  description: Number of entries in the archive.
  returned: success
  type: int
commits:
  description: Number of commits in the archive.
  returned: success
  type: int
last_verified:
  description: Time of the last verification without findings; null if unknown.
  returned: success
  type: str
head:
  description: Newest commit. If you store the head elsewhere, it later shows whether the archive was truncated.
  returned: success
  type: dict
  contains:
    archive_id:
      description: Random id of the archive, from its first commit.
      type: str
    sequence:
      description: Sequence number of the commit.
      type: int
    sha256:
      description: SHA-256 of the commit, in hexadecimal.
      type: str
timestamp:
  description: Always null. Only the command C(cloudscale-audit collect) requests time stamps.
  returned: success
  type: dict
covered_from:
  description: Start of the covered period. Pruned entries are before this time.
  returned: success
  type: str
pruned_until:
  description: Start of the oldest day kept after C(prune); null if nothing was pruned.
  returned: success
  type: str
covered_until:
  description: End of the covered period, by the provider's clock.
  returned: success
  type: str
retention_deadline:
  description: Time at which the provider begins to delete entries that are not archived, unless a later run succeeds.
  returned: success
  type: str
gaps:
  description: Time ranges that the run recorded as gaps, with RV(ignore:from), RV(ignore:to) and RV(ignore:why).
  returned: success
  type: list
  elements: dict
state:
  description: >-
    V(new) (no commit yet), V(current), V(backlog) (more entries to read), V(stale) (no read for a day) or V(expired)
    (the provider might have deleted entries that are not archived).
  returned: success
  type: str
failure:
  description: Machine-readable cause of the failure; null on success.
  returned: always
  type: dict
  contains:
    code:
      description: >-
        Stable name, one of V(invalid_input), V(missing_dependency), V(unauthorized), V(forbidden),
        V(request_rejected), V(cursor_rejected), V(unreachable), V(certificate), V(invalid_response),
        V(service_unavailable), V(untrusted_url), V(pagination_loop), V(storage), V(archive_damaged),
        V(project_mismatch), V(clock), V(cancelled).
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
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.pin import DefaultPin, HeadPin
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import (
    AllowedSigners,
    SigningKey,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.collector import CollectSettings, collect
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.run_context import RunContext
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.open import open_store
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Connection, Range
from ansible_collections.auditops.cloudscale.plugins.module_utils.times import utc_now


def argument_spec():
    return {
        **connection_spec(),
        "path": {"type": "path", "required": True},
        "project": {"type": "str"},
        "start": {"type": "str"},
        "pin": {"type": "path"},
        "allowed_signers": {"type": "path"},
        # A file name, not a secret.
        "sign_key": {"type": "path", "no_log": False},
    }


def run_context(module, store):
    """The context of the run. With a signing key, there is a pin by default."""
    key, signers = module.params["sign_key"], module.params["allowed_signers"]
    pin = None
    if module.params["pin"]:
        pin = HeadPin(module.params["pin"])
    elif key:
        pin = DefaultPin(str(store), module.warn)
    return RunContext(
        pin=pin,
        sign_key=SigningKey(key) if key else None,
        allowed_signers=AllowedSigners(signers) if signers else None,
        dry_run=module.check_mode,
        warn=module.warn,
        option_name=option_name,
    )


def option_name(name):
    """The name of an option in errors; the module lacks some options of the command."""
    return name if name in argument_spec() else f"cloudscale-audit collect --{name.replace('_', '-')}"


def run(module):
    params = module.params
    connection = Connection.from_mapping(params)
    time_range = Range.from_mapping({"start": params["start"]}, utc_now())
    settings = CollectSettings(project=params["project"] or "", start=time_range.start)
    store = open_store(params["path"])
    with Api(connection) as api:
        collected = collect(store, api, settings, run_context(module, store))
    for warning in time_range.warnings:
        module.warn(warning)
    # A heartbeat commit, without entries or gaps, is not a change.
    return {**collected.to_json(), "changed": bool(collected.added or collected.gaps)}


def main():
    module = CloudscaleModule(argument_spec=argument_spec(), supports_check_mode=True)
    with module.report_errors():
        result = run(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
