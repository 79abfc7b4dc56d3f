# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said in two places is the same in both."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import get_docstring
from ansible_collections.auditops.cloudscale.plugins.module_utils import errors, version
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(version.__file__).parents[2]
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))


def documented(kind: str, name: str) -> Any:
    path = ROOT / "plugins" / kind / f"{name}.py"
    return get_docstring(str(path), fragment_loader, collection_name="auditops.cloudscale")[0]


def test_the_version_has_one_source() -> None:
    assert yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"] == version.VERSION
    assert version.USER_AGENT.endswith(f"/{version.VERSION}")


def test_the_oldest_libraries_that_are_allowed_are_those_that_are_tested() -> None:
    def lines(path: str) -> list[Requirement]:
        found = (line.strip() for line in (ROOT / path).read_text().splitlines())
        return [Requirement(line) for line in found if line and not line.startswith(("#", "-r"))]

    tested = {
        pin.name: str(pin.specifier).removeprefix("==")
        for name in ("boto-oldest", "report-oldest")
        for pin in lines(f"tests/requirements/{name}.in")
    }
    for allowed in [one for name in ("requirements", "reports", "buckets") for one in lines(f"meta/ee-{name}.txt")]:
        (bound,) = allowed.specifier
        assert (bound.operator, Version(tested[allowed.name])) == (">=", Version(bound.version)), allowed.name


def test_the_readme_has_the_sections_that_certification_wants() -> None:
    wanted = ["Description", "Requirements", "Installation", "Use Cases", "Testing", "Contributing", "Support"]
    wanted += ["Release Notes", "Related Information", "License"]
    assert re.findall(r"^## (.+)$", (ROOT / "README.md").read_text(), re.MULTILINE) == wanted


def test_the_action_group_holds_every_module() -> None:
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())
    assert sorted(runtime["action_groups"]["cloudscale"]) == MODULES


@pytest.mark.parametrize("name", MODULES)
def test_every_module_takes_the_options_of_the_action_group(name: str) -> None:
    options = importlib.import_module("ansible_collections.auditops.cloudscale.plugins.module_utils.ansible_module")
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
        assert {key: option.get(key) for key in ("type", "default")} == {
            key: module[name].get(key) for key in ("type", "default")
        }


@pytest.mark.parametrize("name", MODULES)
def test_the_documented_codes_of_failures_exist(name: str) -> None:
    path = ROOT / "plugins/modules" / f"{name}.py"
    returns = get_docstring(str(path), fragment_loader, collection_name="auditops.cloudscale")[2]
    told = yaml.safe_load(returns) if isinstance(returns, str) else returns
    codes = set(re.findall(r"V\((\w+)\)", str(told["failure"]["contains"]["code"]["description"])))
    assert codes
    roots = (errors.AuditError, errors.NotAsExpected)
    assert codes <= {kind.code for root in roots for kind in root.__subclasses__()}


def test_the_callback_lists_no_variable_because_it_reads_none() -> None:
    options = documented("callback", "project_logs_trail")["options"]
    assert [name for name, option in options.items() if "vars" in option] == []
    assert all(
        "vars" in option for name, option in documented("lookup", "project_logs")["options"].items() if "env" in option
    )


@pytest.mark.parametrize("name", MODULES)
def test_a_token_is_documented_as_required_only_where_it_is(name: str) -> None:
    told = str(documented("modules", name)["options"]["api_token"]["description"])
    conditions = {
        "project_logs_archive_info": "O(reconcile=true)",
        "project_logs_report": "unless",
        "project_logs_detect": "unless",
    }
    assert conditions.get(name, "Required where the API is read") in told
