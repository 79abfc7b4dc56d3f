# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hostile bytes for what reads bytes of others, led by the coverage of the code: hostile.py TARGET [-OPTION=VALUE ...]

Only the errors that are promised may come out, within seconds and a gigabyte of memory. An input that breaks this is
kept in .work/fuzz, and runs again when its name is given. The options are those of libFuzzer.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["ansible_collections.auditops.cloudscale.plugins.module_utils"]):
    from ansible_collections.auditops.cloudscale.plugins.module_utils import errors
    from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.status import status
    from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.collector import collect
    from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format import data_file
    from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import Commit, sha256
    from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.fields import Malformed
    from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
    from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import cat
    from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
    from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.verifier import verify
    from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log import entry, rows, summary, table
    from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log import schemas as mapping
    from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log import selection as selector
    from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api, follow_pages
    from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Connection

from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.testing import Clock
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive import foreign
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

URL = "https://127.0.0.1/v1"
PAGE = b'{"results": [%s], "next": "%s", "poll_more": "' + f'{URL}/project-logs?cursor=2"}}'.encode()
ENTRY = (
    b'{"timestamp": "2026-11-22T12:00:00.000001Z", "action": "server_create", "message": "m", "ip_address": "192.0.2.1"'
    b', "actor": {"api_token": {"uuid": "1", "description": "d"}}, "subject": {"project": {"name": "n", "uuid": "2"}}}'
)
CHOSEN = selector.Selection.from_mapping({"actions": ["*"], "ip_networks": ["192.0.2.0/24"], "message": "m"})
# Values that replace a part of a commit.
VALUES = [
    None,
    True,
    -1,
    0,
    1,
    10**30,
    1e308,
    float("nan"),
    "",
    "../../x",
    "/etc/passwd",
    "9999-12-31T23:59:59Z",
    "\ud800",
    [],
    {},
]


class Scripted(Api):
    """A conversation whose answers are given: the bodies are what is tried here, not the sockets."""

    def __init__(self, *bodies: bytes) -> None:
        super().__init__(Connection(api_token="t" * 40, api_url=URL, retries=0))
        self.bodies = list(bodies)

    def _send(self, url: str) -> Any:
        body = self.bodies.pop(0) if self.bodies else PAGE % (b"", b"")
        return 200, {"Date": "Sun, 22 Nov 2026 12:00:00 GMT"}, body


def pages(data: bytes) -> None:
    """A complete response, or one of its entries; everything that displays entries must accept it."""
    bodies = (data, PAGE.replace(b'"%s"', b"null", 1) % data)
    for body in bodies:
        with contextlib.suppress(errors.AuditError), Scripted(body) as api:
            for page in follow_pages(api, api.first_url()):
                for found in page.entries:
                    show(found)
        raise_if(bool(api.bodies), "the body was not read")


def show(found: Any) -> None:
    line = entry.canonical(found)
    if list(map(entry.canonical, entry.read_lines(line + b"\n"))) != [line]:
        raise RuntimeError(f"another canonical form the second time: {line!r}")
    CHOSEN.matches(found)
    counted = summary.Summary()
    counted.add(found)
    json.dumps(counted.as_dict())
    for made in (
        mapping.to_ocsf(found),
        mapping.to_ecs(found),
        rows.row(found),
        table.table([found]),
        entry.to_builtin_entry(found),
    ):
        json.dumps(made)


def commits(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        commit = Commit.parse(data)
        if Commit.parse(commit.to_bytes()) != commit:
            raise RuntimeError("a commit is another one when it is written and read again")


def streams(data: bytes) -> None:
    """A data file, in pieces, and lines that are none."""
    limit = 1 << 16
    with contextlib.suppress(Malformed):
        if sum(map(len, data_file.decompress_gzip((data[:7], data[7:]), limit))) > limit:
            raise RuntimeError("more was unpacked than allowed")
    with contextlib.suppress(ValueError):
        for found in entry.read_lines(data):
            show(found)


class Quiet(Api):
    """An API that has nothing new, at this time."""

    now = "Sun, 22 Nov 2026 12:00:00 GMT"

    def _send(self, url: str) -> Any:
        page = {"results": [], "next": None, "poll_more": f"{self.connection.api_url}/project-logs?cursor=9"}
        return 200, {"Date": self.now}, json.dumps(page).encode()


class Archive:
    """A small sound archive, of which one file is changed, looked at and put back."""

    def __init__(self, directory: Path) -> None:
        clock = Clock()
        with Simulator(page_size=3, clock=clock) as simulator:
            world = World(simulator, clock, directory)
            world.clock.now -= timedelta(days=2)
            for wait in (23, 1, 23, 1):
                world.append(3, ago=30)
                world.collect()
                world.wait(hours=wait)
            prune(world.store, world.clock.ago(days=1), context=world.context())
            compact(world.store, context=world.context())
            world.append(2)
            world.collect()
        self.path = world.path
        self.context = world.context()
        self.connection = world.connection
        self.now = world.clock.now
        self.store = LocalStore(str(world.path))
        self.files = {path: path.read_bytes() for path in sorted(world.path.rglob("*.*")) if path.is_file()}
        self.commits = [path for path in self.files if path.suffix == ".json"]
        if verify(self.store):
            raise RuntimeError("the archive was not sound to begin with")

    def attack(self, data: bytes) -> None:
        given = atheris.FuzzedDataProvider(data)
        changed = self._forge(given) if given.ConsumeBool() else self._replace(given)
        for path, body in changed.items():
            path.write_bytes(body)
        try:
            findings = verify(self.store)
            if not findings and any(body != self.files[path] for path, body in changed.items()):
                # Only a noted head detects a chain that was forged completely.
                raise_if(len(changed) == 1 and self.commits[-1] not in changed, "a change was not found")
            with contextlib.suppress(errors.AuditError):
                status(self.store, self.now)
            with contextlib.suppress(errors.AuditError):
                for found in cat(self.store):
                    show(found)
        finally:
            for path in changed:
                path.write_bytes(self.files[path])

    def litter(self, data: bytes) -> None:
        """Put things where no run puts them; all else must still be found, and nobody stopped who needs it not."""
        given = atheris.FuzzedDataProvider(data)
        forged = self.path / "entries/date=2026-11-20/000000000001-ffffffffffff.jsonl.gz"
        names = [self._drop(given) for _thing in range(given.ConsumeIntInRange(1, 4))]
        forged.parent.mkdir(exist_ok=True)
        forged.write_bytes(b"forged")
        try:
            printed = [finding.path for finding in verify(self.store, now=self.now)]
            raise_if(str(forged.relative_to(self.path)) not in printed, "a finding is lost")
            blocked = [name for name in names if name.startswith("commits/0")]
            self._run(lambda: status(self.store, self.now), bool(blocked))
            self._run(lambda: list(cat(self.store)), bool(blocked))
            with Quiet(self.connection) as api:
                self._run(lambda: collect(self.store, api, context=self.context), bool(blocked))
        finally:
            for name in [*names, str(forged.relative_to(self.path))]:
                foreign.remove(self.path, name)
            for path, body in self.files.items():
                if not path.is_file() or path.read_bytes() != body:
                    path.parent.mkdir(exist_ok=True)
                    path.write_bytes(body)
            for path in self.path.glob("*/*.json"):
                if path not in self.files:
                    path.unlink()

    def _drop(self, given: Any) -> str:
        """A thing under a name that is free; returns the name of its place."""
        place = given.PickValueInList(["", "pending/", "signatures/", "commits/", "entries/", f"{foreign.OLD_DAY}/"])
        if given.ConsumeBool():
            base = f"{given.ConsumeIntInRange(0, 20):012d}{given.PickValueInList(['-x.json', '-x.tmp', '.json'])}"
        else:
            text = given.ConsumeUnicode(40).encode("utf-8", "replace").replace(b"/", b"-").replace(b"\0", b"-")
            base = f"x{text.decode()}"
        path = self.path / f"{place}{base}"
        path.parent.mkdir(exist_ok=True)
        if os.path.lexists(path):
            return "pending/nothing"
        if given.ConsumeBool():
            given.PickValueInList(list(foreign.THINGS.values()))(path)
        else:
            path.write_bytes(given.ConsumeBytes(4096))
        return f"{place}{base}"

    def _run(self, job: Callable[[], Any], may_fail: bool) -> None:
        with contextlib.suppress(*([errors.AuditError] if may_fail else [])):
            job()

    def _replace(self, given: Any) -> dict[Path, bytes]:
        """Other bytes at one position of one file, or instead of the complete file."""
        path = given.PickValueInList(list(self.files))
        body = self.files[path]
        place = given.ConsumeIntInRange(0, len(body))
        tail = body[place + given.ConsumeIntInRange(0, 8) :] if given.ConsumeBool() else b""
        return {path: body[:place] + given.ConsumeBytes(4096) + tail}

    def _forge(self, given: Any) -> dict[Path, bytes]:
        """Some parts of a commit, with all later commits made to fit."""
        first = given.ConsumeIntInRange(0, len(self.commits) - 1)
        documents = [json.loads(self.files[path]) for path in self.commits[first:]]
        for _part in range(given.ConsumeIntInRange(1, 3)):
            places = list(parts(documents[0]))
            holder, key = given.PickValueInList(places)
            if given.ConsumeBool() or isinstance(holder[key], (dict, list)):
                holder[key] = given.PickValueInList(VALUES)
            elif isinstance(holder[key], str):
                holder[key] = given.ConsumeUnicode(64)
            else:
                holder[key] = given.ConsumeInt(8)
        changed: dict[Path, bytes] = {}
        previous: str | None = None
        for path, document in zip(self.commits[first:], documents):
            if previous is not None:
                document["previous"] = previous
            changed[path] = json.dumps(document, separators=(",", ":")).encode() + b"\n"
            previous = sha256(changed[path])
        return changed


def parts(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document, as what holds it and the key there."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from parts(value[key])


def raise_if(wrong: bool, what: str) -> None:
    if wrong:
        raise RuntimeError(what)


SEEDS = {
    "pages": [
        PAGE % (ENTRY, f"{URL}/project-logs?cursor=1".encode()),
        ENTRY,
        b"[" * 5000,
        b'{"a": 1e999999, "b": "\\ud800"}',
        b'{"a": "\xed\xa0\xbd\xed\xb8\x80"}',
    ],
    "commits": [],
    "streams": [ENTRY, gzip.compress(ENTRY), gzip.compress(b" " * (1 << 20))],
    "archives": [bytes(range(64)), b"\1" * 64],
    "foreign": [bytes(range(64)), b"\1" * 64, bytes(range(255, 127, -1))],
}


def target(name: str, directory: Path) -> Callable[[bytes], None]:
    """What is run with each input; also fills the directory of inputs to begin with."""
    if name in ("pages", "streams"):
        return {"pages": pages, "streams": streams}[name]
    archive = Archive(directory)
    if name in ("archives", "foreign"):
        return {"archives": archive.attack, "foreign": archive.litter}[name]
    SEEDS["commits"] = [archive.files[path] for path in archive.commits]
    return commits


def main() -> None:
    name, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        run = target(name, Path(directory))
        corpus = Path(".work/fuzz", name)
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(SEEDS[name]):
            (corpus / f"seed-{number}").write_bytes(seed)
        limits = ("-timeout=10", "-rss_limit_mb=1024", f"-artifact_prefix=.work/fuzz/{name}-", "-print_final_stats=1")
        atheris.Setup(
            [sys.argv[0], *limits, *options, *([] if any(Path(o).is_file() for o in options) else [str(corpus)])], run
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
