# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The flags of the command for the options of modules."""

from __future__ import annotations

_SPECIAL_FLAGS = {
    "api_token": "--token-file",
    "actions": "--action",
    "actors": "--actor",
    "ip_networks": "--ip-network",
    "resources": "--resource",
}


def flag(option: str) -> str:
    """The flag of an option of modules."""
    return _SPECIAL_FLAGS.get(option) or f"--{option.replace('_', '-')}"
