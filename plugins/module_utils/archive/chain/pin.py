# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pinned heads: files outside the archive that store its newest commit."""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Dict, Optional

from ...errors import InvalidInput, StorageError
from ...files import replace_file
from ...projects import user_state_directory
from ..format.commit import Head
from .chain import StoredCommit


class HeadPin:
    """A file that stores the head of an archive, which makes finding the next head cheap.

    If the pinned commit is missing or different, the archive was truncated or replaced, and no run extends it.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(os.path.expanduser(path))

    def read(self) -> Optional[Head]:
        """The pinned head; None if the file does not exist.

        :raises StorageError: the file is unreadable or invalid.
        """
        value = self._load()
        try:
            return None if value is None else Head(int(value["sequence"]), str(value["sha256"]))
        except (ValueError, LookupError, TypeError) as exc:
            raise self._unreadable(exc) from exc

    def write(self, stored: StoredCommit) -> None:
        """Pin a commit durably.

        :raises StorageError: the file cannot be written.
        """
        try:
            replace_file(self._path, [json.dumps(self._content(stored)).encode()], "pin")
        except InvalidInput as exc:
            # Not InvalidInput: the run might have committed already.
            raise StorageError(exc.message) from exc

    def _content(self, stored: StoredCommit) -> Dict[str, Any]:
        return {"archive_id": stored.commit.archive_id, **stored.head._asdict()}

    def _load(self) -> Any:
        try:
            with open(self._path, "rb") as file:
                return json.loads(file.read())
        except FileNotFoundError:
            return None
        except OSError as exc:
            reason = exc.strerror or exc
            raise StorageError(
                f"Cannot read the pinned head in {self._path}: {reason}; run collect as the owner of the file."
            ) from exc
        except ValueError as exc:
            raise self._unreadable(exc) from exc

    def _unreadable(self, exc: Exception) -> StorageError:
        return StorageError(
            f"Cannot read the pinned head in {self._path}: {exc}; verify the archive, then delete this file."
        )


class DefaultPin(HeadPin):
    """The pin that a run with a signing key keeps by default, one for each archive, in the user's state directory.

    A pin of another path is ignored. If the file cannot be used, the run warns and continues: its own key is the trust
    anchor.
    """

    def __init__(self, archive: str, warn: Callable[[str], None]) -> None:
        super().__init__(os.path.join(user_state_directory(archive), "pin.json"))
        self._archive = archive
        self._warn = warn

    def read(self) -> Optional[Head]:
        try:
            value = self._load()
        except StorageError as exc:
            self._warn(exc.message)
            return None
        if not isinstance(value, dict) or value.get("path") != self._archive:
            return None
        return super().read()

    def write(self, stored: StoredCommit) -> None:
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            super().write(stored)
        except OSError as exc:
            self._warn(f"The head of {self._archive} cannot be pinned: {exc.strerror or exc}.")
        except StorageError as exc:
            self._warn(f"The head of {self._archive} cannot be pinned: {exc.message}")

    def _content(self, stored: StoredCommit) -> Dict[str, Any]:
        return {"path": self._archive, **super()._content(stored)}
