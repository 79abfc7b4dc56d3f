# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check what contributors rely on: nox, pre-commit, the workflows and forms of GitHub, and that each test runs.

Runs in the repository's root.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.tools.checks import Check, long_stages, stages

GITHUB = Path(".github")
SCHEMAS = {
    "github-workflows": "workflows/*.yml",
    "github-issue-config": "ISSUE_TEMPLATE/config.yml",
    "github-issue-forms": "ISSUE_TEMPLATE/[!c]*.yml",
}


def run(*command: str) -> str:
    """Run a command that must succeed, and return what it prints."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"$ {' '.join(command)}\n{done.stdout}failed with status {done.returncode}")
    return done.stdout


def check_same(what: str, found: list[str]) -> None:
    if found != list(stages()):
        sys.exit(f"{what} has {', '.join(found)}; the stages are {', '.join(stages())}.")


def check_github() -> None:
    for schema, pattern in SCHEMAS.items():
        run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, sorted(GITHUB.glob(pattern))))
    run("zizmor", "--offline", "--no-progress", "--persona", "pedantic", str(GITHUB))
    jobs = yaml.safe_load((GITHUB / "workflows/checks.yml").read_text())["jobs"]
    check_same("The workflow", jobs["checks"]["strategy"]["matrix"]["stage"])
    commands = " ".join(step.get("run", "") for job in jobs.values() for step in job["steps"]).split()
    for word in commands:
        if "/" in word and Path(word).is_file() and not os.access(word, os.X_OK):
            sys.exit(f"The workflow runs {word}, which is not executable.")


def check_nox() -> None:
    sessions = json.loads(run("nox", "--list", "--json"))
    check_same("The noxfile", [session["name"] for session in sessions])


def check_pre_commit() -> None:
    run("pre-commit", "validate-config")
    (source,) = yaml.safe_load(Path(".pre-commit-config.yaml").read_text())["repos"]
    (entry,) = (hook["entry"] for hook in source["hooks"] if hook["id"] == "subject")
    body = "\n\n" + "x" * 100
    refused = [bool(re.search(entry, "x" * length + body, re.MULTILINE)) for length in (72, 73)]
    if refused != [False, True]:
        sys.exit("The hook for the subjects of commits does not refuse those of more than 72 characters.")


def check_stages() -> None:
    """Each file of tests and each benchmark is run by a stage, or by a file next to it that imports it."""
    checks = [check for registry in (stages(), long_stages()) for some in registry.values() for check in some]
    benchmarks = sorted(Path("tests/benchmarks").glob("*.py"))
    imported = set(re.findall(r"(?m)^from (\w+) import", "".join(path.read_text() for path in benchmarks)))
    files = [*sorted(Path("tests").glob("**/test_*.py")), *(path for path in benchmarks if path.stem not in imported)]
    left_out = [str(path) for path in files if not any(is_run(str(path), check) for check in checks)]
    if left_out:
        sys.exit(f"No stage runs {', '.join(left_out)}.")


def is_run(path: str, check: Check) -> bool:
    words = " ".join(check.command).split()
    ignored = [word.removeprefix("--ignore=") for word in words if word.startswith("--ignore=")]
    return includes(words, path) and not includes(ignored, path)


def includes(paths: list[str], path: str) -> bool:
    return any(path == given or path.startswith(f"{given}/") for given in paths)


def main() -> None:
    check_stages()
    check_github()
    check_nox()
    check_pre_commit()


if __name__ == "__main__":
    main()
