# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters for entries of the audit log, and for variables of the playbooks."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import InvalidInput
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log import schemas
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.rows import row
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.summary import Summary
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.table import table
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import describe_unknown
from ansible_collections.auditops.cloudscale.plugins.module_utils.verification.trail import Changes
from ansible_collections.auditops.cloudscale.plugins.module_utils.working_hours import time_zone as parse_time_zone


def project_logs_rows(entries):
    return [row(entry) for entry in _check_entries(entries, "project_logs_rows")]


def project_logs_table(entries, time_zone="UTC"):
    try:
        zone = parse_time_zone(time_zone, "time_zone")
    except InvalidInput as error:
        raise AnsibleFilterError(f"project_logs_table: {error.message}") from None
    return table(_check_entries(entries, "project_logs_table"), zone)


def project_logs_by(entries, own_actors):
    if not _is_list_of_texts(own_actors):
        raise AnsibleFilterError(
            "project_logs_by requires a list of actors, such as ['ci deploy', 'anna@example.com']."
        )
    return Changes.group(_check_entries(entries, "project_logs_by"), own_actors).as_dict()


def project_logs_summary(entries):
    summary = Summary()
    for entry in _check_entries(entries, "project_logs_summary"):
        summary.add(entry)
    return summary.as_dict()


def to_ocsf(entries):
    return [schemas.to_ocsf(entry) for entry in _check_entries(entries, "to_ocsf")]


def to_ecs(entries):
    return [schemas.to_ecs(entry) for entry in _check_entries(entries, "to_ecs")]


def comma_list(value):
    if value is None:
        return []
    if isinstance(value, str):
        return [part for part in map(str.strip, value.split(",")) if part]
    if not _is_list_of_texts(value):
        raise AnsibleFilterError("comma_list requires a text with commas, or a list of texts.")
    return list(value)


def unknown_variables(names, known):
    if not _is_list_of_texts(names) or not _is_list_of_texts(known):
        raise AnsibleFilterError("unknown_variables requires two lists of names.")
    return describe_unknown(names, known)


def _is_list_of_texts(value):
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


def _check_entries(entries, name):
    if not isinstance(entries, (list, tuple)) or not all(isinstance(entry, dict) for entry in entries):
        raise AnsibleFilterError(f"{name} requires a list of entries, as project_logs_info returns it.")
    return entries


class FilterModule:
    def filters(self):
        return {
            "comma_list": comma_list,
            "project_logs_by": project_logs_by,
            "project_logs_rows": project_logs_rows,
            "project_logs_summary": project_logs_summary,
            "project_logs_table": project_logs_table,
            "to_ecs": to_ecs,
            "to_ocsf": to_ocsf,
            "unknown_variables": unknown_variables,
        }
