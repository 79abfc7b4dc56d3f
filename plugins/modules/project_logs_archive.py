#!/usr/bin/python
# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: project_logs_archive
short_description: Keep the audit log of a cloudscale.ch project in an archive
version_added: 1.0.0
description:
  - Reads what is new in the log of a project and adds it to an archive, a folder of compressed JSON lines and a chain
    of commits that proves what is in it and which time it covers.
  - Every entry is kept exactly once, whatever is killed and whoever else collects into the same archive at the same
    time.
  - What the provider deleted before it was read is put on record as a gap.
author:
  - auditops.cloudscale contributors (@auditops)
options:
  path:
    description:
      - The folder of the archive; it is made if need be. One archive holds the log of one project.
      - Or a place in a bucket, C(s3://BUCKET/PREFIX), which needs the Python library C(boto3). Credentials and server
        come from the environment, such as E(AWS_ACCESS_KEY_ID), E(AWS_SECRET_ACCESS_KEY) and E(AWS_ENDPOINT_URL).
      - Options follow as in a URL. C(?claims=s3://BUCKET/PREFIX) names where commits are decided if the server ignores
        conditional writes in the archive's bucket, C(?lock_days=400&lock_mode=governance) locks each object.
    type: path
    required: true
  project:
    description: A label for the project, which is written into the archive.
    type: str
  start:
    description:
      - Where a new archive begins, as O(auditops.cloudscale.project_logs_info#module:start). By default with the oldest
        entry kept.
      - An archive that exists goes on where it ended.
    type: str
  pin:
    description:
      - Path to a file outside the archive that remembers its newest commit. A run refuses an archive that no longer has
        that commit.
      - By default, a run with O(sign_key) keeps such a file in the state directory of the user it runs as
        (E(XDG_STATE_HOME), else C(~/.local/state)).
    type: path
  sign_key:
    description:
      - Path to an OpenSSH key with which C(ssh-keygen) signs every commit.
      - The key is a private key without a passphrase, or the public key of one that an agent holds. It must be on the
        host where the module runs, with C(ssh-keygen).
      - A signed archive takes only signed commits. An archive that is not signed is signed from a pinned head on.
      - O(auditops.cloudscale.project_logs_archive_info#module:allowed_signers) checks such signatures.
    type: path
  allowed_signers:
    description:
      - Path to a file with the public keys of all who may add to the archive, in the format that C(ssh-keygen)
        describes under ALLOWED SIGNERS. The run builds only on commits that one of these keys signed.
      - Required where several keys sign the archive, and for a key that signs for the first time.
    type: path
extends_documentation_fragment:
  - auditops.cloudscale.connection
  - auditops.cloudscale.attributes
attributes:
  check_mode:
    details: Reads what is new and tells what would be added; writes and signs nothing.
  diff_mode:
    support: none
seealso:
  - module: auditops.cloudscale.project_logs_archive_info
"""

EXAMPLES = r"""
- name: Bring the archive up to date
  auditops.cloudscale.project_logs_archive:
    path: /var/lib/audit/shop
    project: shop
  register: archive

- name: Create a directory for heads where nobody who can change the archive can change them
  ansible.builtin.file:
    path: heads
    state: directory
    mode: "0750"
  delegate_to: localhost

- name: Note the head there
  ansible.builtin.copy:
    content: "{{ archive.head | to_json }}"
    dest: heads/shop.json
    mode: "0640"
  delegate_to: localhost

- name: Create a key for signatures
  ansible.builtin.command:
    cmd: ssh-keygen -q -t ed25519 -N '' -f /etc/audit/signing-key
    creates: /etc/audit/signing-key

- name: Keep an archive that is signed
  auditops.cloudscale.project_logs_archive:
    path: /var/lib/audit/signed
    sign_key: /etc/audit/signing-key
"""

RETURN = r"""
added:
  description: Number of entries that this run added.
  returned: success
  type: int
commits_added:
  description: Number of commits that this run made.
  returned: success
  type: int
project:
  description: The project whose log the archive holds.
  returned: success
  type: dict
  contains:
    name:
      description: The label of the archive; empty if it has none.
      type: str
    uuid:
      description: UUID of the project; null until an entry showed it.
      type: str
path:
  description: Path or address of the archive.
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
  description: Time of the last verification that found nothing; null if it is not known.
  returned: success
  type: str
head:
  description: The newest commit. Kept elsewhere, it later shows whether the archive was cut.
  returned: success
  type: dict
  contains:
    archive_id:
      description: Random name of the archive, from its first commit.
      type: str
    sequence:
      description: The number of the commit.
      type: int
    sha256:
      description: The SHA-256 of the commit's bytes, in hexadecimal.
      type: str
timestamp:
  description: Always null. The command C(cloudscale-audit collect) makes time stamps.
  returned: success
  type: dict
covered_from:
  description: The beginning of the time that the archive covers; what was pruned is before it.
  returned: success
  type: str
pruned_until:
  description: The midnight before which all days were let go of by C(prune); null if none were.
  returned: success
  type: str
covered_until:
  description: The end of the time that the archive covers, by the provider's clock.
  returned: success
  type: str
retention_deadline:
  description: When the provider begins to delete entries that are not in the archive, if no later run succeeds.
  returned: success
  type: str
gaps:
  description: Spans of time that this run found lost, with RV(ignore:from), RV(ignore:to) and RV(ignore:why).
  returned: success
  type: list
  elements: dict
state:
  description: >-
    V(new) (no commit yet), V(current), V(backlog) (there is more to read), V(stale) (not read for a day) or V(expired)
    (the provider may have deleted entries meanwhile).
  returned: success
  type: str
failure:
  description: What went wrong, for programs; null on success.
  returned: always
  type: dict
  contains:
    code:
      description: >-
        A stable name, one of V(invalid_input), V(missing_dependency), V(unauthorized), V(forbidden),
        V(request_rejected), V(cursor_rejected), V(unreachable), V(certificate), V(invalid_response),
        V(service_unavailable), V(untrusted_url), V(pagination_loop), V(storage), V(archive_damaged),
        V(project_mismatch).
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
        # The name of a file, not a secret.
        "sign_key": {"type": "path", "no_log": False},
    }


def run_context(module, store):
    """The context of the run; with a key, a pin is kept by default."""
    given = module.params
    key, signers = given["sign_key"], given["allowed_signers"]
    pin = HeadPin(given["pin"]) if given["pin"] else DefaultPin(str(store), module.warn) if key else None
    return RunContext(
        pin=pin,
        sign_key=SigningKey(key) if key else None,
        allowed_signers=AllowedSigners(signers) if signers else None,
        dry_run=module.check_mode,
        warn=module.warn,
    )


def run(module):
    given = module.params
    connection = Connection.from_mapping(given)
    span = Range.from_mapping({"start": given["start"]}, utc_now())
    settings = CollectSettings(project=given["project"] or "", start=span.start)
    store = open_store(given["path"])
    with Api(connection) as api:
        done = collect(store, api, settings, run_context(module, store))
    for warning in span.warnings:
        module.warn(warning)
    # A heartbeat only says that nothing happened.
    return {**done.to_json(), "changed": bool(done.added or done.gaps)}


def main():
    module = CloudscaleModule(argument_spec=argument_spec(), supports_check_mode=True)
    with module.report_errors():
        result = run(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
