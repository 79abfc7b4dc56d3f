# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  actions:
    description:
      - Select only entries with one of these actions, such as V(server_create) or V(server_*).
      - V(*) matches any characters and V(?) matches one character; all other characters match themselves.
      - A list with one empty text, as from an empty field of a survey, counts as not set. An empty text in a longer
        list is an error. The same applies to the other lists.
      - Action names are not a stable part of the API.
    type: list
    elements: str
  actors:
    description:
      - Select only changes by one of these actors.
      - Name a user by e-mail address, a token by its description or uuid, automated tasks as V(system), and provider
        staff as V(admin).
      - V(*) and V(?) are wildcards, as in O(actions). The case of e-mail addresses is ignored.
    type: list
    elements: str
  ip_networks:
    description: >-
      Select only changes from one of these networks or addresses, such as V(192.0.2.0/24) or V(2001:db8::/32).
    type: list
    elements: str
  message_pattern:
    description:
      - Select only entries whose message contains a match of this regular expression.
    type: str
  resources:
    description:
      - Select only entries whose message names one of these resources, such as V(web1) for C(Server 'web1' has been
        created). Both names of a rename match, and so do both resources of C(Volume 'data' has been attached to server
        'web1').
      - V(*) and V(?) are wildcards, as in O(actions). Names are case-sensitive.
      - Names are parsed from the message. The wording of messages is not a stable part of the API, so the result is
        best effort. If in doubt, use O(message_pattern).
    type: list
    elements: str
  limit:
    description:
      - Maximum number of matches to return. The newest matches are kept. Does not limit how much is read.
    type: int
notes:
  - Entries are selected after the read. The selection does not change where a later read continues.
"""
