# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters of the role archiver for the keys with which hosts sign commits."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import NAMESPACE

# A run that started with a replaced key has ended by then.
_GRACE_PERIOD = timedelta(days=2)


def archiver_signers(output, hosts, hostvars, extra_lines=(), now=None):
    """The lines of allowed_signers for a host: its present lines, the keys of the hosts, and ``extra_lines``.

    ``output`` has the lines that files/keys.sh printed on this host; the output of other hosts is in ``hostvars``. Keys
    are never removed: the key of a host that signs with another key gets an end date. An extra line replaces another
    line for the same key.
    """
    lines = {}
    for line in output:
        if line.startswith("signer ") and _public_key(line):
            signer = line.removeprefix("signer ")
            lines[_public_key(signer)] = signer.strip()
    signing_keys, replaced_keys = {}, set()
    for host in sorted(hosts):
        keys = _host_keys(_key_output(host, hostvars))
        for key in keys.values():
            lines.setdefault(key, f'{host} namespaces="{NAMESPACE}" {key}')
        if keys:
            signing_keys[host] = keys.get("next", keys.get("public"))
        if "next" in keys:
            replaced_keys.add(keys["public"])
    end_date = (_parse_time(now) + _GRACE_PERIOD).strftime("%Y%m%d")
    for key, line in lines.items():
        host = line.split(" ", 1)[0]
        is_old = key in replaced_keys or signing_keys.get(host, key) != key
        if is_old and "valid-before=" not in line:
            lines[key] = line.replace(" namespaces=", f' valid-before="{end_date}",namespaces=', 1)
    lines.update({_public_key(line): line.strip() for line in extra_lines if _public_key(line)})
    return [line for key, line in sorted(lines.items(), key=lambda item: (item[1].split(" ", 1)[0], item[0]))]


def archiver_hosts_missing_key(output, buckets, hosts, hostvars):
    """The hosts that share one of the ``buckets`` with this host and do not know its key yet."""
    accepted_keys = {_public_key(line) for line in output if line.startswith("signer ")}
    if set(_host_keys(output).values()) <= accepted_keys:
        return []
    return [
        host for host in hosts if {str(project.get("path")) for project in _projects(host, hostvars)} & set(buckets)
    ]


def _host_keys(output):
    """The keys of a host: ``public``, the present key, and ``next``, the key that replaces it."""
    return {line.split(" ", 1)[0]: _public_key(line) for line in output if line.startswith(("public ", "next "))}


def _key_output(host, hostvars):
    result = hostvars[host].get("archiver_keys") if host in hostvars else None
    return (result or {}).get("stdout_lines") or []


def _projects(host, hostvars):
    return (hostvars[host].get("archiver_projects") if host in hostvars else None) or []


def _parse_time(text):
    return datetime.fromisoformat(text) if text else datetime.now(timezone.utc)


def _public_key(line):
    """The type and the blob of the public key in a line; empty without a key."""
    found = re.search(r"(?:^|\s)((?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+)\s+([A-Za-z0-9+/=]{20,})", str(line))
    return " ".join(found.groups()) if found and not str(line).lstrip().startswith("#") else ""


class FilterModule:
    def filters(self):
        return {
            "archiver_hosts_missing_key": archiver_hosts_missing_key,
            "archiver_signers": archiver_signers,
        }
