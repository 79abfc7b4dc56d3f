# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shared by the archive's tests: a project of the simulator with archives of its log, and a disk that can fail."""

from __future__ import annotations

import itertools
import json
import os
import stat
from collections import Counter
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import StoredCommit, find_head
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.pin import HeadPin
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.collector import (
    CollectResult,
    CollectSettings,
    collect,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.finding import Finding
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import cat
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.run_context import RunContext
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage import local_store
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import (
    ObjectNotFound,
    Store,
    UnexpectedItem,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.verifier import verify
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import canonical, parse
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Connection
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.testing import Clock

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
_numbers = itertools.count()


class World:
    """One project's log, and an archive of it in a directory. ``clock`` is used by the server and the collector."""

    def __init__(self, simulator: Simulator, clock: Clock, directory: Path) -> None:
        self.simulator = simulator
        self.clock = clock
        self.clock.now = NOON
        self.simulator.clear_script()
        self.simulator.set(page_size=3, expired_cursor="oldest", range_in_urls="dropped", retention=timedelta(days=90))
        self.project = simulator.add_project(f"project-{next(_numbers)}")
        self.log = self.project.log
        self.path = directory / "archive"
        self.store = LocalStore(str(self.path))
        self.pin_path = directory / "head"
        self._nonces = itertools.count()

    def append(self, count: int = 1, ago: float = 60, step: float = 1, **facts: Any) -> None:
        """Append entries; the first one is so many seconds old."""
        for number in range(count):
            moment = self.clock.ago(seconds=ago - number * step)
            self.log.append(timestamp=moment, message=f"Server 'n{next(_numbers)}' has been created", **facts)

    def wait(self, **distance: float) -> None:
        self.clock.now += timedelta(**distance)

    @property
    def connection(self) -> Connection:
        return Connection(api_token=self.project.token, api_url=self.simulator.url, retries=0)

    @property
    def pin(self) -> HeadPin:
        return HeadPin(str(self.pin_path))

    def context(self, **options: Any) -> RunContext:
        """Return the context of a run with this world's clock."""
        return RunContext(**{"now": self.clock, "nonce": lambda: f"nonce{next(self._nonces)}", **options})

    def collect(self, store: Optional[Store] = None, pin: bool = False, **settings: Any) -> CollectResult:
        names = ("stop", "now", "dry_run", "sign_key", "allowed_signers", "expected_head", "sign_from", "warn")
        options = {name: settings.pop(name) for name in names if name in settings}
        with Api(self.connection) as api:
            return collect(
                store or self.store,
                api,
                CollectSettings(**{"max_entries": 5, **settings}),
                self.context(pin=self.pin if pin else None, **options),
            )

    def verify(self, store: Optional[Store] = None, **options: Any) -> List[Finding]:
        return verify(store or self.store, **{"now": self.clock.now, **options})

    @property
    def head(self) -> StoredCommit:
        found = find_head(self.store)
        if found is None:
            raise LookupError("the archive has no commit")
        return found

    def commits(self) -> List[Dict[str, Any]]:
        return [json.loads(path.read_bytes()) for path in sorted((self.path / "commits").iterdir())]

    def files(self) -> List[str]:
        return sorted(str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file())

    def archived(self, store: Optional[Store] = None) -> Counter[bytes]:
        """Return the archive as a multiset of canonical lines, empty without a commit."""
        found = store or self.store
        return Counter(map(canonical, cat(found)) if find_head(found) else ())

    def logged(self) -> Counter[bytes]:
        """Return the complete log as a multiset of canonical lines."""
        return Counter(canonical(parse(json.dumps(entry).encode())) for entry in self.log.entries)


class MemoryStore:
    """A store in memory."""

    max_concurrent_reads = 3

    def __init__(self) -> None:
        self.files: Dict[str, bytes] = {}

    def __str__(self) -> str:
        return "memory"

    def read(self, name: str) -> Iterator[bytes]:
        if name not in self.files:
            raise ObjectNotFound(f"There is no {name}.")
        return iter([self.files[name]])

    def list_files(self, directory: str, after: str = "") -> Iterator[str]:
        return iter(sorted(name for name in self.files if name.startswith(f"{directory}/") and name > after))

    def list_unexpected(self) -> Iterator[UnexpectedItem]:
        return iter(())

    def list_commits(self, after: int = 0) -> List[int]:
        found = (int(name[8:20]) for name in self.list_files("commits"))
        return [sequence for sequence in found if sequence > after]

    def prepare(self, head: Optional[Tuple[str, bytes]]) -> None:
        pass

    def check_put_if_absent(self, head: Optional[Tuple[str, bytes]], record: str) -> None:
        pass

    def find_claim(self, name: str) -> None:
        return None

    def copy_claim(self, name: str, body: bytes) -> None:
        pass

    def list_deleted_commits(self, after: int = 0) -> List[int]:
        return []

    def put(self, files: Mapping[str, bytes]) -> None:
        self.files.update(files)

    def is_settled(self, record: str) -> bool:
        return True

    def put_if_absent(self, name: str, body: bytes) -> bool:
        return self.files.setdefault(name, body) == body

    def delete(self, names: Any) -> None:
        for name in names:
            self.files.pop(name, None)

    def check_not_locked(self, names: Any) -> None:
        pass

    purge = delete


class RacingStore(LocalStore):
    """Calls a function once, directly before the n-th commit is created: another run wins the race for it."""

    def __init__(self, path: Path, meanwhile: Callable[[], Any], before_commit: int = 1) -> None:
        super().__init__(str(path))
        self._meanwhile = meanwhile
        self._before_commit = before_commit

    def put_if_absent(self, name: str, body: bytes) -> bool:
        self._before_commit -= 1
        if self._before_commit == 0:
            self._meanwhile()
        return super().put_if_absent(name, body)


class Killed(BaseException):
    """The process was killed: no code catches this, and later changes do not reach the disk."""


class Disk:
    """Wraps the ``os`` that the store uses: counts the calls that change the disk, and lets one of them fail.

    ``fail_at`` counts from 1. Without ``failure``, the process is killed: later calls do nothing. ``after_each`` is
    called after every change.
    """

    CHANGES = ("open", "mkdir", "chmod", "fchmod", "fsync", "rename", "link", "unlink")

    def __init__(
        self,
        fail_at: Optional[int] = None,
        failure: Optional[int] = None,
        only: Tuple[str, ...] = CHANGES,
        after_each: Callable[[str, Any], None] = lambda name, result: None,
    ) -> None:
        self.calls: List[str] = []
        self._fail_at = fail_at
        self._failure = failure
        self._only = only
        self._after_each = after_each

    @property
    def is_dead(self) -> bool:
        return self._failure is None and self._fail_at is not None and len(self.calls) >= self._fail_at

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name == "rmdir":
            return self._note_rmdir
        if name not in self.CHANGES:
            return real

        def call(*args: Any, **options: Any) -> Any:
            if name == "open" and not args[1] & os.O_CREAT:
                return real(*args, **options)
            if self.is_dead:
                raise Killed
            if name in self._only:
                self.calls.append(name)
                if len(self.calls) == self._fail_at:
                    raise Killed if self._failure is None else OSError(self._failure, os.strerror(self._failure))
            result = real(*args, **options)
            self._after_each(name, result if result is not None else args[0])
            return result

        return call

    def _note_rmdir(self, path: str, dir_fd: Optional[int] = None) -> None:
        """A rmdir never fails here, but the inode number of the directory might be used again soon."""
        number = os.stat(path, dir_fd=dir_fd).st_ino
        os.rmdir(path, dir_fd=dir_fd)
        self._after_each("rmdir", number)

    @contextmanager
    def in_place(self) -> Iterator[Disk]:
        genuine = local_store.os
        local_store.os = self  # type: ignore[assignment]
        try:
            yield self
        finally:
            local_store.os = genuine


class DurableDisk:
    """The state of a directory that survives a power failure: only synced data."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._files: Dict[int, bytes] = {}
        self._directories: Dict[int, Dict[str, Tuple[int, int]]] = {}
        # Counts the files per inode number, because numbers of deleted files are used again.
        self._lives: Counter[int] = Counter()

    def note(self, name: str, subject: Any) -> None:
        """Note a change; to be passed as ``after_each`` of a disk."""
        if name == "open":
            number = os.fstat(subject).st_ino
            self._files.pop(number, None)
            self._lives[number] += 1
        elif name == "fsync":
            self._sync(subject)
        elif name == "rmdir":
            self._directories.pop(subject, None)

    def restore(self, target: Path) -> None:
        """Write the surviving files."""
        self._restore(os.stat(self._parent).st_ino, target)

    def _sync(self, handle: int) -> None:
        facts = os.fstat(handle)
        path = os.readlink(f"/proc/self/fd/{handle}")
        if stat.S_ISDIR(facts.st_mode):
            with os.scandir(path) as items:
                self._directories[facts.st_ino] = {
                    item.name: (item.inode(), self._lives[item.inode()]) for item in items
                }
        else:
            self._files[facts.st_ino] = Path(path).read_bytes()

    def _restore(self, number: int, target: Path) -> None:
        target.mkdir()
        for name, (inner, life) in self._directories.get(number, {}).items():
            if life != self._lives[inner]:
                continue
            if "." in name:
                (target / name).write_bytes(self._files.get(inner, b""))
            else:
                self._restore(inner, target / name)
