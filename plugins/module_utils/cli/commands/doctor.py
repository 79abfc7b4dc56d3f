# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks the requirements of a collection run before the first one, and the behaviour of the API for bug reports."""

from __future__ import annotations

import argparse
import glob
import os
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Callable, Iterator, List, NamedTuple, Set

from ...archive.chain.chain import StoredCommit, find_head
from ...archive.format.commit import FIRST_SEQUENCE, commit_name
from ...archive.format.pending import pending_name
from ...archive.storage.local_store import LocalStore
from ...archive.storage.open import is_remote
from ...archive.storage.store import Store, read_file
from ...counts import pluralize
from ...errors import AuditError, InvalidInput, StorageError
from ...project_log.client import Api, Page
from ...project_log.entry import subject, to_printable
from ...times import format_time, utc_now
from ..archive import store_from_options
from ..connection import add_connection, with_token
from ..exit_status import API, OK, STORAGE
from ..output import add_json, print_json, print_line
from ..timestamps import add_timestamp_url, authority_from_options

ABOUT = "check the requirements of a collection run, and the behaviour of the API"

_MAX_SKEW = 5.0
_MIN_FREE_SPACE = 1 << 30
_WRITERS = 8
_RACES = 5
# The file systems on which this process has run the race.
_tested_devices: Set[int] = set()


class Check(NamedTuple):
    """The result of one check."""

    name: str
    failed: bool
    detail: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    add_connection(parser)
    add_timestamp_url(parser)
    parser.add_argument(
        "--config", metavar="FILE", help="with --notify: path to a JSON file with the receivers of alerts"
    )
    parser.add_argument(
        "--notify",
        action="store_true",
        help="send a test message to every receiver of --config instead of all checks; needs no token",
    )


def run(options: argparse.Namespace, stop: threading.Event) -> int:
    if bool(options.config) != options.notify:
        raise InvalidInput("--notify and --config FILE, with the receivers, require each other; pass both or neither.")
    checks = list(_receiver_checks(options.config, stop) if options.notify else _checks(options, stop))
    failed = any(check.failed for check in checks)
    if options.json:
        print_json({"healthy": not failed, "checks": [check._asdict() for check in checks]})
    else:
        for check in checks:
            print_line(f"{'FAILED' if check.failed else 'ok':<7} {check.name:<9} {check.detail}")
    return _exit_status(checks)


def _exit_status(checks: List[Check]) -> int:
    failed = {check.name for check in checks if check.failed}
    if not failed:
        return OK
    return STORAGE if failed & {"directory", "bucket", "space", "archive"} else API


def _checks(options: argparse.Namespace, stop: threading.Event) -> Iterator[Check]:
    if is_remote(options.path):
        yield _run_check("bucket", lambda: _probe_bucket(options))
    else:
        yield _run_check("directory", lambda: _probe_directory(options.path))
        yield _run_check("space", lambda: _probe_space(options.path))
    heads: List[StoredCommit] = []
    yield _run_check("archive", lambda: _probe_archive(options, heads))
    if options.timestamp_url:
        yield _run_check("time", lambda: _probe_authority(options, stop))
    api_checks: List[Check] = []
    yield _run_check("api", lambda: with_token(options, stop, lambda api: _probe_api(options, api, heads, api_checks)))
    yield from api_checks


def _receiver_checks(path: str, stop: threading.Event) -> Iterator[Check]:
    from ...detections.config import read_config
    from ...notify.message import sample_message
    from ...notify.receivers import Receiver, parse_receivers

    message = sample_message(utc_now())

    def probe(receiver: Receiver) -> str:
        receiver.channel.send(message, stop)
        return f"{receiver.label} accepted the test message"

    for receiver in parse_receivers(read_config(path, "--config").notify):
        check = _run_check("notify", partial(probe, receiver))
        yield check._replace(detail=f"{receiver.label}: {check.detail}") if check.failed else check


def _run_check(name: str, probe: Callable[[], str]) -> Check:
    try:
        return Check(name, False, probe())
    except AuditError as error:
        return Check(name, True, error.message)
    except OSError as error:
        return Check(name, True, f"{error.filename or name}: {error.strerror or error}")


def _probe_directory(path: str) -> str:
    """Test exclusive creation and fsync on a temporary archive next to the real one."""
    parent = _nearest_directory(path)
    directory = tempfile.mkdtemp(prefix=".cloudscale-audit-doctor-", dir=parent)
    try:
        store = LocalStore(directory)
        _make_first_commit(store)
        # The race tests the file system, so one race per file system is enough on a host with hundreds of archives.
        device = os.stat(directory).st_dev
        if device not in _tested_devices:
            _race(store, parent)
            _tested_devices.add(device)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return f"{parent} creates files exclusively and durably"


def _probe_bucket(options: argparse.Namespace) -> str:
    """Test conditional writes and deletion in a temporary prefix below that of the archive."""
    from ...archive.storage.s3 import S3Store  # few archives need it

    store = S3Store(options.path, options.access)
    with store.scratch() as temporary:
        _make_first_commit(temporary)
        _race(temporary, str(store))
    return f"{store} lets only one of {_WRITERS} concurrent writers create a commit"


def _make_first_commit(store: Store) -> None:
    store.prepare(None)
    name = commit_name(FIRST_SEQUENCE)
    store.check_put_if_absent(None, pending_name(FIRST_SEQUENCE, "doctor"))
    if not store.put_if_absent(name, b"first") or read_file(store, name) != b"first":
        raise StorageError(f"{store} does not store a commit that was created there; use another storage.")


def _race(store: Store, location: str) -> None:
    """Let concurrent writers create the same commit, several times; exactly one of them must succeed."""
    writers = range(_WRITERS)
    with ThreadPoolExecutor(_WRITERS) as pool:
        for sequence in range(FIRST_SEQUENCE + 1, FIRST_SEQUENCE + 1 + _RACES):
            name = commit_name(sequence)
            won = list(pool.map(lambda writer, name=name: store.put_if_absent(name, b"%d" % writer), writers))
            if won.count(True) != 1 or read_file(store, name) != b"%d" % won.index(True):
                raise StorageError(f"{location} lets two collectors create the same commit; use another storage.")


def _probe_space(path: str) -> str:
    free = shutil.disk_usage(_nearest_directory(path)).free
    free_space = f"{free / (1 << 30):.1f} GiB free"
    if free < _MIN_FREE_SPACE:
        raise StorageError(f"Only {free_space} for {path}; free some space.")
    return free_space


def _probe_archive(options: argparse.Namespace, heads: List[StoredCommit]) -> str:
    head = find_head(store_from_options(options))
    if head is None:
        _reject_parent(options.path)
        return "none yet"
    heads.append(head)
    commits = pluralize(head.commit.sequence, "commit", "commits")
    return f"{commits}, {pluralize(head.commit.total_entries, 'entry', 'entries')}"


def _reject_parent(path: str) -> None:
    """Fail if the path has no archive, but a directory below it is one: the path is probably wrong."""
    if is_remote(path):
        return
    for pattern in ("*/commits", "*/archive/commits"):
        found = min(glob.iglob(os.path.join(glob.escape(path), pattern)), default=None)
        if found is not None:
            raise StorageError(f"There is no archive in {path}, but one in {os.path.dirname(found)}; check the path.")


def _probe_authority(options: argparse.Namespace, stop: threading.Event) -> str:
    from ...archive.timestamper import probe

    authority = authority_from_options(options)
    if authority is None:
        return "none is set"
    token = probe(authority, stop)
    unchecked = "" if authority.authorities else "; its certificate was not checked: pass --timestamp-ca"
    return f"{authority.host} issues time stamps, now {format_time(token.time)}{unchecked}"


def _probe_api(options: argparse.Namespace, api: Api, heads: List[StoredCommit], checks: List[Check]) -> str:
    """Read a page, and add checks of the page and of the API's behaviour, on the same connection."""
    from ...project_log.conformance import Conformance  # slow to import, and loaded with all commands

    page = api.page(api.first_url())
    checks.append(_run_check("project", lambda: _probe_project(options, page, heads)))
    checks.append(_run_check("clock", lambda: _probe_clock(page)))
    checks.extend(_run_check(name, check) for name, check in Conformance(api, page).checks())
    return "the token can read a project's log"


def _probe_project(options: argparse.Namespace, page: Page, heads: List[StoredCommit]) -> str:
    labels = {label.uuid: label for label in map(subject, page.entries) if label.kind == "project" and label.uuid}
    archived = heads[0].commit.project.uuid if heads else None
    if archived is not None and labels and archived not in labels:
        raise StorageError(
            f"The token belongs to another project than the archive {options.path} ({to_printable(archived)}); pass "
            "the token of this project."
        )
    return ", ".join(f"{label} ({to_printable(uuid)})" for uuid, label in labels.items()) or "no entry names it yet"


def _probe_clock(page: Page) -> str:
    if page.server_date is None:
        raise StorageError("The API sent no time, so an archive could not record what it covers.")
    skew = (utc_now() - page.server_date).total_seconds()
    if abs(skew) > _MAX_SKEW:
        raise StorageError(f"This host's clock differs from the API's by {skew:.0f} s; correct it.")
    return f"within {_MAX_SKEW:.0f} s of the API's"


def _nearest_directory(path: str) -> str:
    """The path itself, or its nearest parent that is a directory."""
    path = os.path.abspath(os.path.expanduser(path))
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path
