# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: project_logs
short_description: Query the audit log of a cloudscale.ch project
version_added: 1.0.0
description:
  - Reads the complete log of a project between two times, or from the position where an earlier read ended.
  - Returns a flat list of the entries, unchanged and in the order of the API. Accepts no positional terms.
  - Does the same as the module M(auditops.cloudscale.project_logs_info), for use in conditions and loops.
author:
  - auditops.cloudscale contributors (@auditops)
extends_documentation_fragment:
  - auditops.cloudscale.connection
  - auditops.cloudscale.connection.plugins
  - auditops.cloudscale.connection.variables
  - auditops.cloudscale.range
  - auditops.cloudscale.selection
  - auditops.cloudscale.concurrency
requirements:
  - requests
notes:
  - Use C(query()), which always returns a list. C(lookup()) returns a dictionary if there is exactly one entry, and a
    list otherwise.
  - A lookup reads the log each time its expression is evaluated. Store the value with M(ansible.builtin.set_fact) to
    use it twice.
seealso:
  - module: auditops.cloudscale.project_logs_info
  - ref: ansible_collections.auditops.cloudscale.docsite.lookup_or_module_guide
    description: When to use the lookup and when to use the module.
"""

EXAMPLES = r"""
- name: Verify that nobody deleted a server today
  ansible.builtin.assert:
    that: query('auditops.cloudscale.project_logs', start='-24h', actions=['server_delete']) | length == 0

- name: Wait until the creation of a server is in the log
  ansible.builtin.debug:
    msg: The log has the creation of the server
  until: >-
    query('auditops.cloudscale.project_logs', start='-15m', actions=['server_create'],
          message_pattern=('hello' | regex_escape)) | length > 0
  retries: 5
  delay: 2

- name: Show the last five changes
  ansible.builtin.debug:
    msg: "{{ item.timestamp }} {{ item.action }}: {{ item.message }}"
  loop: "{{ query('auditops.cloudscale.project_logs', start='-7d', limit=5) }}"
  loop_control:
    label: "{{ item.action }}"
"""

RETURN = r"""
_list:
  description: Entries, unchanged and in the order of the API.
  type: list
  elements: dict
"""

from datetime import date

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import AuditError, InvalidInput
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import to_builtin_entry
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.query import Query


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        # YAML parses an unquoted time as an object, which Ansible does not accept as a text.
        options = {name: value.isoformat() if isinstance(value, date) else value for name, value in kwargs.items()}
        self.set_options(var_options=self._template_options(variables or {}), direct=options)
        try:
            self._reject_unknown_options(kwargs)
            return self._entries(terms)
        except AuditError as error:
            # From None, because ansible-core 2.19 and later append the text of the cause to the message.
            raise AnsibleLookupError(error.message) from None

    def _template_options(self, variables):
        """The variables that are options, with evaluated templates. Ansible leaves the evaluation to the lookup."""
        names = {
            entry["name"] for definition in self.option_definitions.values() for entry in definition.get("vars", ())
        }
        found = {name: variables[name] for name in names & set(variables)}
        return self._templar.template(found) if self._templar and found else found

    def _reject_unknown_options(self, names):
        """Fail on unknown keywords, which Ansible ignores: a misspelled condition would select all entries."""
        definitions = self.option_definitions
        known = set(definitions).union(*(definition.get("aliases", ()) for definition in definitions.values()))
        unknown = sorted(set(names) - known)
        if unknown:
            raise InvalidInput(
                f"The lookup has no option {', '.join(unknown)}. Its options are {', '.join(sorted(known))}."
            )

    def _entries(self, terms):
        if terms:
            raise InvalidInput(
                f"The lookup takes no positional terms, but got {terms!r}; name the option, as in start=."
            )
        query = Query(self.get_options())
        entries = [to_builtin_entry(entry) for entry in query.entries()]
        for warning in query.warnings:
            Display().warning(warning)
        return entries
