# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters for the output of the command on archiver hosts: the doctor's checks, and heads for a ledger."""

from __future__ import annotations

import json

from ansible.errors import AnsibleFilterError
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.heads import parse_heads
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.ledger import extend
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import InvalidInput


def archiver_failures(result):
    """One sentence per project that fails the doctor's checks; ``result`` is that of the task that ran the doctor."""
    if not result.get("rc"):
        return []
    try:
        archives = json.loads(result["stdout"])["archives"]
    except (ValueError, LookupError, TypeError):
        error = str(result.get("stderr") or "").strip()
        return [error or f"The doctor ended with status {result['rc']} and no output; see the journal of the host."]
    sentences = []
    for archive in archives:
        failed = [f"{check['name']}: {check['detail']}" for check in archive.get("checks", []) if check["failed"]]
        if archive.get("exit_status"):
            sentences.append(f"{archive['name']} cannot be collected: {'; '.join(failed) or archive.get('msg')}")
    return sentences


def archiver_ledger(text, outputs, noted_at, superseded=None):
    """The ledger after a check of the archivers: its new text, the added lines, and the refused archives."""
    reasons = {str(key): str(value) for key, value in (superseded or {}).items()}
    try:
        noted = parse_heads(str(text).encode().split(b"\n"), "the ledger")
    except InvalidInput as error:
        raise AnsibleFilterError(error.message) from error
    archives = {str(host): _parse_archives(output) for host, output in outputs.items()}
    continuations = {
        host: [archive["continuation"] for archive in found if archive.get("continuation")]
        for host, found in archives.items()
    }
    # An archive without a continuation could be any archive that was noted before.
    is_complete = all(
        archive.get("continuation") or archive.get("state") == "new" for found in archives.values() for archive in found
    )
    extension = extend(noted, continuations, noted_at, reasons, is_complete and all(archives.values()))
    lines = [line for line in str(text).split("\n") if line.strip()] + extension.lines
    return {
        "text": "".join(f"{line}\n" for line in lines),
        "lines": extension.lines,
        "refused": extension.refused,
    }


def _parse_archives(output):
    """The archives in the output of a host; empty if it cannot be parsed."""
    try:
        archives = json.loads(str(output))["archives"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []
    return [archive for archive in archives if isinstance(archive, dict)] if isinstance(archives, list) else []


class FilterModule:
    def filters(self):
        return {"archiver_failures": archiver_failures, "archiver_ledger": archiver_ledger}
