# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  concurrency:
    description:
      - How many requests may be under way at once, from 1 to 16.
      - A large range is read as windows of time side by side; entries then come window by window. A small range, and a
        read on from a cursor, is read one page after the other.
      - When the API asks for fewer requests, fewer are sent.
    type: int
    default: 4
"""
