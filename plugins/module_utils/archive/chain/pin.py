# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pinned head: the newest commit, remembered in a small file outside the archive."""

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
    """A small file outside the archive that remembers its head: finding the head is then cheap, and it is pinned.

    An archive whose remembered commit is absent or different lost its tail or was replaced; it is never extended.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(os.path.expanduser(path))

    def read(self) -> Optional[Head]:
        """The head remembered; None when nothing was remembered yet.

        :raises StorageError: the file is unreadable or holds something else.
        """
        value = self._load()
        try:
            return None if value is None else Head(int(value["sequence"]), str(value["sha256"]))
        except (ValueError, LookupError, TypeError) as exc:
            raise self._unreadable(exc) from exc

    def write(self, link: StoredCommit) -> None:
        """Remember a commit as the head, durably.

        :raises StorageError: the file cannot be written.
        """
        try:
            replace_file(self._path, [json.dumps(self._content(link)).encode()], "pin")
        except InvalidInput as exc:
            # By then commits may have been made: it is no usage that could be put right before anything happened.
            raise StorageError(exc.message) from exc

    def _content(self, link: StoredCommit) -> Dict[str, Any]:
        return {"archive_id": link.commit.archive_id, **link.head._asdict()}

    def _load(self) -> Any:
        try:
            with open(self._path, "rb") as file:
                return json.loads(file.read())
        except FileNotFoundError:
            return None
        except OSError as exc:
            why = exc.strerror or exc
            raise StorageError(f"Cannot read the pinned head in {self._path}: {why}; let its owner collect.") from exc
        except ValueError as exc:
            raise self._unreadable(exc) from exc

    def _unreadable(self, exc: Exception) -> StorageError:
        return StorageError(
            f"Cannot read the pinned head in {self._path}: {exc}; verify the archive, then remove that file."
        )


class DefaultPin(HeadPin):
    """The pin that a run with a key keeps by default, in the state directory of its user, one for each archive.

    That of another path is not used. Where it cannot be kept, the run says so and goes on: its own key is the anchor.
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

    def write(self, link: StoredCommit) -> None:
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            super().write(link)
        except (OSError, StorageError) as exc:
            self._warn(f"The head of {self._archive} cannot be remembered: {exc}.")

    def _content(self, link: StoredCommit) -> Dict[str, Any]:
        return {"path": self._archive, **super()._content(link)}
