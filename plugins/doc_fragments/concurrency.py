# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  concurrency:
    description:
      - Maximum number of requests at once, from 1 to 16.
      - A large range is read as several windows side by side. The result is the same as that of a read page by page, in
        the same order, and takes about a tenth more requests. A small range, and a read from a cursor, is read page by
        page.
      - More windows need more memory. At the default of 4 it is about 60 MB, at 16 about 120 MB, whatever the size of
        the log.
      - If the API asks for fewer requests, fewer are sent at once.
    type: int
    default: 4
"""
