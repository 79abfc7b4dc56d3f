# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a user says that an archive lies, as the store that can do it."""

from __future__ import annotations

import os

from ...errors import InvalidInput, StorageError
from .s3_address import FROM_ENVIRONMENT, BucketAccess
from .store import LocalStore, Store, archive_not_found


def is_remote(path: str) -> bool:
    """Whether a path leads to a bucket."""
    return path.startswith("s3://")


def open_store(path: str, access: BucketAccess = FROM_ENVIRONMENT) -> Store:
    """The storage at a path, a folder or ``s3://BUCKET/PREFIX``, whether or not there is an archive yet.

    :raises InvalidInput: it is empty, or no address of a bucket although it looks like one.
    :raises StorageError: it is a file.
    """
    if is_remote(path):
        from .s3 import S3Store  # few archives need it

        return S3Store(path, access)
    if not path.strip() or "://" in path:
        # Most often a variable that is not set: the archive would lie in whatever folder this runs in.
        raise InvalidInput(f"path: {path!r} is no place of an archive; name a folder, or s3://BUCKET/PREFIX.")
    if os.path.isfile(path):
        raise StorageError(f"{path} is a file, and an archive is a folder; check the path.")
    return LocalStore(path)


def open_archive(path: str, access: BucketAccess = FROM_ENVIRONMENT) -> Store:
    """The archive at a path that must hold one: a wrong path must not pass for a sound archive.

    :raises StorageError: nothing was ever collected there.
    """
    store = open_store(path, access)
    if is_empty(store):
        raise archive_not_found(store)
    return store


def is_empty(store: Store) -> bool:
    """Whether nothing was ever collected there."""
    return next(store.names("commits"), None) is None and next(store.names("entries"), None) is None
