# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Forges commits and data files of an archive, with all hashes recomputed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import load_commit
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import (
    Commit,
    sha256,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World


def commit_path(world: World, sequence: int) -> Path:
    return world.path / "commits" / f"{sequence:012d}.json"


def data_path(world: World, sequence: int) -> Path:
    return next((world.path / "entries").glob(f"*/{sequence:012d}-*"))


def forge(world: World, sequence: int, **changes: Any) -> None:
    """Change a commit and recompute the hashes in all later ones, so that only the content shows it."""
    path = commit_path(world, sequence)
    path.write_bytes(replace(Commit.parse(path.read_bytes()), **changes).to_bytes())
    forge_previous(world, sequence)


def forge_previous(world: World, sequence: int) -> None:
    """Recompute the hashes in all commits after this one."""
    previous = sha256(commit_path(world, sequence).read_bytes())
    while commit_path(world, sequence + 1).exists():
        sequence += 1
        path = commit_path(world, sequence)
        path.write_bytes(replace(Commit.parse(path.read_bytes()), previous=previous).to_bytes())
        previous = sha256(path.read_bytes())


def forge_file(world: World, sequence: int, stored: bytes, **facts: Any) -> None:
    """Replace a data file, and describe the new file in its commit."""
    file = load_commit(world.store, sequence).commit.files[0]
    digest = sha256(stored)
    day = file.path.split("/")[1]
    path = f"entries/{day}/{sequence:012d}-{digest[:12]}.jsonl.gz"
    (world.path / file.path).unlink()
    (world.path / path).write_bytes(stored)
    forge(world, sequence, files=(replace(file, path=path, sha256=digest, bytes=len(stored), **facts),))
