# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said in two places is the same in both."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import get_docstring
from ansible_collections.auditops.cloudscale.plugins.module_utils import errors, version

ROOT = Path(version.__file__).parents[2]
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))


def documented(kind: str, name: str) -> Any:
    path = ROOT / "plugins" / kind / f"{name}.py"
    return get_docstring(str(path), fragment_loader, collection_name="auditops.cloudscale")[0]


def test_the_version_has_one_source() -> None:
    assert yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"] == version.VERSION
    assert version.USER_AGENT.endswith(f"/{version.VERSION}")


def test_the_action_group_holds_every_module() -> None:
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())
    assert sorted(runtime["action_groups"]["cloudscale"]) == MODULES


@pytest.mark.parametrize("name", MODULES)
def test_every_module_takes_the_options_of_the_action_group(name: str) -> None:
    options = importlib.import_module("ansible_collections.auditops.cloudscale.plugins.module_utils.options")
    assert set(options.connection_spec()) <= set(documented("modules", name)["options"])


def test_lookup_and_module_are_twins() -> None:
    module = documented("modules", "project_logs_info")["options"]
    lookup = documented("lookup", "project_logs")["options"]
    of_files = {
        "dest",
        "mode",
        "owner",
        "group",
        "seuser",
        "serole",
        "setype",
        "selevel",
        "unsafe_writes",
        "attributes",
    }
    assert set(module) - set(lookup) == of_files
    assert set(lookup) <= set(module)
    for name, option in lookup.items():
        assert {key: option.get(key) for key in ("type", "default", "aliases")} == {
            key: module[name].get(key) for key in ("type", "default", "aliases")
        }


@pytest.mark.parametrize(
    ("module", "root"), [("project_logs_info", errors.AuditError), ("project_logs_assert", errors.NotAsExpected)]
)
def test_every_code_of_a_failure_is_documented(module: str, root: type[errors.AuditError]) -> None:
    path = ROOT / f"plugins/modules/{module}.py"
    told = get_docstring(str(path), fragment_loader, collection_name="auditops.cloudscale")[2]
    text = yaml.safe_load(told)["failure"]["contains"]["code"]["description"] if isinstance(told, str) else str(told)
    of_others = {errors.Stopped, errors.NotAsExpected, errors.ArchiveDamaged, errors.IdentityChanged}
    codes = {kind.code for kind in root.__subclasses__() if kind not in of_others}
    assert {code for code in codes if f"V({code})" not in text} == set()
