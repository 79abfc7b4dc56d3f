# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sends new alerts of the archive to receivers."""

from __future__ import annotations

import argparse
import threading
from typing import TYPE_CHECKING, List, Optional

from ...counts import pluralize
from ...errors import NotDelivered
from ..archive import check_exists, store_from_options
from ..exit_status import API, OK
from ..metrics import add_metrics, measure
from ..output import add_json, print_json, print_line, print_note

if TYPE_CHECKING:
    from ...archive.metrics import Sample
    from ...notify.notifier import DeliveryResult, NotifyResult

ABOUT = "send new alerts of the archive by webhook, mail, journal or command; needs no token"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    parser.add_argument(
        "--config",
        metavar="FILE",
        required=True,
        help="path to a JSON file with detections, facts of the site, and receivers",
    )
    parser.add_argument(
        "--bookmark",
        metavar="FILE",
        help="path to the file that stores the position of each receiver; created if missing (default: in the state "
        "directory)",
    )
    parser.add_argument(
        "--from-start", action="store_true", help="send new receivers the alerts of all entries in the archive"
    )
    parser.add_argument(
        "--socket", metavar="PATH", help="path to the socket of another journald, such as that of a namespace"
    )
    add_metrics(parser)


def run(options: argparse.Namespace, stop: threading.Event) -> int:
    from ...detections.config import read_config
    from ...notify.notifier import Notifier
    from ...notify.positions import PositionFile
    from ...notify.receivers import parse_receivers

    store = store_from_options(options)
    with measure("notify", options.metrics, str(store), state=options.state) as measurement:
        config = read_config(options.config, "--config")
        receivers = parse_receivers(config.notify, options.socket)
        check_exists(store)
        file = PositionFile(_bookmark_path(options), str(store))
        notifier = Notifier(store, file, config, receivers, stop, options.from_start, print_note)
        done = notifier.run(measurement.record_head)
        measurement.samples = lambda: _samples(done)
        error = _error(done.deliveries)
        measurement.end(API if error else OK, succeeded=error is None)
        measurement.failure = {"msg": error.message, **error.failure} if error else None
    if options.json:
        receivers_done = [delivery.to_json() for delivery in done.deliveries]
        failure = {"msg": error.message, "failure": error.failure} if error else {}
        print_json({"receivers": receivers_done, "pruned": done.pruned, **failure})
        return measurement.status
    for delivery in done.deliveries:
        print_line(f"{pluralize(delivery.alerts, 'alert', 'alerts')} sent to {delivery.receiver}.")
    if done.pruned:
        print_line(f"{pluralize(done.pruned, 'entry', 'entries')} were pruned before they could be checked.")
    if error:
        raise error
    return measurement.status


def _bookmark_path(options: argparse.Namespace) -> str:
    if options.bookmark:
        return str(options.bookmark)
    options.state.create_directory()
    return str(options.state.path_of("notify.json"))


def _error(deliveries: List[DeliveryResult]) -> Optional[NotDelivered]:
    """The error about all receivers that failed, if any."""
    reasons = [f"{result.receiver}: {result.failure.message.rstrip('.')}" for result in deliveries if result.failure]
    if not reasons:
        return None
    return NotDelivered(f"Not all alerts were delivered; the next run retries them: {'; '.join(reasons)}.")


def _samples(done: NotifyResult) -> List[Sample]:
    from ...archive.metrics import Sample
    from ...detections.detection import SEVERITIES

    return [Sample("alerts_total", done.alert_counts.get(name, 0), (("severity", name),)) for name in SEVERITIES]
