# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The environments of development: which Pythons there are, and what is installed for each of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".work"
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
    # The oldest HTTP and S3 libraries, and those of distributions, on the Python that is there, or near to it.
    "boto-oldest": ("3.9", "3.10", "3.11"),
    "boto-debian-12": ("3.11", "3.10", "3.9"),
    "boto-debian-13": ("3.13", "3.12", "3.11"),
    "boto-el-9": ("3.9", "3.10", "3.11"),
    "boto-ubuntu-22.04": ("3.10", "3.9", "3.11"),
    "boto-ubuntu-24.04": ("3.12", "3.11", "3.10"),
    # The libraries of reports, in the oldest versions that are supported.
    "report-oldest": ("3.10", "3.11", "3.12"),
    "browser": (RUNNING,),
    # What controllers need, for the bill of materials alone.
    "runtime": (RUNNING,),
    "fuzz": ("3.11", "3.12", "3.13"),
    # A recent ansible-core, and a collector that people use.
    "benchmark": (RUNNING,),
    "spark": (RUNNING,),
    # nox, pre-commit, and what checks the files of GitHub.
    "habits": (RUNNING,),
}


class Unavailable(Exception):
    """This machine lacks what a check needs; the text says what."""


@dataclass(frozen=True)
class Venv:
    """An environment that is there: its directory and the Python version in it."""

    path: Path
    python: str

    def variables(self, **more: str) -> dict[str, str]:
        """The variables for a command in it: nothing of the caller's Ansible, API or Python settings."""
        foreign = re.compile(r"(ANSIBLE_|CLOUDSCALE_|PYTHON|VIRTUAL_ENV)")
        kept = {name: value for name, value in os.environ.items() if not foreign.match(name)}
        path = [str(self.path / "bin"), str(WORK / "boot/bin"), kept.get("PATH", os.defpath)]
        return {**kept, "PATH": os.pathsep.join(path), "UV_PYTHON_DOWNLOADS": "never", **more}


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
            printed = subprocess.check_output([candidate, "-c", tell], text=True, stderr=subprocess.DEVNULL)
            version, executable = printed.strip().split(" ", 1)
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
        call(
            [
                str(boot / "bin/python"),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                f"uv=={UV_VERSION}",
            ]
        )
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
        print(f"Installing the environment {made.path.name} into {WORK.name}/ ...", file=sys.stderr, flush=True)
        uv("venv", "--quiet", "--clear", "--python", pythons()[version], str(made.path))
        uv("pip", "install", "--quiet", "--python", str(made.path / "bin/python"), "--requirement", str(pins))
        link_collection(made.path / "lib" / f"python{version}" / "site-packages")
        stamp.write_text(state)
    return made


def link_collection(directory: Path) -> None:
    link = directory / LINK
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(ROOT, target_is_directory=True)


def link_entries(directory: Path) -> None:
    """The tree that pytest-ansible makes where there is none, made before two checks at once could make it."""
    tree = directory / LINK
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for entry in ROOT.iterdir():
        if entry != directory:
            (tree / entry.name).symlink_to(entry)
