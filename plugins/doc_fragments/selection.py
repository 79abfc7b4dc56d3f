# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  actions:
    description:
      - Only entries with one of these actions, such as V(server_create) or V(server_*).
      - V(*) stands for any characters and V(?) for one; all other characters mean themselves.
      - An empty text alone, as an empty field of a survey gives it, means that the option is not set. Among other items
        an empty one is refused. The same holds for the other lists.
      - The names of actions are no stable part of the API.
    type: list
    elements: str
  actors:
    description:
      - Only changes made by one of these.
      - A user is named by e-mail address, a token by its description or uuid, automated tasks are V(system), the
        provider's staff are V(admin).
      - V(*) and V(?) are special, as in O(actions). E-mail addresses are compared without case.
    type: list
    elements: str
  ip_networks:
    description: Only changes made from one of these networks or addresses, such as V(192.0.2.0/24) or V(2001:db8::/32).
    type: list
    elements: str
  message_pattern:
    description:
      - Only entries whose message matches this regular expression; it is searched for anywhere in the message.
    type: str
  resources:
    description:
      - Only entries whose message names one of these resources, such as V(web1) for C(Server 'web1' has been created).
        Both names of a rename match, and so do both resources of C(Volume 'data' has been attached to server 'web1').
      - V(*) and V(?) are special, as in O(actions). Names are compared with case.
      - The name is read from the message. The wording of messages is not a stable part of the API, so this is best
        effort. If in doubt, use O(message_pattern).
    type: list
    elements: str
    version_added: 1.0.0
  limit:
    description:
      - Only the newest matches, so many of them. It bounds the result, never what is read.
    type: int
notes:
  - Entries are selected after they were read; what is selected never changes where a later read goes on.
"""
