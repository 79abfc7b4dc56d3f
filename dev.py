# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Show and check the collection.

  demo              write the audit report to ./audit-report: of a simulated project, unless CLOUDSCALE_API_TOKEN is set
  test [stage ...]  run all checks, or those of some stages
  long [stage ...]  run checks that take many minutes
  simulator [...]   serve the simulated API alone
  run -- command    run a command with the tools of the checks
  pin               update the pins of all environments
  sbom              write bills of materials

Needs Python 3.11 or later and a package index; everything it installs lies below .work/.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from tests.tools import checks
from tests.tools.environments import ENVIRONMENTS, NAME, ROOT, RUNNING, WORK, Unavailable, Venv, call, minor, uv, venv
from tests.tools.stages import run_named

if sys.version_info < (3, 11):
    sys.exit(f"dev.py needs Python 3.11 or later, this is {sys.version.split()[0]}: run it as python3.11 dev.py")

# Playbooks on localhost alone need no inventory.
QUIET = {"ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false"}


def test(arguments: list[str]) -> int:
    return run_named(checks.stages(), arguments)


def long(arguments: list[str]) -> int:
    return run_named(checks.long_stages(), arguments)


def run(arguments: list[str]) -> NoReturn:
    """Run a command in the main environment, from the caller's directory."""
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    if not command:
        sys.exit("What should run? For example: python3 dev.py run -- pytest tests/unit")
    path = venv("main").variables()["PATH"]
    if shutil.which(command[0], path=path) is None:
        sys.exit(f"There is no command {command[0]}.")
    # The command replaces this process, so that signals reach it.
    os.execvpe(command[0], command, {**os.environ, "PATH": path})


def simulator(arguments: list[str]) -> NoReturn:
    run(["python", "-m", f"{NAME}.tests.simulator", *arguments])


def demo(arguments: list[str]) -> int:
    """Write the audit report to ./audit-report: of the real project if there is a token, else of a simulated one."""
    made = venv("demo")
    if os.environ.get("CLOUDSCALE_API_TOKEN"):
        return report({**os.environ, **QUIET, "PATH": made.variables()["PATH"]}, arguments)
    with simulated(made) as variables:
        operations = ROOT / "tests/demo/operations.yml"
        if subprocess.call(["ansible-playbook", str(operations)], env=variables):
            return 1
        return report(variables, ["-e", '{"audit_report_title": "Audit report of a simulated project"}', *arguments])


def report(variables: dict[str, str], arguments: list[str]) -> int:
    destination = Path.cwd() / "audit-report"
    playbook = ["ansible-playbook", "auditops.cloudscale.audit_report", "-e", f"audit_report_dest={destination}"]
    status = subprocess.call([*playbook, *arguments], env=variables)
    for file in sorted(destination.glob("*")) if status == 0 else ():
        print(file)
    return status


@contextlib.contextmanager
def simulated(made: Venv) -> Iterator[dict[str, str]]:
    """The simulator with six weeks of history, as long as it is needed: the variables that lead clients to it."""
    command = ["python", "-m", f"{NAME}.tests.simulator", "--history-weeks", "6"]
    variables = made.variables(**QUIET)
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                sys.exit("The simulator did not start.")
            ready = json.loads(line)
            token = ready["projects"]["main"]["token"]
            yield {**variables, "CLOUDSCALE_API_URL": ready["url"], "CLOUDSCALE_API_TOKEN": token}
        finally:
            process.terminate()


def sbom(_arguments: list[str]) -> int:
    """Write bills of materials, of what controllers need and of what development needs, to .work."""
    for name in ("runtime", "main"):
        python, bill = str(venv(name).path / "bin/python"), WORK / f"sbom-{name}.json"
        call([str(venv("main").path / "bin/cyclonedx-py"), "environment", python, "--output-file", str(bill)])
        print(bill)
    return 0


def pin(_arguments: list[str]) -> int:
    """Update the pins to the current versions."""
    for name, wanted in ENVIRONMENTS.items():
        directory = ROOT / "tests/requirements"
        # Pins made for the oldest supported Python are valid for each Python that can run this script.
        oldest = "3.11" if wanted == (RUNNING,) else min(wanted, key=minor)
        uv(
            *("pip", "compile", "--quiet", "--upgrade", "--universal", "--generate-hashes"),
            *("--no-header", "--no-annotate"),
            *(
                "--python-version",
                oldest,
                str(directory / f"{name}.in"),
                "--output-file",
                str(directory / f"{name}.txt"),
            ),
        )
    return 0


COMMANDS = {"demo": demo, "test": test, "long": long, "simulator": simulator, "run": run, "pin": pin, "sbom": sbom}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS, metavar="command")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...")
    options = parser.parse_args()
    try:
        return COMMANDS[options.command](options.arguments)
    except Unavailable as lack:
        sys.exit(f"Cannot run: {lack}")
    except KeyboardInterrupt:
        return 130
    except subprocess.CalledProcessError as error:
        sys.exit(f"Failed with status {error.returncode}: {' '.join(error.cmd)}")


if __name__ == "__main__":
    sys.exit(main())
