# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Show and check the collection.

  demo              write the audit report to ./audit-report: of a simulated project, unless CLOUDSCALE_API_TOKEN is set
  test [stage ...]  run all checks, or those of some stages
  long [stage ...]  run checks that take many minutes
  simulator [...]   serve the simulated API alone
  run -- command    run a command with the tools of the checks
  pin               write the pins of all environments anew
  sbom              write bills of materials

Needs Python 3.11 or later and a package index; everything it installs lies below .work/.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

if sys.version_info < (3, 11):
    sys.exit(f"dev.py needs Python 3.11 or later, this is {sys.version.split()[0]}: run it as python3.11 dev.py")

ROOT = Path(__file__).resolve().parent
WORK = ROOT / ".work"
HOME = WORK / "home"
NAME = "ansible_collections.auditops.cloudscale"
LINK = Path(*NAME.split("."))
UV_VERSION = "0.11.33"

RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
# Each pinned environment in tests/requirements, and the Pythons it can have, the preferred one first.
ENVIRONMENTS = {
    "main": (RUNNING,),
    "demo": (RUNNING,),
    "oldest": ("3.10", "3.11", "3.12"),
    "ansible-2.17": ("3.12", "3.11", "3.10"),
    "ansible-2.18": ("3.13", "3.12", "3.11"),
    "ansible-2.19": ("3.11", "3.12", "3.13"),
    "ansible-2.20": ("3.12", "3.13"),
    "recent": ("3.13", "3.12", "3.11"),
    "core": PYTHONS,
    "eda": ("3.12", "3.11"),
    # The HTTP and S3 libraries of Debian 11, 12 and 13, on the Python that is there, or near to it.
    "boto-debian-11": ("3.9", "3.10", "3.11"),
    "boto-debian-12": ("3.11", "3.10", "3.9"),
    "boto-debian-13": ("3.13", "3.12", "3.11"),
    # The libraries of reports, in the oldest versions that are supported.
    "report-oldest": ("3.10", "3.11", "3.12"),
    "browser": (RUNNING,),
    # What controllers need, for the bill of materials alone.
    "runtime": (RUNNING,),
    "fuzz": ("3.11", "3.12", "3.13"),
    # A recent ansible-core, and a collector that people use.
    "benchmark": (RUNNING,),
    "spark": (RUNNING,),
}
# What some checks need of the machine, and a command that succeeds where it is there.
ABILITIES = {
    "root": ["sh", "-c", 'test "$(id -u)" = 0'],
    "strace": ["strace", "-qq", "-e", "trace=none", "true"],
    "private mounts": ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
    "mkfs.ext4": ["mkfs.ext4", "-V"],
    "loop devices": ["losetup", "--find"],
    "faketime": ["faketime", "-f", "+1d", "true"],
}
# Playbooks on localhost alone need no inventory.
QUIET = {"ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false"}


class Unavailable(Exception):
    """This machine lacks what a check needs; the text says what."""


@dataclass(frozen=True)
class Check:
    """One command of a stage, run in the repository's root with an environment on PATH.

    ``needs`` are abilities of the machine and commands of the system without which it cannot run. ``figures`` is a
    pattern: what it finds in the output is shown also of a check that passed.
    """

    name: str
    command: list[str]
    environment: str = "main"
    python: str | None = None
    needs: tuple[str, ...] = ()
    figures: str = ""


@dataclass
class Result:
    check: Check
    outcome: str = "passed"
    seconds: float = 0
    output: str = ""


@dataclass(frozen=True)
class Venv:
    """An environment that is there: its folder and the Python version in it."""

    path: Path
    python: str

    def variables(self, **more: str) -> dict[str, str]:
        """The variables for a command in it: nothing of the caller's Ansible, API or Python settings."""
        foreign = re.compile(r"(ANSIBLE_|CLOUDSCALE_|PYTHON|VIRTUAL_ENV)")
        kept = {name: value for name, value in os.environ.items() if not foreign.match(name)}
        path = [str(self.path / "bin"), str(WORK / "boot/bin"), kept.get("PATH", os.defpath)]
        return {**kept, "PATH": os.pathsep.join(path), "UV_PYTHON_DOWNLOADS": "never", **more}


# --- Pythons and environments


def minor(version: str) -> int:
    return int(version.split(".")[1])


@cache
def pythons() -> dict[str, str]:
    """Every Python from 3.9 that really runs here, by version: the running one, those on PATH and pyenv's."""
    tell = "import sys; print('%d.%d' % sys.version_info[:2], getattr(sys, '_base_executable', sys.executable))"
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    on_path = (shutil.which(f"python3.{minor}") for minor in range(9, 20))
    found: dict[str, str] = {}
    for candidate in (sys.executable, *filter(None, on_path), *map(str, sorted(pyenv.glob("versions/*/bin/python3")))):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            told = subprocess.check_output([candidate, "-c", tell], text=True, stderr=subprocess.DEVNULL)
            version, executable = told.strip().split(" ", 1)
            if re.fullmatch(r"3\.(9|\d\d)", version):
                found.setdefault(version, executable)
    return found


def uv(*arguments: str) -> None:
    """Run uv, installing it first into .work/boot."""
    boot = WORK / "boot"
    stamp = boot / UV_VERSION
    if not stamp.exists():
        try:
            call([pythons()[RUNNING], "-m", "venv", "--clear", str(boot)], quiet=True)
        except subprocess.CalledProcessError:
            sys.exit("This Python cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv")
        call([str(boot / "bin/python"), "-m", "pip", "install", "--quiet", f"uv=={UV_VERSION}"])
        stamp.touch()
    variables = {"UV_PYTHON_DOWNLOADS": "never", "UV_SYSTEM_CERTS": "true", "UV_NO_PROGRESS": "true"}
    call([str(boot / "bin/uv"), *arguments], env={**os.environ, **variables})


def call(command: list[str], env: dict[str, str] | None = None, quiet: bool = False) -> None:
    """Run a command that must succeed; what it prints goes to stderr."""
    output = subprocess.DEVNULL if quiet else sys.stderr
    subprocess.run(command, env=env, check=True, stdin=subprocess.DEVNULL, stdout=output)


def python_of(name: str, python: str | None = None) -> str | None:
    """The Python version that an environment has here: the one asked for, or the one it prefers; None if missing."""
    wanted = (python,) if python else ENVIRONMENTS[name]
    return next((version for version in wanted if version in pythons()), None)


@cache
def venv(name: str, python: str | None = None) -> Venv:
    """The environment, made or renewed when its pins changed, with a link by which Ansible finds this collection."""
    version = python_of(name, python)
    if version is None:
        raise Unavailable(f"no Python {python or ' or '.join(ENVIRONMENTS[name])} found")
    pins = ROOT / "tests/requirements" / f"{name}.txt"
    made = Venv(WORK / "venv" / f"{name}-{version}", version)
    stamp, state = made.path / "made-of", f"{ROOT} {hashlib.sha256(pins.read_bytes()).hexdigest()}"
    if not stamp.exists() or stamp.read_text() != state:
        uv("venv", "--quiet", "--clear", "--python", pythons()[version], str(made.path))
        uv("pip", "install", "--quiet", "--python", str(made.path / "bin/python"), "--requirement", str(pins))
        link_collection(made.path / "lib" / f"python{version}" / "site-packages")
        stamp.write_text(state)
    return made


def link_collection(folder: Path) -> None:
    link = folder / LINK
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(ROOT, target_is_directory=True)


def link_entries(folder: Path) -> None:
    """The tree that pytest-ansible makes where there is none, made before two checks at once could make it."""
    tree = folder / LINK
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for entry in ROOT.iterdir():
        if entry != folder:
            (tree / entry.name).symlink_to(entry)


@cache
def able(need: str) -> bool:
    """Whether this machine has an ability, which its command proves, or else a command of this name."""
    if need not in ABILITIES:
        return shutil.which(need) is not None
    try:
        return subprocess.run(ABILITIES[need], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


# --- Stages


# Of all that is installed for development or at run time; what is under several needs one of them.
LICENCES = "MIT;0BSD;BSD;Apache;ISC;PSF;Python Software Foundation;Mozilla;MPL-2.0;GPL-3.0;GPL-2.0-or-later;GPLv3"
TRACED = ("root", "strace")
RUNS = r"\d+ runs of collectors: .+"
DISKS = ("root", "private mounts", "mkfs.ext4", "loop devices")
HOSTS = ["pytest", "--quiet", "tests/e2e/managed_hosts"]
CONTAINERS = ("root", "mmdebstrap", "systemd-nspawn", "ip", "ssh", "ssh-keygen", "scp", "git")


def faults(name: str, file: str, *options: str, needs: tuple[str, ...] = TRACED) -> Check:
    """Collectors as processes, to which something happens; how many there were is told."""
    return Check(name, ["pytest", "--quiet", *options, f"tests/e2e/{file}"], needs=needs, figures=RUNS)


def files(word: str) -> list[str]:
    """The integration tests with this word in their files' names."""
    return [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob(f"tests/integration/test_*{word}*.py"))]


def without(paths: list[str]) -> list[str]:
    """The options that leave these tests out."""
    return [f"--ignore={path}" for path in paths]


UNITS = ["pytest", "--quiet", "tests/unit"]
CORE = ["pytest", "--quiet", "tests/unit/module_utils", "tests/simulator"]
BENCHMARKS = ["python", "tests/benchmarks/suite.py"]
BUCKETS = ["pytest", "--quiet", *(f"tests/unit/module_utils/archive/test_{name}.py" for name in ("store", "s3"))]
VENDOR = files("vendor")
OF_COMMAND = sorted({*files("guide"), *files("bucket")} - {*VENDOR})
RELEASES = [name for name in ENVIRONMENTS if name.startswith("ansible-") or name in ("oldest", "recent")]
# What each release of ansible-core has to pass on each Python that it runs on. The core knows nothing of Ansible:
# once on each Python is enough. Guides and buckets are about the command on hosts: once on each release is enough.
EVERYWHERE = {
    "unit": [*UNITS, "--ignore=tests/unit/module_utils"],
    "integration": ["pytest", "--quiet", "tests/integration", *without(VENDOR + OF_COMMAND)],
    "sanity": ["python", "tests/tools/sanity.py"],
}
GUIDES = ["pytest", "--quiet", *OF_COMMAND]
LIBRARIES = [*BUCKETS, "tests/unit/module_utils/test_api.py"]
REPORTS = [
    "pytest",
    "--quiet",
    "tests/unit/module_utils/report",
    "tests/unit/query",
    "--ignore=tests/unit/query/test_bucket.py",
]


def stages() -> dict[str, list[Check]]:
    """All checks by stage, in the order they run."""
    packages = [f"--package={NAME}.{name}" for name in ("plugins.module_utils", "tests.simulator")]
    return {
        "lint": [
            Check("format", ["ruff", "format", "--check", "."]),
            Check("ruff", ["ruff", "check", "--output-format", "concise", "."]),
            Check("types", ["mypy", *packages]),
            Check("types of dev.py", ["mypy", "--cache-dir", str(WORK / "mypy-dev"), "dev.py", "tests/tools"]),
            Check("shell", ["shellcheck", *shell_files()]),
            Check("ansible-lint", ["ansible-lint", "--profile", "production", "--offline", "--strict"]),
            Check("changelog", ["antsibull-changelog", "lint"]),
            Check("licences of files", ["reuse", "lint", "--lines"]),
            Check("licences of libraries", ["pip-licenses", "--partial-match", "--allow-only", LICENCES]),
            Check("site of the documentation", ["python", "tests/tools/docs.py"]),
            Check("documentation", ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "."]),
        ],
        "unit": [
            Check("recent ansible-core, this Python", UNITS),
            Check("core, oldest Python", [*CORE, f"--ignore={BUCKETS[-1]}"], "core", PYTHONS[0]),
            Check("newest ansible-core, the edge", EVERYWHERE["unit"], "recent"),
            Check("oldest ansible-core, the edge", EVERYWHERE["unit"], "oldest"),
            Check("oldest HTTP and S3 libraries", LIBRARIES, "boto-debian-11"),
            Check("oldest libraries of reports", REPORTS, "report-oldest"),
        ],
        "integration": [
            Check("newest ansible-core", EVERYWHERE["integration"], "recent"),
            Check("newest ansible-core, guides and buckets", GUIDES, "recent"),
            Check("oldest ansible-core", EVERYWHERE["integration"], "oldest"),
            Check("provider's collection", ["pytest", "--quiet", *VENDOR], "demo"),
            Check("ansible-rulebook", ["pytest", "--quiet", "tests/e2e/test_rulebook.py"], "eda"),
            Check("metrics and alerts", ["pytest", "--quiet", "tests/e2e/test_watching.py"], needs=("promtool",)),
        ],
        "browser": [
            Check(
                "reports in Chromium",
                ["pytest", "--quiet", "tests/e2e/test_report_page.py"],
                "browser",
                needs=("chromium",),
            ),
        ],
        "faults": [
            faults("system calls", "test_archive_faults.py"),
            faults("kills", "test_archive_kills.py", "-m", "not long"),
            faults("disks", "test_archive_disks.py", needs=DISKS),
            faults("clocks", "test_archive_clock.py", needs=("faketime",)),
        ],
        "sanity": [
            Check("newest ansible-core", EVERYWHERE["sanity"], "recent"),
            Check("oldest ansible-core", EVERYWHERE["sanity"], "oldest"),
        ],
        "package": [
            Check("build, install, import", ["python", "tests/tools/package.py"]),
            Check("benchmarks, small", [*BENCHMARKS, "--small"]),
        ],
    }


def long_stages() -> dict[str, list[Check]]:
    """Runs of many minutes, by name: not part of `test`."""
    return {
        "matrix": [
            *(Check("core alone", CORE, "core", version) for version in sorted({*PYTHONS, *pythons()}, key=minor)),
            *(
                Check(f"{name}, {kind}", command, name, version)
                for name in RELEASES
                for version in ENVIRONMENTS[name]
                for kind, command in EVERYWHERE.items()
            ),
            *(Check(f"{name}, guides and buckets", GUIDES, name) for name in RELEASES),
            *(
                Check(f"HTTP and S3 libraries of Debian {release}", LIBRARIES, f"boto-debian-{release}")
                for release in (12, 13)
            ),
            *(
                Check("oldest libraries of reports", REPORTS, "report-oldest", version)
                for version in ENVIRONMENTS["report-oldest"]
            ),
        ],
        "kills": [faults("10,000 kills", "test_archive_kills.py")],
        "spark": [
            Check(
                "reports by Spark", ["pytest", "--quiet", "tests/e2e/test_report_engines.py"], "spark", needs=("java",)
            ),
        ],
        "fuzz": [
            Check(name, ["python", "tests/fuzz/hostile.py", name, "-max_total_time=300"], "fuzz", figures=r"Done .+")
            for name in ("archives", "pages", "commits", "streams")
        ],
        "object-storage": [
            Check(
                "buckets of Ceph",
                ["pytest", "--quiet", "tests/e2e/object_storage"],
                needs=("root", "mmdebstrap", "private mounts", "tar", "chroot"),
            ),
        ],
        "managed-hosts": [
            Check(f"archiver on Debian {number}", [*HOSTS, "-k", suite], needs=CONTAINERS)
            for number, suite in ((12, "bookworm"), (13, "trixie"), (11, "bullseye"))
        ],
        "benchmarks": [
            Check(
                "asking, beside other ways",
                [*BENCHMARKS, "--into", str(WORK / "benchmarks")],
                "benchmark",
                figures=r"(?m)^(?:\d+ entries.*|\|.*)$",
            )
        ],
    }


def shell_files() -> list[str]:
    return [".ci/run", *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("[!.]*/**/*.sh")))]


def run_check(check: Check) -> Result:
    """Run one check with its output captured; what this machine lacks is told, not raised."""
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


def run_stages(registry: dict[str, list[Check]], names: list[str]) -> int:
    """Run whole stages one after another, two checks of one at a time, and close with a table and a count."""
    results: list[tuple[str, Result]] = []
    HOME.mkdir(parents=True, exist_ok=True)
    # Where mypy finds the collection under its full name.
    link_collection(WORK / "links")
    link_entries(ROOT / "collections")
    for name in names:
        began = time.monotonic()
        print(f"== {name}", flush=True)
        for check in registry[name]:
            with contextlib.suppress(Unavailable):
                venv(check.environment, check.python)
        ready = time.monotonic()
        with ThreadPoolExecutor(max_workers=2) as pool:
            for result in pool.map(run_check, registry[name]):
                results.append((name, result))
                show(result)
        now = time.monotonic()
        print(f"== {name}: {now - began:.0f} s, {ready - began:.0f} s of it for environments\n", flush=True)
    return close(results)


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


# --- Commands


def test(arguments: list[str]) -> int:
    return run_named(stages(), arguments)


def long(arguments: list[str]) -> int:
    return run_named(long_stages(), arguments)


def run_named(registry: dict[str, list[Check]], names: list[str]) -> int:
    unknown = [name for name in names if name not in registry]
    if unknown:
        sys.exit(f"No stage {', '.join(unknown)}; there are: {', '.join(registry)}")
    return run_stages(registry, names or list(registry))


def run(arguments: list[str]) -> NoReturn:
    """Run a command in the main environment, from the caller's folder."""
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    if not command:
        sys.exit("What should run? For example: python3 dev.py run -- pytest tests/unit")
    path = venv("main").variables()["PATH"]
    if shutil.which(command[0], path=path) is None:
        sys.exit(f"There is no command {command[0]}.")
    # In place of this process, so that a signal reaches the command.
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
        return report(variables, arguments)


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
    """Write the pins anew with the versions of today."""
    for name, wanted in ENVIRONMENTS.items():
        folder = ROOT / "tests/requirements"
        # Those of the running Python have to do for any that can run this.
        oldest = "3.11" if wanted == (RUNNING,) else min(wanted, key=minor)
        uv(
            *("pip", "compile", "--quiet", "--upgrade", "--universal", "--generate-hashes"),
            *("--no-header", "--no-annotate"),
            *("--python-version", oldest, str(folder / f"{name}.in"), "--output-file", str(folder / f"{name}.txt")),
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
