# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs stages of checks, some checks at a time, and tells how they went."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from tests.tools.checks import Check
from tests.tools.environments import ROOT, WORK, Unavailable, link_collection, link_entries, python_of, venv

HOME = WORK / "home"
# Checks wait for processes half of their time: one more than there are cores keeps the cores busy.
AT_ONCE = min(os.cpu_count() or 1, 7) + 1
# What some checks need of the machine, and a command that succeeds where it is there.
ABILITIES = {
    "root": ["sh", "-c", 'test "$(id -u)" = 0'],
    "strace": ["strace", "-qq", "-e", "trace=none", "true"],
    "private mounts": ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
    "mkfs.ext4": ["mkfs.ext4", "-V"],
    "loop devices": ["losetup", "--find"],
    "faketime": ["faketime", "-f", "+1d", "true"],
}


@dataclass
class Result:
    check: Check
    outcome: str = "passed"
    seconds: float = 0
    output: str = ""


def run_named(registry: dict[str, list[Check]], names: list[str]) -> int:
    unknown = [name for name in names if name not in registry]
    if unknown:
        sys.exit(f"No stage {', '.join(unknown)}; there are: {', '.join(registry)}")
    return run_stages(registry, names or list(registry))


def run_stages(registry: dict[str, list[Check]], names: list[str]) -> int:
    """Run stages one after another, some checks at a time, and close with a table and a count.

    The next stage begins before the last check of the one before it has ended: a core should not wait for the other.
    """
    results: list[tuple[str, Result]] = []
    HOME.mkdir(parents=True, exist_ok=True)
    # Where mypy finds the collection under its full name.
    link_collection(WORK / "links")
    link_entries(ROOT / "collections")
    checks = [(name, check) for name in names for check in registry[name]]
    began = time.monotonic()
    for _name, check in checks:
        with contextlib.suppress(Unavailable):
            venv(check.environment, check.python)
    print(f"{time.monotonic() - began:.0f} s for environments", flush=True)
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        for (name, _check), result in zip(checks, pool.map(run_check, [check for _name, check in checks]), strict=True):
            if not results or results[-1][0] != name:
                print(f"== {name}", flush=True)
            results.append((name, result))
            show(result)
    print(f"{time.monotonic() - began:.0f} s in all\n", flush=True)
    return close(results)


def run_check(check: Check) -> Result:
    """Run one check with its output captured; missing needs of this machine are reported, not raised."""
    lacking = [need for need in check.needs if not able(need)]
    if lacking:
        return Result(check, "unavailable", output=f"not run for lack of {', '.join(lacking)}")
    try:
        made = venv(check.environment, check.python)
    except Unavailable as lack:
        return Result(check, "unavailable", output=str(lack))
    began = time.monotonic()
    done = subprocess.run(
        check.command,
        cwd=ROOT,
        env=made.variables(HOME=str(HOME), LC_ALL="C.UTF-8", NO_COLOR="1"),
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    return Result(check, "failed" if done.returncode else "passed", time.monotonic() - began, done.stdout)


@cache
def able(need: str) -> bool:
    """Whether this machine has an ability, which its command proves, or else a command of this name."""
    if need not in ABILITIES:
        return shutil.which(need) is not None
    try:
        return subprocess.run(ABILITIES[need], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def show(result: Result) -> None:
    print(f"{result.outcome:>11} {result.seconds:5.0f} s  {title(result.check)}", flush=True)
    if result.outcome != "passed":
        print(result.output.rstrip(), flush=True)
        return
    for figure in re.findall(result.check.figures, result.output) if result.check.figures else ():
        print(figure, flush=True)


def title(check: Check) -> str:
    return f"{check.name} (Python {check.python or python_of(check.environment) or 'missing'})"


def close(results: list[tuple[str, Result]]) -> int:
    """Print the table of all checks and the count; the exit status. In CI what cannot run has failed."""
    strict = os.environ.get("CI") == "true"
    for stage, result in results:
        lack = f": {result.output}" if result.outcome == "unavailable" else ""
        print(f"{stage:12} {result.outcome:>11} {result.seconds:5.0f} s  {title(result.check)}{lack}")
    outcomes = [result.outcome for stage, result in results]
    lacking = outcomes.count("unavailable")
    failed = outcomes.count("failed") + (lacking if strict else 0)
    skipped = "" if strict or not lacking else f", {lacking} skipped"
    print(f"\n{outcomes.count('passed')} passed, {failed} failed{skipped}")
    return 1 if failed else 0
