# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  concurrency:
    description:
      - Maximum number of simultaneous requests, from 1 to 16.
      - A large range is split into windows that are read in parallel. The result and its order are the same as when the
        range is read page by page. The parallel read sends about 10% more requests. Small ranges, and reads from a
        cursor, are read page by page.
      - More requests need more memory, about 60 MB with the default of 4, and about 120 MB with 16, independent of the
        size of the log.
      - If the API limits the rate of requests, fewer requests are sent at the same time.
    type: int
    default: 4
"""
