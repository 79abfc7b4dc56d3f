# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection's version, for code that cannot read galaxy.yml; a test checks that both are equal."""

from __future__ import annotations

VERSION = "1.0.0"
USER_AGENT = f"auditops.cloudscale/{VERSION}"
