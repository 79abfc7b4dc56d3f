# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands on the page about action names print the names in a log and in an archive."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

if TYPE_CHECKING:
    from .conftest import Controller

ROOT = Path(version.__file__).parents[2]
PAGE = (ROOT / "docs/docsite/rst/actions_reference.rst").read_text()


def test_commands_list_the_actions_of_a_log_and_of_an_archive(
    controller: Controller, simulator: Simulator, tmp_path: Path
) -> None:
    for number in range(3):
        simulator.project("main").log.append("server_create", f"Server 'web{number}' has been created")
    simulator.project("main").log.append("volume_delete", "Volume 'data' has been deleted")
    archive = str(tmp_path / "archive")
    command = tmp_path / "cloudscale-audit"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/bin/cloudscale-audit" "$@"\n')
    command.chmod(0o755)
    environment = {**controller.environment, "PATH": f"{tmp_path}{os.pathsep}{controller.environment['PATH']}"}
    blocks = re.findall(r"^\.\. code-block:: shell\n\n((?:    .*\n|\n)+)", PAGE, re.MULTILINE)
    of_log, of_archive = (dedent(block).replace("/var/lib/audit/shop", archive) for block in blocks)

    def run(command: str) -> str:
        done = subprocess.run(
            ["sh", "-euc", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert '"server_create": 3' in run(of_log)
    run(f"cloudscale-audit collect {archive}")
    counted = [line.split() for line in run(of_archive).splitlines()]
    assert counted == [["3", '"action":"server_create"'], ["1", '"action":"volume_delete"']]
