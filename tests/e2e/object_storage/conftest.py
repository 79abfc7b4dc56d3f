# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.auditops.cloudscale.tests.storage import fixtures
from ansible_collections.auditops.cloudscale.tests.unit.conftest import clock, server, world
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_attacks import archive

# fixtures registers the contract of stores for assertion rewriting.
__all__ = ["archive", "clock", "fixtures", "server", "world"]
