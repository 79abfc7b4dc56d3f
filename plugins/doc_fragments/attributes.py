# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  action_group:
    description: >-
      With C(group/auditops.cloudscale.cloudscale) in C(module_defaults), the options of the connection are given to all
      modules at once.
    support: full
    membership: [auditops.cloudscale.cloudscale]
  check_mode:
    description: Can run in check mode and tell truthfully what it would change.
    support: full
  diff_mode:
    description: Returns the difference that a change makes.
  platform:
    description: Where the module runs; its only needs are Python 3.9 or newer and the library requests.
    platforms: posix
    support: full
requirements:
  - python >= 3.9
  - requests
"""
