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
      Set the options of the connection for all modules with C(group/auditops.cloudscale.cloudscale) in
      C(module_defaults).
    support: full
    membership: [auditops.cloudscale.cloudscale]
  check_mode:
    description: Runs in check mode and reports what it would change.
    support: full
  diff_mode:
    description: Returns the differences between before and after.
  platform:
    description: Platform of the host that runs the module.
    platforms: posix
    support: full
requirements:
  - python >= 3.9
"""
