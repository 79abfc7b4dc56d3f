# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lets Ansible find collections before any test imports this one: what Python alone imported, Ansible cannot load."""

from __future__ import annotations

from contextlib import suppress

# Without Ansible, as in the tests of the core alone, Python's own import is all there is.
with suppress(ImportError):
    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader([])
