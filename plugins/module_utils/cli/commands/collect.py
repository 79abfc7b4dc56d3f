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
from ..heads import publish_head
from ..metrics import add_metrics, measure
from ..output import add_json, format_moment, is_captured, print_gaps, print_json, print_line, warn
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
    parser.add_argument("--project", default="", metavar="NAME", help="name of the project, stored in the archive")
    parser.add_argument("--start", metavar="TIME", help="start of a new archive (default: the oldest available entry)")
    parser.add_argument(
        "--accept-identity",
        action="store_true",
        help="continue after a change of token or API URL if the API has no entry left to compare with the archive",
    )
    add_signing(parser)
    add_timestamping(parser)
    parser.add_argument("--dry-run", action="store_true", help="write nothing; print what would be added")
    add_metrics(parser)


class _CollectMetrics:
    """The facts for the metrics of a run: the newest commit, the result, and the clock skew if it ended the run."""

    head: Optional[StoredCommit] = None
    result: Optional[CollectResult] = None
    skew: Optional[float] = None

    def samples(self) -> List[Sample]:
        from ...archive.metrics import Sample, archive_samples

        skew = self.result.clock_skew_seconds if self.result else self.skew
        samples = [] if skew is None else [Sample("clock_skew_seconds", skew)]
        if self.head is None:
            return samples
        covered_until = self.result.covered_until if self.result else None
        return [*samples, *archive_samples(self.head.commit, utc_now(), covered_until)]


def run(options: argparse.Namespace, stop: threading.Event) -> int:
    metrics = _CollectMetrics()
    zone = zone_from_options(options)
    timestamping = Timestamping(options)
    store = store_from_options(options)
    writes = not options.dry_run
    with measure(
        "collect",
        options.metrics if writes else None,
        str(store),
        options.project,
        options.state if writes else None,
    ) as measurement:
        measurement.samples = metrics.samples

        def on_head(head: StoredCommit) -> None:
            metrics.head = head
            measurement.record_head(head)

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
                metrics.skew = error.seconds
                raise

        done = metrics.result = with_token(options, stop, collect_once)
        measurement.covered_until = done.covered_until
        measurement.end(GAP if done.gaps else OK)
        if writes:
            timestamping.stamp(store, metrics.head, stop)
        if timestamping.failure:
            measurement.end(worst([measurement.status, exit_status(timestamping.failure)]), succeeded=False)
            measurement.failure = {"msg": timestamping.failure.message, **timestamping.failure.failure}
        status = measurement.status
    _warn_of_ignored_start(settings, done, zone)
    timestamp = timestamping.newest
    if options.json:
        print_json({**done.to_json(), "timestamp": timestamp.to_json() if timestamp else None})
    else:
        _print_result(done, options.dry_run, zone)
        if timestamp:
            stamped_at = format_moment(timestamp.time, zone)
            print_line(f"Time stamp: commit {timestamp.head.sequence} existed by {stamped_at}.")
    if writes:
        publish_head(metrics.head, options.json)
    return status


def _warn_of_ignored_start(settings: CollectSettings, done: CollectResult, zone: tzinfo) -> None:
    existed_before = done.commits > done.commits_added
    # A projects file passes the start of each archive in every run, so there is no warning for several archives.
    if settings.start and existed_before and done.covered_from != settings.start and not is_captured():
        covered_from = format_moment(done.covered_from, zone)
        warn(f"--start is ignored, because the archive exists already and covers the log from {covered_from}.")


def _print_result(done: CollectResult, dry_run: bool, zone: tzinfo) -> None:
    verb = "would be added" if dry_run else "added"
    commits = pluralize(done.commits_added, "commit", "commits")
    print_line(f"{pluralize(done.added, 'entry', 'entries')} {verb} in {commits}.")
    if done.renamed:
        renamed = pluralize(done.renamed, "archived entry", "archived entries")
        print_line(f"The API now returns {renamed} with a changed name.")
    print_line(f"State: {done.state}. Covered until {format_moment(done.covered_until, zone)}.")
    print_gaps(done.gaps, zone)
