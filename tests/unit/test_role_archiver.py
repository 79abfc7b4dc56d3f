# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role archiver says the same in each place, and what it copies to hosts is complete."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.auditops.cloudscale.plugins.module_utils import version

ROOT = Path(version.__file__).parents[2]
ROLE = ROOT / "roles/archiver"


def load(name: str) -> Any:
    return yaml.safe_load((ROLE / name).read_text())


SPECS = load("meta/argument_specs.yml")["argument_specs"]["main"]["options"]


def test_defaults_are_those_of_the_argument_specs() -> None:
    assert load("defaults/main.yml") == {name: spec["default"] for name, spec in SPECS.items()}


def test_the_readme_tells_every_variable_with_its_default() -> None:
    readme = (ROLE / "README.md").read_text()
    for name, spec in SPECS.items():
        default = spec["default"]
        shown = (
            {True: "true", False: "false", "": '""'}.get(default, default) if not isinstance(default, list) else None
        )
        assert f"| `{name}` | `" + ("[" if shown is None else f"{shown}`") in readme
    for name in SPECS["archiver_projects"]["options"]:
        assert f"| `{name}` |" in readme


def variables_in(inventory: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The variables of an inventory's groups and hosts."""
    for group in inventory.values():
        yield group.get("vars", {})
        yield from (host or {} for host in group.get("hosts", {}).values())
        yield from variables_in(group.get("children", {}))


def test_sample_inventories_name_what_the_role_has() -> None:
    guide = (ROOT / "docs/docsite/rst/archiver_operations_guide.rst").read_text()
    shown = re.findall(r"^\.\. code-block:: yaml\n\n((?:    .*\n|\n)+)", guide, re.MULTILINE)
    samples = [yaml.safe_load(text) for text in (*shown, (ROOT / "playbooks/inventory/archivers.yml").read_text())]
    assert len(samples) == 4
    for sample in samples:
        found = list(variables_in(sample)) if "archivers" in sample else [sample]
        assert {name for variables in found for name in variables} <= SPECS.keys()
        projects = [project for variables in found for project in variables.get("archiver_projects", [])]
        assert projects
        assert all(project.keys() <= SPECS["archiver_projects"]["options"].keys() for project in projects)


def needed(file: Path, known: set[Path]) -> set[Path]:
    """The files that one imports, and these in turn, beside those known; also those imported only when used."""
    if file in known or not file.exists():
        return known
    known.add(file)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            place = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for candidate in (place, *(place / name.name for name in node.names)):
                needed(candidate.with_suffix(".py"), known)
    return known


def copied() -> set[Path]:
    core, variables = ROOT / "plugins/module_utils", load("vars/main.yml")
    return {file for pattern in variables["archiver_core_patterns"] for file in core.glob(pattern)}


def test_what_is_copied_to_hosts_is_what_the_command_needs() -> None:
    known: set[Path] = set()
    for file in (ROOT / "plugins/module_utils/cli").rglob("*.py"):
        needed(file, known)
    packages = {file.parent / "__init__.py" for file in known}
    assert known | packages <= copied()


def bring(program: Path, name: str) -> None:
    """Put the core and its launcher into a folder as the role does."""
    for file in copied():
        place = program / name / file.relative_to(ROOT / "plugins/module_utils")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    shutil.copy(ROOT / "bin/cloudscale-audit", program)


def test_what_is_copied_to_hosts_runs_by_itself(tmp_path: Path) -> None:
    bring(tmp_path, "current")
    load_all = (
        "import runpy, sys; sys.argv = ['x', '--version']; runpy.run_path('cloudscale-audit', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", load_all], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{version.VERSION}\n", "")
    wanted = subprocess.run(
        [sys.executable, "-I", "cloudscale-audit", "status", "nowhere"], cwd=tmp_path, capture_output=True, check=False
    )
    assert wanted.returncode == 4


def test_a_run_loads_all_of_it_from_the_version_it_began_with(tmp_path: Path) -> None:
    bring(tmp_path, "core-one")
    (tmp_path / "core-two").mkdir()
    (tmp_path / "current").symlink_to("core-one")
    switched_amid = """
import importlib, os, runpy
launcher = runpy.run_path("cloudscale-audit")
launcher["load_core"]()
os.symlink("core-two", "new")
os.replace("new", "current")
print(importlib.import_module(launcher["NAME"] + ".version").VERSION)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", switched_amid], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{version.VERSION}\n", "")


def test_a_ping_that_fails_tells_nothing_of_its_url(tmp_path: Path) -> None:
    _shebang, script = (ROLE / "templates/usr/local/lib/cloudscale-audit/ping.j2").read_text().split("\n", 1)
    for url in ("http://127.0.0.1:9/secret", "http://127.0.0.1:9/a secret", "http://127.0.0.1:secret/", "secret"):
        (tmp_path / "ping_url").write_text(url)
        environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "cloudscale-audit: the ping failed\n")
