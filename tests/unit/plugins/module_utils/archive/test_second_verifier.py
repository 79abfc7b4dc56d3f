# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verifier that was written from the format guide alone agrees with the collection's."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import LocalStore
from ansible_collections.auditops.cloudscale.tests.second_verifier import verifier as second
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive import test_attacks, test_corpus
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.both import verdicts
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_corpus import (
    CASES,
    LEGITIMATE,
    LIES,
    append,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

SOURCE = Path(second.__file__)


@contextmanager
def copied(world: World, target: Path) -> Iterator[World]:
    """The same world with a copy of its archive, for as long as the block runs."""
    path, store = world.path, world.store
    shutil.copytree(path, target, symlinks=True)
    world.path, world.store = target, LocalStore(str(target))
    try:
        yield world
    finally:
        world.path, world.store = path, store
        shutil.rmtree(target)


def test_it_shares_nothing_with_the_collection() -> None:
    nodes = list(ast.walk(ast.parse(SOURCE.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {"." * node.level + str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not [name for name in names if name.startswith((".", "ansible"))]
    # With the library of Python alone.
    command = [sys.executable, "-I", "-S", str(SOURCE), "--help"]
    assert b"--allowed-signers" in subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def test_every_lie_of_the_corpus_is_judged_alike(world: World, tmp_path: Path) -> None:
    test_corpus.fill(world)
    differences = []
    for kind, name in [*((kind, None) for kind in LEGITIMATE), *CASES]:
        with copied(world, tmp_path / "copy"):
            forged = LEGITIMATE[kind](world)
            if name:
                changes = LIES[kind][name](forged.commit, world)
                forged = forged._replace(commit=replace(forged.commit, **changes))
            append(world, forged)
            found = verdicts(world.path, world.clock.now)
            if not found.agree or bool(found.ours) != bool(name):
                differences.append((kind, name, found))
    assert differences == []


def test_every_attack_is_judged_alike(world: World, tmp_path: Path) -> None:
    test_attacks.fill(world)
    noted = world.head.head
    differences = []
    for name, attack in test_attacks.ATTACKS.items():
        with copied(world, tmp_path / "copy"):
            attack.do(world)
            for head in (None, noted):
                found = verdicts(world.path, world.clock.now, head)
                if not found.agree:
                    differences.append((name, head, found))
    assert differences == []
