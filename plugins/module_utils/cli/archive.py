# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The archive that a command works on: its storage, and what earlier runs on this host know of it."""

from __future__ import annotations

import argparse
import os
import sys
from typing import List, Optional, Tuple

from ..archive.state import StateFile
from ..archive.storage.open import is_empty, is_remote, open_archive, open_store
from ..archive.storage.s3_address import BucketAccess
from ..archive.storage.store import Store
from ..errors import AuditError
from ..projects import HOST_PROJECTS_FILE, ProjectSettings, read_projects, user_state_directory


def store_from_options(options: argparse.Namespace) -> Store:
    """The storage of the archive, whether or not there is one yet."""
    return open_store(options.path, options.access)


def archive_from_options(options: argparse.Namespace) -> Store:
    """The archive, which must exist.

    :raises StorageError: nothing was ever collected there.
    """
    return open_archive(options.path, options.access)


def archives_from_options(options: argparse.Namespace) -> List[Tuple[Optional[str], Store]]:
    """The archives of a command that reads several as one log: the project's name, if it was given, and the storage.

    A project of a projects file that waits for its first collection run is left out, and it is said.

    :raises StorageError: nothing was ever collected at one of the paths.
    """
    found: List[Tuple[Optional[str], Store]] = []
    for project in options.archives:
        if not project.enabled:
            continue
        if options.paths:
            found.append((None, open_archive(project.path)))
            continue
        store = open_store(project.path, bucket_access(project))
        if is_empty(store):
            sys.stderr.write(f"{project.name}: no collection run has succeeded yet.\n")
        else:
            found.append((project.name, store))
    return found


def bucket_access(project: ProjectSettings) -> BucketAccess:
    """How to reach the bucket of a project."""
    return BucketAccess(
        project.s3_endpoint,
        project.s3_region,
        project.s3_ca_path,
        project.s3_credentials_file,
        project.s3_profile,
    )


def is_package(path: str) -> bool:
    """Whether a path leads to an evidence package, and not to an archive."""
    return path.endswith(".zip") and not is_remote(path) and not os.path.isdir(path)


def state_at(path: str) -> StateFile:
    """What this user's runs on the archive at a path remember."""
    archive = os.path.abspath(path) if is_package(path) else str(open_store(path))
    return StateFile(user_state_directory(archive), archive)


def readable_state(path: str) -> StateFile:
    """The same for reading: on an archiver host, that of the service whose archive it is."""
    own = state_at(path)
    directory = _state_directory_of_host(own.archive)
    return StateFile(directory, own.archive) if directory else own


def is_new(options: argparse.Namespace) -> bool:
    """Whether the project waits for its first collection run: its directory exists, and no run has succeeded yet.

    A path that was mistyped later, or whose archive was deleted, is not new.
    """
    collected = options.state.runs().get("collect")
    if collected is not None and collected.succeeded is not None:
        return False
    if not is_remote(options.path) and not os.path.isdir(options.path):
        return False
    return is_empty(store_from_options(options))


def _state_directory_of_host(archive: str) -> Optional[str]:
    if not os.path.exists(HOST_PROJECTS_FILE):
        return None
    try:
        projects = read_projects(HOST_PROJECTS_FILE)
    except AuditError:
        return None
    return next((project.state_directory for project in projects if project.path == archive), None)
