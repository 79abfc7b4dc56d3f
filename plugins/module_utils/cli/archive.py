# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opens the archives of a command, and the state files that earlier runs on this host wrote about them."""

from __future__ import annotations

import argparse
import os
import sys
from typing import List, Optional, Tuple

from ..archive.state import StateFile
from ..archive.storage.open import is_empty, is_remote, open_archive, open_store
from ..archive.storage.s3_address import BucketAccess
from ..archive.storage.store import Store, archive_not_found
from ..errors import AuditError
from ..projects import HOST_PROJECTS_FILE, ProjectSettings, read_projects, user_state_directory


def store_from_options(options: argparse.Namespace) -> Store:
    """Open the storage of the archive, which need not exist yet."""
    return open_store(options.path, options.access)


def archive_from_options(options: argparse.Namespace) -> Store:
    """Open the archive, which must exist.

    :raises StorageError: there is no archive.
    """
    return open_archive(options.path, options.access)


def check_exists(store: Store) -> None:
    """Fail if a storage contains no archive.

    :raises StorageError: there is no archive.
    """
    if is_empty(store):
        raise archive_not_found(store)


def archives_from_options(options: argparse.Namespace) -> List[Tuple[Optional[str], Store]]:
    """Open the archives of a command that reads several as one log, with the names of their projects if known.

    Projects of a projects file without a successful collection run are skipped with a message.

    :raises StorageError: there is no archive at one of the paths.
    """
    archives: List[Tuple[Optional[str], Store]] = []
    for project in options.archives:
        if not project.enabled:
            continue
        if options.paths:
            archives.append((None, open_archive(project.path)))
            continue
        store = open_store(project.path, bucket_access(project))
        if is_empty(store):
            sys.stderr.write(f"{project.name}: no collection run has succeeded yet.\n")
        else:
            archives.append((project.name, store))
    return archives


def bucket_access(project: ProjectSettings) -> BucketAccess:
    """The connection settings for the bucket of a project."""
    return BucketAccess(
        project.s3_endpoint,
        project.s3_region,
        project.s3_ca_path,
        project.s3_credentials_file,
        project.s3_profile,
    )


def is_package(path: str) -> bool:
    """True if a path is that of an evidence package, not of an archive."""
    return path.endswith(".zip") and not is_remote(path) and not os.path.isdir(path)


def state_at(path: str) -> StateFile:
    """The state file that this user's runs write about the archive at a path."""
    archive = os.path.abspath(path) if is_package(path) else str(open_store(path))
    return StateFile(user_state_directory(archive), archive)


def readable_state(path: str) -> StateFile:
    """The state file to read about the archive at a path; on an archiver host, that of its service."""
    own = state_at(path)
    directory = _state_directory_of_host(own.archive)
    return StateFile(directory, own.archive) if directory else own


def is_new(options: argparse.Namespace) -> bool:
    """True if the directory of the project exists and no collection run has succeeded yet.

    A mistyped path and a deleted archive are not new.
    """
    last_run = options.state.runs().get("collect")
    if last_run is not None and last_run.succeeded is not None:
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
