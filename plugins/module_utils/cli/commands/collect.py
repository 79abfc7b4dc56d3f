# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads what is new in the log into the archive."""

from __future__ import annotations

import argparse
import threading
from typing import TYPE_CHECKING, List, Optional

from ...archive.chain.pin import Hint
from ...archive.chain.status import Status
from ...archive.collector import CollectSettings, collect
from ...archive.storage.open import store_at
from ...settings import Connection, Range
from ...times import utc_now
from ..connection import WatchedApi, add_connection, with_token
from ..exit_status import FINE, GAP
from ..metrics import add_metrics, measured
from ..output import add_json, number, print_json, say, tell_gaps, when
from ..signing import add_sign_key, check_sign_key, sign_head

if TYPE_CHECKING:
    from ...archive.format.commit import Commit
    from ...archive.metrics import Sample

ABOUT = "read what is new in a project's log into the archive"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    add_connection(parser)
    parser.add_argument("--project", default="", metavar="NAME", help="a label for the archive")
    parser.add_argument("--start", metavar="TIME", help="where a new archive begins (default: the oldest entry kept)")
    parser.add_argument("--pin", metavar="FILE", help="remembers the head outside the archive, so that a cut is seen")
    parser.add_argument(
        "--accept-identity",
        action="store_true",
        help="go on although another token or api_url can no longer be compared with what the archive holds",
    )
    add_sign_key(parser)
    parser.add_argument("--dry-run", action="store_true", help="write nothing, tell what would come")
    add_metrics(parser)


def run(options: argparse.Namespace, stop: threading.Event) -> int:
    if options.dry_run:
        options.metrics = None
    done = Status()
    with measured("collect", options, lambda commit: _samples(commit, done)) as measurement:
        settings = CollectSettings(
            project=options.project,
            start=Range.from_mapping({"start": options.start}, utc_now()).start,
            accept_identity=options.accept_identity,
        )
        check_sign_key(options)
        done = with_token(options, lambda connection: _collect_once(options, connection, settings, stop))
        if done.commits and done.head and not options.dry_run:
            sign_head(options, store_at(options.path), done.head)
        measurement.status, measurement.succeeded = GAP if done.gaps else FINE, True
    if options.json:
        print_json(done.to_json())
    else:
        _tell_collected(done, options.dry_run)
    return measurement.status


def _collect_once(
    options: argparse.Namespace, connection: Connection, settings: CollectSettings, stop: threading.Event
) -> Status:
    hint = Hint(options.pin) if options.pin else None
    with WatchedApi(connection, stop=stop) as api:
        return collect(store_at(options.path), api, settings, hint=hint, stop=stop, dry_run=options.dry_run)


def _samples(commit: Optional[Commit], done: Status) -> List[Sample]:
    from ...archive.metrics import archive_samples

    return archive_samples(commit, utc_now(), done.covered_until) if commit else []


def _tell_collected(done: Status, dry_run: bool) -> None:
    verb = "would be added" if dry_run else "added"
    say(f"{number(done.added, 'entry', 'entries')} {verb} in {number(done.commits, 'commit', 'commits')}.")
    if done.rerendered:
        say(f"{done.rerendered} were there already and look different now: a name was changed.")
    say(f"State: {done.state}. Covered until {when(done.covered_until)}.")
    tell_gaps(done.gaps)
