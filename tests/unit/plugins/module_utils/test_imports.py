# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Imports between the packages of the core: only the arrows in CONTRIBUTING.md are allowed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import version

CORE = Path(version.__file__).parent
GROUND = {
    "ansible_module",
    "counts",
    "errors",
    "files",
    "journal",
    "programs",
    "projects",
    "sessions",
    "settings",
    "times",
    "tls",
    "version",
    "working_hours",
}
ALLOWED = {
    "project_log": set(),
    "verification": {"project_log"},
    "events": {"project_log", "detections"},
    "detections": {"project_log", "archive", "archive.storage", "archive.chain"},
    "archive.format": {"project_log"},
    "archive.storage": {"archive.format"},
    "archive.chain": {"archive.format", "archive.storage"},
    "archive": {"project_log", "archive.format", "archive.storage", "archive.chain"},
    "report.query": {"project_log", "archive", "archive.format", "archive.storage", "archive.chain"},
    "report": {
        *("project_log", "archive", "archive.format", "archive.storage", "archive.chain"),
        *("report.query", "detections"),
    },
    "notify": {"project_log", "detections", "archive", "archive.format", "archive.storage", "archive.chain"},
    "reviews": {"project_log", "detections", "notify"},
    "cli": {"project_log", "archive", "archive.format", "archive.storage", "archive.chain", "cli.commands"},
    "cli.commands": {
        *("project_log", "archive", "archive.format", "archive.storage", "archive.chain"),
        *("cli", "detections", "notify"),
    },
}


def package_of(file: Path) -> str:
    return ".".join(file.relative_to(CORE).parent.parts)


def imported(file: Path) -> set[str]:
    """The packages of the core that a file imports from; a file outside of a package counts by its own name."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        target = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
        for name in node.names:
            module = target / name.name if (target / f"{name.name}.py").exists() else target
            found.add(".".join(module.relative_to(CORE).parent.parts) or module.name)
    return found - {package_of(file)}


@pytest.mark.parametrize("file", sorted(CORE.rglob("*.py")), ids=lambda file: str(file.relative_to(CORE)))
def test_arrows_go_one_way(file: Path) -> None:
    package = package_of(file)
    if package:
        assert imported(file) - GROUND - {"errors"} <= ALLOWED[package]
        assert "ansible_module" not in imported(file)
    else:
        assert imported(file) <= GROUND


@pytest.mark.parametrize("file", sorted(CORE.rglob("*.py")), ids=lambda file: str(file.relative_to(CORE)))
def test_the_core_knows_nothing_of_ansible(file: Path) -> None:
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    names += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    of_ansible = [name for name in names if name.split(".")[0] in ("ansible", "ansible_collections")]
    assert not of_ansible or file.name == "ansible_module.py"
