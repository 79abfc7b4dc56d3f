# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build the collection, look into the archive, install it into an empty folder, ask ansible-doc, import it.

Runs in the repository's root; works below .work/package.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

WORK = Path(".work/package").resolve()
NAME = "auditops.cloudscale"
# What the artifact may hold at its root, and below tests.
ROOTS = {
    *("CHANGELOG.md", "CONTRIBUTING.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md"),
    *("bin", "changelogs", "docs", "extensions", "meta", "playbooks", "plugins", "roles", "tests"),
}
TESTS = {"tests", "tests/config.yml"}


def run(*command: str, cwd: Path | None = None, **variables: str) -> str:
    """Run a command that must succeed, and return what it prints."""
    print("$", *command, flush=True)
    environment = {**os.environ, **variables}
    done = subprocess.run(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + f"failed with status {done.returncode}")
    return done.stdout


def check_content(artifact: Path) -> None:
    with tarfile.open(artifact) as archive:
        names = archive.getnames()
    strange = [name for name in names if name.split("/")[0] not in ROOTS]
    strange += [name for name in names if name.startswith("tests") and name not in TESTS]
    if strange:
        sys.exit(f"The artifact holds what it should not: {', '.join(sorted(strange))}")


def check_documentation(collections: Path) -> None:
    """Ansible finds each module, lookup, filter and callback in the installed collection, and its documentation."""
    for kind, expected in documented().items():
        command = ("ansible-doc", "--json", "--list", "-t", kind, NAME)
        listed = json.loads(run(*command, ANSIBLE_COLLECTIONS_PATH=str(collections)))
        missing = expected - {name for name, description in listed.items() if description}
        if missing:
            sys.exit(f"ansible-doc does not list: {', '.join(sorted(missing))}")


def documented() -> dict[str, set[str]]:
    """What should be listed, by kind. One file holds several filters, so these count by their documentation."""
    patterns = {
        "module": "modules/*.py",
        "lookup": "lookup/*.py",
        "callback": "callback/*.py",
        "filter": "filter/*.yml",
    }
    return {
        kind: {f"{NAME}.{file.stem}" for file in Path("plugins").glob(pattern) if file.stem != "__init__"}
        for kind, pattern in patterns.items()
    }


def check_import(artifact: Path) -> None:
    """What Galaxy would say at the import: its warnings count as errors."""
    told = run("python", "-m", "galaxy_importer.main", artifact.name, cwd=artifact.parent)
    print(told)
    if any(line.startswith(("WARNING", "ERROR")) for line in told.splitlines()):
        sys.exit("galaxy-importer warns.")


def main() -> None:
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    run("ansible-galaxy", "collection", "build", "--output-path", str(WORK))
    (artifact,) = WORK.glob("*.tar.gz")
    check_content(artifact)
    collections = WORK / "collections"
    run("ansible-galaxy", "collection", "install", "--offline", str(artifact), "-p", str(collections))
    check_documentation(collections)
    check_import(artifact)


if __name__ == "__main__":
    main()
