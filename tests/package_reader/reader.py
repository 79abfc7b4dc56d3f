# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A second reader of evidence packages, written from the page in them alone.

It shares no code with the collection and needs nothing but Python:

    python reader.py PACKAGE.zip

It prints the newest commit of each archive, or the first difference, and then exits with status 1.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import zipfile
import zlib
from collections import Counter
from typing import Any

MANIFEST = "MANIFEST.sha256"
TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?)Z", re.ASCII)


class Different(Exception):
    """The package is not what its page says."""


def check(condition: Any, what: str) -> None:
    if not condition:
        raise Different(what)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def members(path: str) -> dict[str, bytes]:
    """All files by name; they are those of the manifest, with its digests."""
    with zipfile.ZipFile(path) as package:
        names = package.namelist()
        check(len(set(names)) == len(names), "two files have one name")
        found = {name: package.read(name) for name in names}
    lines = [line.partition("  ") for line in found.pop(MANIFEST).decode().splitlines()]
    listed = {name: digest for digest, _spaces, name in lines}
    check(len(listed) == len(lines), "the manifest has a file twice")
    check(listed == {name: sha256(body) for name, body in found.items()}, "the manifest does not fit")
    return found


def comparable(time: str | None, otherwise: str) -> str:
    """A time without its Z, so that times compare as texts."""
    return otherwise if time is None else time.removesuffix("Z")


def check_archive(files: dict[str, bytes]) -> tuple[int, str]:
    """Check one archive's directory; its newest commit."""
    bodies = [body for name, body in sorted(files.items()) if name.startswith("commits/")]
    commits = [json.loads(body) for body in bodies]
    digests = [sha256(body) for body in bodies]
    check([commit["previous"] for commit in commits] == [None, *digests[:-1]], "a commit does not follow")
    removed = {path for commit in commits for path in commit["removed"]}
    known = {file["path"]: file for commit in commits for file in commit["files"]}
    facts = json.loads(files["extract.json"])
    start, end = comparable(facts["range"]["start"], ""), comparable(facts["range"]["end"], "9999")
    packed = {name: body for name, body in files.items() if name.startswith("entries/")}
    for path, file in known.items():
        meets = comparable(file["first"], "") < end and comparable(file["last"], "9999") >= start
        check(path in packed or path in removed or not meets, f"{path} is missing")
    lines: list[bytes] = []
    for path, body in sorted(packed.items()):
        check(path in known and sha256(body) == known[path]["sha256"], f"no commit names {path}")
        lines += [line for line in zlib.decompress(body, 31).split(b"\n")[:-1] if is_within(line, start, end)]
    extract = files["extract.jsonl"].split(b"\n")[:-1]
    check(extract == lines, "the extract does not have the entries of the range")
    rows = [row.rpartition(b",")[2].decode() for row in files["extract.csv"].splitlines()[1:]]
    check(Counter(rows) == Counter(map(sha256, extract)), "the table has other entries than the extract")
    check(facts["entries"] == len(extract), "extract.json says another number")
    check(facts["archive"]["head"] == {"sequence": len(commits), "sha256": digests[-1]}, "another newest commit")
    check(json.loads(files["verification.json"])["intact"], "the archive was not intact")
    return len(commits), digests[-1]


def is_within(line: bytes, start: str, end: str) -> bool:
    """Whether an entry is of the range; one without a time that can be read always is."""
    time = TIME.fullmatch(str(json.loads(line).get("timestamp")))
    return time is None or start <= time[1] < end


def read(path: str) -> dict[str, tuple[int, str]]:
    """The newest commit of each archive in a package.

    :raises Different: the package is not what its page says.
    """
    found = members(path)
    archives = sorted({name.partition("/")[0] for name in found if "/" in name})
    heads = {}
    for archive in archives:
        inside = f"{archive}/"
        heads[archive] = check_archive(
            {name.removeprefix(inside): body for name, body in found.items() if name.startswith(inside)}
        )
    noted = [json.loads(line) for line in found["heads.jsonl"].splitlines()]
    check([(one["sequence"], one["sha256"]) for one in noted] == list(heads.values()), "heads.jsonl does not fit")
    return heads


def main() -> int:
    try:
        for archive, (sequence, digest) in read(sys.argv[1]).items():
            print(archive, sequence, digest)
    except (
        AttributeError,
        Different,
        KeyError,
        RecursionError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        print(f"different: {error!r}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
