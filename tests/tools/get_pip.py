# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stands where ansible-test keeps the get-pip script it would download: puts pip into the venv it is run by.

sanity.py copies it there; dev.py has uv on PATH.
"""

from __future__ import annotations

import subprocess
import sys

packages = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
sys.exit(subprocess.call(["uv", "pip", "install", "--quiet", "--system-certs", "--python", sys.executable, *packages]))
