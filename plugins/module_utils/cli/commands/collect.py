# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads new entries of the log into the archive."""

from __future__ import annotations

import argparse
import threading
from datetime import tzinfo
from typing import TYPE_CHECKING, List, Optional

from ...archive.chain.chain import StoredCommit
from ...archive.collector import CollectResult, CollectSettings, collect
from ...counts import pluralize
from ...errors import ClockSkew
from ...project_log.client import Api
from ...settings import Range
from ...times import utc_now
from ..archive import store_from_options
from ..connection import add_connection, with_token
from ..exit_status import GAP, OK, exit_status, worst
from ..flags import flag
from ..heads import note_head
from ..metrics import add_metrics, measure
from ..output import add_json, is_captured, print_gaps, print_json, print_line, warn, when
from ..signing import add_signing, context_from_options
from ..time_zone import add_time_zone, zone_from_options
from ..timestamps import Timestamping, add_timestamping

if TYPE_CHECKING:
    from ...archive.metrics import Sample

ABOUT = "read new entries of a project's log into the archive"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    add_connection(parser)
    add_time_zone(parser)
    parser.add_argument("--project", default="", metavar="NAME", help="a label for the archive")
    parser.add_argument("--start", metavar="TIME", help="start of a new archive (default: the oldest entry available)")
    parser.add_argument(
        "--accept-identity",
        action="store_true",
        help="continue although another token or api_url can no longer be compared with the archive",
    )
    add_signing(parser)
    add_timestamping(parser)
    parser.add_argument("--dry-run", action="store_true", help="write nothing, print what would be added")
    add_metrics(parser)


class _CollectMetrics:
    """What the run found out, for metrics: the newest commit that it saw, and how far the clocks were apart."""

    link: Optional[StoredCommit] = None
    result: Optional[CollectResult] = None
    skew: Optional[float] = None

    def samples(self) -> List[Sample]:
        from ...archive.metrics import Sample, archive_samples

        skew = self.result.clock_skew_seconds if self.result else self.skew
        found = [] if skew is None else [Sample("clock_skew_seconds", skew)]
        if self.link is None:
            return found
        covered = self.result.covered_until if self.result else None
        return [*found, *archive_samples(self.link.commit, utc_now(), covered)]


def run(options: argparse.Namespace, stop: threading.Event) -> int:
    newest = _CollectMetrics()
    zone = zone_from_options(options)
    stamping = Timestamping(options)
    store = store_from_options(options)
    kept = not options.dry_run
    with measure(
        "collect",
        options.metrics if kept else None,
        str(store),
        options.project,
        options.state if kept else None,
    ) as measurement:
        measurement.samples = newest.samples

        def on_head(link: StoredCommit) -> None:
            newest.link = link
            measurement.note_head(link)

        settings = CollectSettings(
            project=options.project,
            start=Range.from_mapping({"start": options.start}, utc_now(), zone, flag).start,
            accept_identity=options.accept_identity,
        )
        context = context_from_options(options, store, stop, on_head)

        def collect_once(api: Api) -> CollectResult:
            try:
                return collect(store, api, settings, context)
            except ClockSkew as error:
                newest.skew = error.seconds
                raise

        done = newest.result = with_token(options, stop, collect_once)
        measurement.covered_until = done.covered_until
        measurement.end(GAP if done.gaps else OK)
        if kept:
            stamping.stamp(store, newest.link, stop)
        if stamping.failure:
            measurement.end(worst([measurement.status, exit_status(stamping.failure)]), succeeded=False)
            measurement.failure = {"msg": stamping.failure.message, **stamping.failure.failure}
        status = measurement.status
    existed = done.commits > done.commits_added
    # The projects file names the start of an archive in every run.
    if settings.start and existed and done.covered_from != settings.start and not is_captured():
        covered = when(done.covered_from, zone)
        warn(f"--start is ignored, because the archive exists already and covers the log from {covered}.")
    if options.json:
        print_json({**done.to_json(), "timestamp": stamping.newest.to_json() if stamping.newest else None})
    else:
        _print_result(done, options.dry_run, zone)
        if stamping.newest:
            print_line(
                f"Time stamp: commit {stamping.newest.head.sequence} existed by {when(stamping.newest.time, zone)}."
            )
    if kept:
        note_head(newest.link, options.json)
    return status


def _print_result(done: CollectResult, dry_run: bool, zone: tzinfo) -> None:
    verb = "would be added" if dry_run else "added"
    commits = pluralize(done.commits_added, "commit", "commits")
    print_line(f"{pluralize(done.added, 'entry', 'entries')} {verb} in {commits}.")
    if done.renamed:
        known = pluralize(done.renamed, "archived entry looks", "archived entries look")
        print_line(f"{known} different now: a name was changed.")
    print_line(f"State: {done.state}. Covered until {when(done.covered_until, zone)}.")
    print_gaps(done.gaps, zone)
