# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command as one file: its content, and how it runs."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from ansible_collections.auditops.cloudscale.plugins.lookup.archiver_program import PACKAGE, build_program, core_files
from ansible_collections.auditops.cloudscale.plugins.module_utils import version

ROOT = Path(version.__file__).parents[2]


def imported_files(file: Path, known: set[Path]) -> set[Path]:
    """The files that a file imports, directly and indirectly, also inside functions, and the ``known`` files."""
    if file in known or not file.exists():
        return known
    known.add(file)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            target = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for candidate in (target, *(target / name.name for name in node.names)):
                imported_files(candidate.with_suffix(".py"), known)
    return known


def test_the_program_contains_all_files_that_the_command_imports() -> None:
    known: set[Path] = set()
    for file in (ROOT / "plugins/module_utils/cli").rglob("*.py"):
        imported_files(file, known)
    packages = {file.parent / "__init__.py" for file in known}
    assert {file.resolve() for file in known | packages} <= set(core_files())


def write_program(path: Path) -> None:
    path.write_bytes(build_program(sys.executable))
    path.chmod(0o755)


def test_the_program_is_one_executable_and_reproducible_file(tmp_path: Path) -> None:
    command = tmp_path / "program"
    write_program(command)
    done = subprocess.run([command, "--version"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{version.VERSION}\n", "")
    assert (
        subprocess.run([command, "status", "nowhere"], cwd=tmp_path, capture_output=True, check=False).returncode == 4
    )
    assert build_program(sys.executable) == build_program(sys.executable)


def test_a_run_imports_only_from_the_version_that_it_started_with(tmp_path: Path) -> None:
    write_program(tmp_path / "one")
    with zipfile.ZipFile(tmp_path / "two", "w"):
        pass
    link = str(tmp_path / "current")
    os.symlink("one", link)
    main = zipfile.ZipFile(tmp_path / "one").read("__main__.py").decode()
    switched = main.split("from ")[0].replace("import sys\n", f"import sys\nsys.path.insert(0, {link!r})\n")
    switched += f"""
from {PACKAGE} import version
os.remove({link!r})
os.symlink("two", {link!r})
from {PACKAGE}.cli import main
print(version.VERSION)
"""
    done = subprocess.run([sys.executable, "-IBc", switched], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{version.VERSION}\n", "")
