# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reference pages match the playbooks, the event source and the simulator."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.tests.simulator.cloud import KINDS
from ansible_collections.auditops.cloudscale.tests.tools import pages

ROOT = Path(version.__file__).parents[2]
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
PREFIXES = {
    "audit_report": "audit_report|cloudscale",
    "check_archivers": "check_archivers",
    "deploy_archiver": "archiver",
    "review_acknowledge": "review",
    "review_open": "review",
    "review_remind": "review",
    "verify_change": "verify_change|cloudscale",
    "who_changed": "who_changed|cloudscale",
}


def used_variables(path: Path) -> set[str]:
    """The variables that a playbook reads and does not define itself."""
    text = re.sub(r"(?m)^ *#.*$", "", path.read_text())
    text = re.sub(r"(?m)^ *(?:- )?name:.*$", "", text)
    used = set(re.findall(rf"(?<![\w.])(?:{PREFIXES[path.stem]})_\w+", text))
    return used - set(re.findall(r"(?m)^ *(?:register: (\w+))$", text)) - set(re.findall(r"(?m)^ *(\w+):", text))


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_the_header_of_a_playbook_lists_its_variables(path: Path) -> None:
    listed = [name for names, _text in pages.playbook_header(path).variables for name in names]
    assert sorted(listed) == sorted(used_variables(path))


def test_the_page_of_the_playbooks_is_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    """If this fails: python3 dev.py run -- python tests/tools/pages.py."""
    monkeypatch.chdir(ROOT)
    assert pages.PLAYBOOKS.read_text() == pages.playbooks_page()


def test_the_page_of_the_event_source_is_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    """If this fails: python3 dev.py run -- python tests/tools/pages.py."""
    monkeypatch.chdir(ROOT)
    assert pages.EVENT_SOURCE.read_text() == pages.event_source_page()
    assert pages.SCHEMA.read_text() == pages.event_source_schema()


def test_the_page_of_actions_lists_what_the_simulator_writes() -> None:
    page = (
        (ROOT / "docs/docsite/rst/actions_reference.rst").read_text().split("Names that the provider has published")[1]
    )
    listed = set(re.findall(r"``([a-z_]+)``", page))
    source = (ROOT / "tests/simulator/cloud.py").read_text()
    written = set(re.findall(r'_write\(caller, "(\w+)"', source) + re.findall(r'": \("(server_\w+)"', source))
    renamed = [kind for kind in KINDS.values() if kind.name in ("name", "display_name")]
    written |= {f"{kind.action}_{verb}" for kind in KINDS.values() for verb in ("create", "update", "delete")}
    written |= {f"{kind.action}_rename" for kind in renamed}
    # The provider has published this name; the simulator pauses no server.
    assert listed == written | {"server_pause"}
