# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes, checks and edits evidence packages for tests."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.package import (
    Package,
    Source,
    make_package,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.package_check import (
    Options,
    PackageCheck,
    check_package,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.zip_file import (
    ZipWriter,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Range
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import (
    NOON,
    World,
)

Members = dict[str, bytes]
Edit = Callable[[Members], None]

README, HEADS, MANIFEST = "README.txt", "heads.jsonl", "MANIFEST.sha256"
START, END = datetime.fromisoformat("2026-11-20T00:00:00+00:00"), datetime.fromisoformat("2026-11-21T18:00:00+00:00")


def made(world: World, dest: Path, start: Optional[datetime] = START, end: Optional[datetime] = END) -> Package:
    return make_package([Source(world.store)], str(dest), Range(start, end), world.clock.now)


def checked(path: Path, **options: Any) -> PackageCheck:
    return check_package(str(path), Options(**options), NOON)


def findings(path: Path, **options: Any) -> set[str]:
    return {finding.type for finding in checked(path, **options).findings}


def read_members(path: Path) -> Members:
    with zipfile.ZipFile(path) as package:
        return {name: package.read(name) for name in package.namelist()}


def sealed(members: Members) -> Members:
    """Return the members with a matching manifest."""
    lines = [f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in sorted(members.items())]
    return {**members, MANIFEST: "".join(lines).encode()}


def write_members(path: Path, members: Members) -> None:
    order = [name for name in (README, HEADS) if name in members]
    order += sorted(members.keys() - {README, HEADS, MANIFEST})
    order += [MANIFEST] if MANIFEST in members else []
    with ZipWriter(str(path)) as writer:
        for name in order:
            writer.add_bytes(name, members[name])


def edited(path: Path, target: Path, edit: Edit) -> Path:
    """Edit a package and give it a matching manifest."""
    members = read_members(path)
    del members[MANIFEST]
    edit(members)
    write_members(target, sealed(members))
    return target


def name_of(members: Members, part: str, number: int = 0) -> str:
    """Return the name of a member that contains some text."""
    return sorted(name for name in members if part in name)[number]


@pytest.fixture
def archive(world: World) -> World:
    """Three days, only the middle one of which is completely in the range, and an entry without a time."""
    for days in (3, 2, 1):
        world.append(3, ago=days * 86400, action="{{ 7*7 }}")
        world.collect()
    world.log.append(timestamp="never", message="<script>")
    world.collect()
    return world


@pytest.fixture
def package(archive: World, tmp_path: Path) -> Path:
    made(archive, tmp_path / "package.zip")
    return tmp_path / "package.zip"
