# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stages of the checks as sessions of nox: ``nox -s lint`` is ``python3 dev.py test lint``."""

from __future__ import annotations

import sys
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent))

from tests.tools.checks import stages

nox.options.default_venv_backend = "none"  # dev.py makes its own environments


def _add(stage: str) -> None:
    @nox.session(name=stage)
    def run(session: nox.Session) -> None:
        """Run the checks of one stage."""
        session.run("python3", "dev.py", "test", stage, external=True)


for _stage in stages():
    _add(_stage)
