# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opens the store for a path or an s3:// URL."""

from __future__ import annotations

import os

from ...errors import InvalidInput, StorageError
from .local_store import LocalStore
from .s3_address import FROM_ENVIRONMENT, BucketAccess
from .store import Store, archive_not_found


def is_remote(path: str) -> bool:
    """Whether a path is the address of a bucket."""
    return path.startswith("s3://")


def open_store(path: str, access: BucketAccess = FROM_ENVIRONMENT) -> Store:
    """The store for a directory or ``s3://BUCKET/PREFIX``, which can be empty or missing.

    :raises InvalidInput: the path is empty or an invalid URL.
    :raises StorageError: the path is a file.
    """
    if is_remote(path):
        from .s3 import S3Store  # few archives need it

        return S3Store(path, access)
    if not path.strip() or "://" in path:
        # Usually an undefined variable; an empty path would be the current directory.
        raise InvalidInput(f"path: {path!r} is not a valid archive path; use a directory, or s3://BUCKET/PREFIX.")
    if os.path.isfile(path):
        raise StorageError(f"{path} is a file, but an archive is a directory; check the path.")
    return LocalStore(path)


def open_archive(path: str, access: BucketAccess = FROM_ENVIRONMENT) -> Store:
    """The store of an existing archive, so that a wrong path is not taken for an intact archive.

    :raises StorageError: the store is empty.
    """
    store = open_store(path, access)
    if is_empty(store):
        raise archive_not_found(store)
    return store


def is_empty(store: Store) -> bool:
    """Whether the store has neither commits nor data files."""
    return next(store.list_files("commits"), None) is None and next(store.list_files("entries"), None) is None
