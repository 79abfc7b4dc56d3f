# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for cloudscale.ch's API: see README.md in this directory."""

from __future__ import annotations

from .faults import Fault
from .history import bulk, history
from .log import ProjectLog
from .server import Simulator
from .state import Project, Recorded, Settings

__all__ = ["Fault", "Project", "ProjectLog", "Recorded", "Settings", "Simulator", "bulk", "history"]
