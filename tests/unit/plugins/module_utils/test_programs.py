# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs of the host: what they print, and how they can fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import InvalidInput
from ansible_collections.auditops.cloudscale.plugins.module_utils.programs import Program


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    return Program("sealer", "install the package sealer", timeout=5, SEAL="wax")


def install(directory: Path, script: str) -> None:
    (directory / "sealer").write_text(f"#!/bin/sh\n{script}\n")
    (directory / "sealer").chmod(0o755)


def test_a_program_gets_arguments_input_and_a_fixed_environment(tmp_path: Path, program: Program) -> None:
    install(tmp_path, 'cat; echo "$1 $SEAL $LC_ALL $TZ"')
    assert program.path() == str(tmp_path / "sealer")
    assert program.run(["-x"], b"in ").stdout == b"in -x wax C UTC\n"


def test_a_program_that_fails_is_explained_by_its_last_line_or_its_status(tmp_path: Path, program: Program) -> None:
    install(tmp_path, "echo first >&2; echo no seal. >&2; exit 3")
    completed = program.run([])
    assert (completed.returncode, program.error_text(completed)) == (3, "no seal")
    install(tmp_path, "exit 3")
    assert program.error_text(program.run([])) == "sealer ended with status 3"


def test_a_missing_program_can_be_installed(program: Program) -> None:
    for call in (program.path, lambda: program.run([])):
        with pytest.raises(InvalidInput, match=r"^sealer is missing; install the package sealer\.$"):
            call()


def test_a_program_that_does_not_end_is_killed(tmp_path: Path, program: Program) -> None:
    install(tmp_path, "exec sleep 60")
    program.timeout = 0.2
    with pytest.raises(InvalidInput, match=r"^sealer does not work on this host: it does not end\.$"):
        program.run([])
