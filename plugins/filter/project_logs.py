# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.rows import row


def project_logs_rows(entries):
    if not isinstance(entries, (list, tuple)) or not all(isinstance(entry, dict) for entry in entries):
        raise AnsibleFilterError("project_logs_rows takes a list of entries, as project_logs_info returns it.")
    return [row(entry) for entry in entries]


class FilterModule:
    def filters(self):
        return {"project_logs_rows": project_logs_rows}
