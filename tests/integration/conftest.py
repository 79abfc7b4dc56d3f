# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.storage.fixtures import buckets, proxy, seaweed

__all__ = ["Controller", "Results", "buckets", "controller", "proxy", "seaweed", "simulator"]

BIN = Path(sys.executable).parent


class Results(dict[str, Any]):
    """The result of each case by its name, and what the run printed."""

    output = ""


class Controller:
    """Runs real playbooks from a directory of its own, with an environment that holds nothing of the tester's."""

    def __init__(self, directory: Path, simulator: Simulator) -> None:
        self.directory = directory
        self.environment = {
            "PATH": f"{BIN}{os.pathsep}{os.defpath}",
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_PIPELINING": "true",
            "CLOUDSCALE_API_URL": simulator.url,
            "CLOUDSCALE_API_TOKEN": simulator.project("main").token,
        }

    def playbook(self, *arguments: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "ansible-playbook", *arguments],
            cwd=self.directory,
            env={name: value for name, value in {**self.environment, **environment}.items() if value is not None},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def run(self, cases: Mapping[str, Any], *arguments: str, **environment: str | None) -> Results:
        """Run each case, a task, in one play whatever becomes of the others, and return their registered results.

        A variable of the environment that is None is not set.
        """
        names = list(cases)
        tasks = [
            {"name": name, "register": f"case_{n}", "ignore_errors": True, **cases[name]}
            for n, name in enumerate(names)
        ]
        book, outcome = self.directory / "cases.yml", self.directory / "outcome.json"
        tasks.append(_write(outcome, "[%s]" % ", ".join(f"case_{n}" for n in range(len(names)))))
        play = {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
            "tasks": tasks,
        }
        book.write_text(json.dumps([play]))
        outcome.unlink(missing_ok=True)
        done = self.playbook(str(book), *arguments, **environment)
        if not outcome.exists():
            pytest.fail(f"the playbook did not get to its end:\n{done.stdout}\n{done.stderr}")
        results = Results(zip(names, json.loads(outcome.read_text()), strict=True))
        results.output = done.stdout + done.stderr
        return results


def _write(path: Path, expression: str) -> Any:
    content = "{{ %s | to_json }}" % expression
    return {
        "name": "Hand over the results",
        "ansible.builtin.copy": {"content": content, "dest": str(path), "mode": "0600"},
        "check_mode": False,
        "diff": False,
        "no_log": True,
    }


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(page_size=3) as running:
        yield running


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory, simulator: Simulator) -> Controller:
    return Controller(tmp_path_factory.mktemp("controller"), simulator)
