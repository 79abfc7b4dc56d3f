# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stores, outside the archive, when each command last ran on it and with what result.

The file is used by people and schedules. No claim of an archive depends on it.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Dict, Iterator, List, Mapping, Optional

from ..errors import ArchiveDamaged, StorageError
from ..files import replace_file
from ..times import parse_timestamp
from .chain.status import Status, archive_state


@dataclass(frozen=True)
class LastRun:
    """The last run of a command: its start, the time of the last success, and its result.

    ``failure`` contains ``msg`` and the keys of an error's ``failure``. ``covered_until`` is the coverage of a
    collection run, and ``head`` the sequence and SHA-256 of the head after it. A run without new entries can cover
    more than its head.
    """

    attempted: str
    succeeded: Optional[str] = None
    exit_status: int = 0
    failure: Optional[Dict[str, Any]] = None
    covered_until: Optional[str] = None
    head: Optional[List[Any]] = None

    @property
    def attempted_at(self) -> Optional[datetime]:
        return parse_timestamp(self.attempted)

    @property
    def succeeded_at(self) -> Optional[datetime]:
        return parse_timestamp(self.succeeded)


class StateFile:
    """The state file of one archive in a directory; it is only valid for the archive with the same path."""

    def __init__(self, directory: str, archive: str) -> None:
        self._directory = directory
        self._path = os.path.join(directory, "state.json")
        self.archive = archive

    def path_of(self, name: str) -> str:
        """The path of another file in the same directory."""
        return os.path.join(self._directory, name)

    def create_directory(self) -> None:
        """Create the directory of the file, accessible only for its owner.

        :raises StorageError: the directory cannot be created.
        """
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
        except OSError as exc:
            raise StorageError(f"Cannot create the state directory {self._directory}: {exc.strerror or exc}.") from exc

    def runs(self) -> Dict[str, LastRun]:
        """Return the last run of each command by its name; nothing if the file is missing or unreadable."""
        try:
            with open(self._path, "rb") as file:
                content = json.loads(file.read())
            if content["path"] != self.archive:
                return {}
            return {str(command): LastRun(**run) for command, run in content["runs"].items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return {}

    def record(self, command: str, run: LastRun) -> None:
        """Store the last run of a command; a failed one keeps the time of the last success.

        :raises StorageError: the file cannot be written.
        """
        self.create_directory()
        with self._locked():
            runs = self.runs()
            before = runs.get(command)
            if run.succeeded is None and before is not None:
                run = replace(run, succeeded=before.succeeded)
            if run.covered_until is None and before is not None:
                run = replace(run, covered_until=before.covered_until, head=before.head)
            runs[command] = run
            content = {"path": self.archive, "runs": {name: asdict(one) for name, one in sorted(runs.items())}}
            replace_file(self._path, [json.dumps(content, indent=1).encode()], "state")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the file against other commands on the same archive."""
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)


def _failure(command: str, run: Optional[LastRun]) -> Optional[Dict[str, Any]]:
    """Return the failure of the last run of a command, with the command's name; None if it did not fail."""
    if run is None:
        return None
    if run.failure is not None:
        return {"command": command, **run.failure}
    if command == "verify" and run.exit_status:
        error = ArchiveDamaged("The archive is not intact; run verify to see its findings.")
        return {"command": command, "msg": error.message, **error.failure}
    return None


def with_runs(status: Status, runs: Mapping[str, LastRun], now: datetime) -> Status:
    """Return the status with the results of runs on this host: coverage, failures, and the last verification."""
    collected, verified = runs.get("collect"), runs.get("verify")
    status = replace(
        status,
        last_verified=verified.succeeded_at if verified else None,
        failure=_failure("collect", collected) or _failure("verify", verified),
    )
    head, before = status.head, status.covered_until
    if collected is None or head is None or before is None:
        return status
    covered = parse_timestamp(collected.covered_until)
    if covered is None or covered <= before or collected.head != list(head):
        return status
    return replace(status, covered_until=covered, state=archive_state(covered, True, now))
