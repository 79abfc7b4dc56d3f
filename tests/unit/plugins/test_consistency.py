# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts that are stored in two files are the same in both files."""

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


def test_the_oldest_allowed_libraries_are_tested() -> None:
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


def test_the_readme_has_the_sections_for_certification() -> None:
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


def test_the_lookup_has_the_options_of_the_module() -> None:
    module = documented("modules", "project_logs_info")["options"]
    lookup = documented("lookup", "project_logs")["options"]
    file_options = {
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
    assert set(module) - set(lookup) == file_options
    assert set(lookup) <= set(module)
    for name, option in lookup.items():
        assert {key: option.get(key) for key in ("type", "default")} == {
            key: module[name].get(key) for key in ("type", "default")
        }


@pytest.mark.parametrize("name", MODULES)
def test_the_documented_codes_of_failures_exist(name: str) -> None:
    path = ROOT / "plugins/modules" / f"{name}.py"
    returns = get_docstring(str(path), fragment_loader, collection_name="auditops.cloudscale")[2]
    results = yaml.safe_load(returns) if isinstance(returns, str) else returns
    codes = set(re.findall(r"V\((\w+)\)", str(results["failure"]["contains"]["code"]["description"])))
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
    description = str(documented("modules", name)["options"]["api_token"]["description"])
    conditions = {
        "project_logs_archive_info": "O(reconcile=true)",
        "project_logs_report": "unless",
        "project_logs_detect": "unless",
    }
    assert conditions.get(name, "Required where the API is read") in description


DOCUMENTED = [
    *(("modules", name) for name in MODULES),
    ("lookup", "project_logs"),
    ("callback", "project_logs_trail"),
]


def is_page(label: str) -> bool:
    prefix = "ansible_collections.auditops.cloudscale.docsite."
    return label.startswith(prefix) and (ROOT / "docs/docsite/rst" / f"{label.removeprefix(prefix)}.rst").exists()


def is_plugin(name: str, kind: str) -> bool:
    path = ROOT / "plugins" / kind / name.removeprefix("auditops.cloudscale.")
    return path.with_suffix(".py").exists() or path.with_suffix(".yml").exists()


@pytest.mark.parametrize(("kind", "name"), DOCUMENTED)
def test_each_seealso_leads_to_a_page_or_a_plugin(kind: str, name: str) -> None:
    links = documented(kind, name)["seealso"]
    assert links
    for link in links:
        assert is_page(link["ref"]) if "ref" in link else is_plugin(*target_of(link)), link


def target_of(link: dict[str, str]) -> tuple[str, str]:
    return (link["module"], "modules") if "module" in link else (link["plugin"], link["plugin_type"])


@pytest.mark.parametrize(("kind", "name"), DOCUMENTED)
def test_what_reads_the_api_requires_requests(kind: str, name: str) -> None:
    requirements = documented(kind, name)["requirements"]
    assert any(requirement.startswith("requests") for requirement in requirements)
