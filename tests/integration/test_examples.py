# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example of the plugins' documentation and of the README runs, as it stands."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import get_docstring
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import find_head
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import SigningKey
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.collector import collect
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.heads import head_record
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.run_context import RunContext
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Connection
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.signer import Signer

if TYPE_CHECKING:
    from .conftest import Controller

ROOT = Path(version.__file__).parents[2]
ARCHIVES = "/var/lib/audit"
SIGNERS = "/etc/audit"
BUCKET_KEYS = {"s3_access_key": "name-of-key", "s3_secret_key": "secret-of-key"}
# In this order: what the archive's examples collect and note, those of its verification read.
DOCUMENTED = [
    "modules/project_logs_info.py",
    "modules/project_logs_archive.py",
    "modules/project_logs_archive_info.py",
    "modules/project_logs_detect.py",
    "modules/project_logs_report.py",
    "modules/project_logs_review.py",
    "lookup/project_logs.py",
    *(f"filter/{path.name}" for path in sorted((ROOT / "plugins/filter").glob("*.yml"))),
]

# What the role gives to its filters.
DEFAULTS = yaml.safe_load((ROOT / "roles/archiver/defaults/main.yml").read_text())
OF_THE_ROLE = {
    "archiver_projects": [{"name": "production", "token": "secret", "path": "s3://audit/production", **BUCKET_KEYS}],
    "archiver_settings": {name.removeprefix("archiver_"): value for name, value in DEFAULTS.items()},
    "archiver_keys": {"stdout_lines": ["public ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFirst"]},
    "result": {"stdout": ""},
    "archiver_doctor_result": {"rc": 3, "stdout": "", "stderr": "No route to host"},
}
# What a rulebook gives to the playbook, when nothing happened.
OF_THE_RULEBOOK = {"review_events": []}


def tasks_of(path: str) -> list[dict[str, Any]]:
    if path == "README.md":
        blocks = re.findall(r"^```yaml\n(.*?)^```", (ROOT / path).read_text(), re.MULTILINE | re.DOTALL)
        return [task for block in blocks for task in yaml.safe_load(block)]
    file = ROOT / "plugins" / path
    if file.suffix == ".yml":
        examples = yaml.safe_load(file.read_text())["EXAMPLES"]
    else:
        examples = get_docstring(str(file), fragment_loader, collection_name="auditops.cloudscale")[1]
    tasks: list[dict[str, Any]] = yaml.safe_load(examples)
    return tasks


@pytest.fixture(scope="module")
def project(simulator: Simulator) -> None:
    """Today the pipeline created a server, and nobody else did anything."""
    append = simulator.project("main").log.append
    append(action="server_delete", message="old", timestamp=datetime.now(timezone.utc) - timedelta(days=3))
    pipeline = {"api_token": {"uuid": "0a1b2c3d", "description": "ci deploy"}}
    append(action="server_create", message="Server 'hello' has been created", actor=pipeline)


def sign_archive(directory: Path, url: str, token: str) -> None:
    """As the collector's command does with a key, and as an auditor notes whose key that is."""
    key = directory / "signing-key"
    if not key.exists():
        Signer(directory, key.name)
    (directory / "allowed-signers").write_text(f"log1@example.com {Path(f'{key}.pub').read_text()}")
    with Api(Connection(api_token=token, api_url=url)) as api:
        collect(LocalStore(str(directory / "signed")), api, context=RunContext(sign_key=SigningKey(str(key))))


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("path", ["README.md", *DOCUMENTED])
def test_examples_run_as_printed(controller: Controller, simulator: Simulator, path: str) -> None:
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}", **OF_THE_ROLE, **OF_THE_RULEBOOK},
        "tasks": tasks_of(path),
    }
    book = controller.directory / "examples.yml"
    text = yaml.safe_dump([play], sort_keys=False)
    if f"{SIGNERS}/allowed-signers" in text:
        sign_archive(controller.directory, simulator.url, simulator.project("main").token)
    if f"{ARCHIVES}/heads.jsonl" in text:
        head = find_head(LocalStore(str(controller.directory / "shop")))
        assert head is not None, "an example before this one collects the archive"
        record = json.dumps(head_record(head, "2026-11-22T13:00:00Z"))
        (controller.directory / "heads.jsonl").write_text(record + "\n")
    # Only the places of archives and of who signs them differ: a test must not write there.
    book.write_text(text.replace(ARCHIVES, str(controller.directory)).replace(SIGNERS, str(controller.directory)))
    done = controller.playbook(str(book))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"ok={len(play['tasks'])}" in done.stdout
