# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pinned head: the newest commit, remembered in a small file outside the archive."""

from __future__ import annotations

import json
import os
from typing import Optional

from ...errors import InvalidInput, StorageError
from ...files import replace_file
from ..format.commit import (
    Head,
)


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
        try:
            with open(self._path, "rb") as file:
                value = json.loads(file.read())
            return Head(int(value["sequence"]), str(value["sha256"]))
        except FileNotFoundError:
            return None
        except OSError as exc:
            why = exc.strerror or exc
            raise StorageError(f"Cannot read the pinned head in {self._path}: {why}; let its owner collect.") from exc
        except (ValueError, LookupError, TypeError) as exc:
            raise StorageError(
                f"Cannot read the pinned head in {self._path}: {exc}; verify the archive, then remove that file."
            ) from exc

    def write(self, head: Head) -> None:
        """Remember this head, durably.

        :raises StorageError: the file cannot be written.
        """
        try:
            replace_file(self._path, [json.dumps(head._asdict()).encode()], "pin")
        except InvalidInput as exc:
            # By then commits may have been made: it is no usage that could be put right before anything happened.
            raise StorageError(exc.message) from exc
