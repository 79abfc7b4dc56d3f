# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build the collection, look into the artifact, and use it in an empty home: documentation, needs, every playbook.

The environment there holds ansible-core and what meta/execution-environment.yml and the extra for reports name, nothing
else. In the end the artifact is imported as Galaxy would. Runs in the repository's root; works below .work/package.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from ansible_collections.auditops.cloudscale.tests.simulator import Simulator, history

WORK = Path(".work/package").resolve()
HOME = WORK / "home"
COLLECTIONS = HOME / ".ansible/collections"
NAME = "auditops.cloudscale"
INSTALLED = COLLECTIONS / "ansible_collections" / NAME.replace(".", "/")
# Without the second one Ansible would find the repository, to which the environments link, and install nothing.
EMPTY = {"HOME": str(HOME), "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false"}
# What the artifact holds at its root, and below tests: no more and no less.
ROOTS = {
    *("CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md"),
    "SECURITY.md",
    *("bin", "changelogs", "docs", "extensions", "meta", "playbooks", "plugins", "roles", "tests"),
}
TESTS = {"tests", "tests/config.yml"}
REVIEW = {"review_ledger": str(HOME / "ledger"), "review_uuid": "0a1b2c3d-0000-4000-8000-000000000001"}
# Every playbook, in an order in which they can run, with their variables.
PLAYBOOKS = {
    "audit_report": {},
    "who_changed": {"who_changed_fail": False},
    "verify_change": {
        "verify_change_start": "-1h",
        "verify_change_exclusive": False,
        "verify_change_forbid": [{"action": "none"}],
    },
    "review_open": {**REVIEW, "review_reviewers": ["kim@example.com"]},
    "review_acknowledge": {**REVIEW, "review_by": "kim@example.com"},
    "review_remind": {**REVIEW, "review_remind_after": "0s"},
    "check_archivers": {
        "check_archivers_hosts": "localhost",
        "check_archivers_become": False,
        "check_archivers_command": str(INSTALLED / "bin/cloudscale-audit"),
        "check_archivers_projects": str(HOME / "projects.json"),
    },
    # Nothing is to be done on this machine: the role has its own tests, on hosts.
    "deploy_archiver": {"archiver_hosts": "localhost", "archiver_state": "absent", "ansible_become": False},
}
MADE = {"audit-report/audit-report.html", "audit-report/audit-report.jsonl", f"ledger/{REVIEW['review_uuid']}.json"}


def run(*command: str, cwd: Path | None = None, variables: dict[str, str] | None = None) -> str:
    """Run a command that must succeed, and return what it prints."""
    print("$", *command, flush=True)
    environment = {**os.environ, **(variables or {})}
    done = subprocess.run(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + f"failed with status {done.returncode}")
    return done.stdout


def check_content(artifact: Path) -> None:
    with tarfile.open(artifact) as archive:
        names = archive.getnames()
    held = {name.split("/")[0] for name in names} | {name for name in names if name.startswith("tests/")}
    if held != ROOTS | TESTS:
        sys.exit(f"The artifact holds too much, or lacks: {', '.join(sorted(held ^ (ROOTS | TESTS)))}")


def check_installation_from_git() -> None:
    """The way that README.md names leads to the same files, here from what is committed."""
    there = WORK / "from-git"
    source = f"git+{Path.cwd().as_uri()}"
    run("ansible-galaxy", "collection", "install", "--collections-path", str(there), source, variables=EMPTY)
    (installed,) = there.glob("ansible_collections/*/*")
    if not {"plugins", "roles", "playbooks", "bin"} <= {path.name for path in installed.iterdir()}:
        sys.exit("The installation from git lacks files.")
    for command in (installed / "bin/cloudscale-audit", INSTALLED / "bin/cloudscale-audit"):
        run(str(command), "--version")


def check_documentation() -> None:
    """Ansible finds each module, lookup, filter and callback in the installed collection, and its documentation."""
    for kind, expected in documented().items():
        command = ("ansible-doc", "--json", "--list", "-t", kind, NAME)
        listed = json.loads(run(*command, variables=EMPTY))
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


def check_needs() -> Path:
    """What ansible-builder finds; a Python environment with ansible-core, just that, and what reports need."""
    python, needs = WORK / "venv/bin/python", WORK / "needs.txt"
    run("ansible-builder", "introspect", str(COLLECTIONS), "--write-pip", str(needs), "--write-bindep", os.devnull)
    if requirements(needs) != ["requests>=2.25.1"]:
        sys.exit(f"ansible-builder finds other needs of the collection than requests: {needs.read_text()}")
    run("uv", "venv", "--quiet", "--python", sys.executable, str(python.parents[1]))
    pins = ("--system-certs", "--constraint", "tests/requirements/main.txt", "--requirement", str(needs))
    extra = ("--requirement", str(INSTALLED / "meta/ee-reports.txt"))
    run("uv", "pip", "install", "--quiet", "--python", str(python), *pins, *extra, "ansible-core")
    return python.parent


def requirements(file: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in file.read_text().splitlines())
    return [line for line in lines if line]


def check_environments() -> None:
    """ansible-builder makes of each definition what an image is built from."""
    for definition in sorted((INSTALLED / "meta").glob("[de]e-*.yml")):
        context = WORK / definition.stem
        run("ansible-builder", "create", "--file", str(definition), "--context", str(context))
        made = context / "_build/requirements.txt"
        if requirements(made) != requirements(definition.with_suffix(".txt")):
            sys.exit(f"{definition.name} leads to other libraries than those of its extra: {made.read_text()}")
        if NAME not in (context / "_build/requirements.yml").read_text():
            sys.exit(f"{definition.name} leads to an image without the collection.")


def check_playbooks(programs: Path) -> None:
    """Each playbook of the installed collection runs, from a directory that is not the collection's."""
    there = {path.stem for path in COLLECTIONS.glob("ansible_collections/*/*/playbooks/*.yml")}
    if there != set(PLAYBOOKS):
        sys.exit(f"Not tried, or not there: {', '.join(sorted(there ^ set(PLAYBOOKS)))}")
    with Simulator() as simulator:
        project = simulator.project("main")
        project.log.extend(history(weeks=1))
        connection = {"CLOUDSCALE_API_URL": simulator.url, "CLOUDSCALE_API_TOKEN": project.token}
        path = {"PATH": f"{programs}{os.pathsep}{os.defpath}", "HOME": str(HOME), "LC_ALL": "C.UTF-8"}
        collect(programs, {**path, **connection})
        for name, variables in PLAYBOOKS.items():
            options = ["--inventory", "localhost,", "--connection", "local", "--extra-vars", json.dumps(variables)]
            options += ["--check"] if name == "deploy_archiver" else []
            command = [str(programs / "ansible-playbook"), f"{NAME}.{name}", *options]
            print("$", *command, flush=True)
            subprocess.run(command, cwd=HOME, env={**path, **connection}, stdin=subprocess.DEVNULL, check=True)
    missing = [name for name in MADE if not (HOME / name).stat().st_size]
    if missing:
        sys.exit(f"The playbooks made no {', '.join(missing)}")


def collect(programs: Path, environment: dict[str, str]) -> None:
    """Link the installed command into the environment, as README.md says, and let it collect a projects file."""
    launcher, token = programs / "cloudscale-audit", HOME / "token"
    launcher.symlink_to(INSTALLED / "bin/cloudscale-audit")
    token.write_text(environment["CLOUDSCALE_API_TOKEN"])
    project = {"name": "main", "path": str(HOME / "archive"), "token_file": str(token)}
    (HOME / "projects.json").write_text(json.dumps({"version": 1, "projects": [project]}))
    run(str(launcher), "collect", "--projects", str(HOME / "projects.json"), variables=environment)


def check_import(artifact: Path) -> None:
    """What Galaxy would say at the import: its warnings count as errors."""
    printed = run("python", "-m", "galaxy_importer.main", artifact.name, cwd=artifact.parent)
    print(printed)
    if any(line.startswith(("WARNING", "ERROR")) for line in printed.splitlines()):
        sys.exit("galaxy-importer warns.")


def main() -> None:
    shutil.rmtree(WORK, ignore_errors=True)
    HOME.mkdir(parents=True)
    run("ansible-galaxy", "collection", "build", "--output-path", str(WORK))
    (artifact,) = WORK.glob("*.tar.gz")
    check_content(artifact)
    run("ansible-galaxy", "collection", "install", "--offline", str(artifact), variables=EMPTY)
    check_installation_from_git()
    check_documentation()
    check_environments()
    check_playbooks(check_needs())
    check_import(artifact)


if __name__ == "__main__":
    main()
