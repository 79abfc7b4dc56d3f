# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples of project_logs_assert, which change a server with the provider's own collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import get_docstring
from ansible_collections.auditops.cloudscale.plugins.modules import project_logs_assert

if TYPE_CHECKING:
    from .conftest import Controller

WEB = {"name": "web-1", "flavor": "flex-4-2", "image": "debian-12", "use_public_network": True}


def test_the_examples_of_the_module_run_as_printed(controller: Controller) -> None:
    examples = get_docstring(project_logs_assert.__file__, fragment_loader, collection_name="auditops.cloudscale")[1]
    tasks: list[dict[str, Any]] = [{"cloudscale_ch.cloud.server": WEB}, *yaml.safe_load(examples)]
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "tasks": tasks,
    }
    book = controller.directory / "examples.yml"
    book.write_text(yaml.safe_dump([play], sort_keys=False))
    done = controller.playbook(str(book))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"ok={len(tasks)}" in done.stdout
