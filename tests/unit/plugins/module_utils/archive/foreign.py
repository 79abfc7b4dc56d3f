# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects that no run creates, and the places in an archive where somebody could put them."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Callable, Dict, List

DEPTH = 1500
Thing = Callable[[Path], None]


def _socket(path: Path) -> None:
    """Use a short path through the open directory, because the length of a socket's path is limited."""
    parent = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{parent}/{path.name}")
    finally:
        os.close(parent)


def _sparse(size: int) -> Thing:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(size)

    return make


def _nested(path: Path) -> None:
    path.mkdir()
    parent = os.open(path, os.O_RDONLY)
    for _level in range(DEPTH):
        os.mkdir("d", dir_fd=parent)
        inner = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=parent)
        os.close(parent)
        parent = inner
    os.close(parent)


FILES: Dict[str, Thing] = {
    "brackets": lambda path: path.write_bytes(b"[" * 200_000) and None,
    "50 MiB": _sparse(50 << 20),
    "a terabyte": _sparse(1 << 40),
    "nothing": lambda path: path.write_bytes(b"") and None,
}
OTHERS: Dict[str, Thing] = {
    "a pipe": os.mkfifo,
    "a socket": _socket,
    "a link to a file": lambda path: path.symlink_to("/etc/passwd"),
    "a link to a directory": lambda path: path.symlink_to("/"),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a directory": lambda path: path.mkdir(),
    "nested directories": _nested,
}
THINGS = {**FILES, **OTHERS}

ODD = os.fsdecode(b"odd \xff\n\x1b[31m")
OLD_DAY = "entries/date=2026-01-01"
PLACES: Dict[str, List[str]] = {
    "the root": [ODD],
    "pending": [
        f"pending/{ODD}",
        "pending/000000000001-x.json",
        "pending/000000000000-x.json",
        "pending/000000000099-x.tmp",
    ],
    "signatures": [f"signatures/{ODD}", f"signatures/000000000002-{'0' * 64}-01234567.sig"],
    "commits": [f"commits/{ODD}", "commits/000000000099.json"],
    "entries": [f"entries/{ODD}", OLD_DAY, f"{OLD_DAY}/{ODD}", f"{OLD_DAY}/000000000001-0123456789ab.jsonl.gz"],
}
ERRORS = ("commits", "entries")
"""Directories in which an object could look like content, so that it is an error; elsewhere it is a warning."""


def put(archive: Path, name: str, thing: Thing) -> None:
    path = archive / name
    path.parent.mkdir(exist_ok=True)
    thing(path)


def remove(archive: Path, name: str) -> None:
    """Delete an object; directories with rm, which supports any depth."""
    path = archive / name
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    subprocess.run(["rm", "-rf", "--", str(archive / name)], check=True)
