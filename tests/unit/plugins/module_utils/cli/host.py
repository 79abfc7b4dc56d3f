# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host that runs the command cloudscale-audit, as a process of its own, for tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.collector import collect
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.run_context import RunContext
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Connection
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.cli.preloaded import run_command

COMMAND = Path(version.__file__).parents[2] / "bin/cloudscale-audit"


NO_REQUESTS = "import sys; sys.modules['requests'] = None; sys.argv[:] = sys.argv[1:]; import runpy; "


class Host:
    """Runs the command with the environment of a service."""

    def __init__(self, directory: Path, simulator: Simulator) -> None:
        self.directory = directory
        self.archive = str(directory / "archive")
        self.environment = {
            "PATH": os.defpath,
            "HOME": str(directory),
            "CLOUDSCALE_API_URL": simulator.url,
            "CLOUDSCALE_API_TOKEN": simulator.project("main").token,
        }

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = {name: value for name, value in {**self.environment, **environment}.items() if value}
        if any(name.startswith(("PYTHON", "LC_")) for name in environment):
            return self._call([sys.executable, str(COMMAND), *arguments], environment)
        return run_command(list(arguments), variables, self.directory)

    def run_without_requests(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        code = NO_REQUESTS + f"runpy.run_path({str(COMMAND)!r}, run_name='__main__')"
        return self._call([sys.executable, "-c", code, "cloudscale-audit", *arguments], {"CLOUDSCALE_API_URL": ""})

    def collect_at(self, simulator: Simulator, archive: str, days: float) -> None:
        """A collection run so many days from now, by both clocks."""
        simulator.set(clock_offset=timedelta(days=days))
        context = RunContext(now=lambda: datetime.now(timezone.utc) + timedelta(days=days))
        connection = Connection(api_token=simulator.project("main").token, api_url=simulator.url)
        with Api(connection) as api:
            collect(LocalStore(archive), api, context=context)
        simulator.set(clock_offset=timedelta(0))

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)

    def _call(self, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        variables = {name: value for name, value in {**self.environment, **environment}.items() if value}
        return subprocess.run(
            command, env=variables, cwd=self.directory, capture_output=True, text=True, timeout=60, check=False
        )
