# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares the archive with what the provider still has."""

from __future__ import annotations

import argparse
import threading
from typing import TYPE_CHECKING, List, Optional

from ...archive.storage.open import existing_archive
from ...settings import Connection, Range
from ..connection import WatchedApi, add_connection, with_token
from ..exit_status import FINDINGS, FINE
from ..metrics import add_metrics, findings_samples, measured
from ..output import add_json, number, print_json, say, tell_findings, when
from ..selection import add_span, span_of

if TYPE_CHECKING:
    from ...archive.finding import Finding
    from ...archive.reconciler import Reconciliation

ABOUT = "read the log again by time, and compare the archive with it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    add_connection(parser)
    add_span(parser)
    add_metrics(parser)


def run(options: argparse.Namespace, stop: threading.Event) -> int:
    span = span_of(options)
    problems: Optional[List[Finding]] = None
    with measured("reconcile", options, lambda _commit: findings_samples("reconcile", problems)) as measurement:
        told = with_token(options, lambda connection: _reconcile_once(options, connection, span, stop))
        problems = [finding for finding in told.findings if not finding.is_warning]
        measurement.status, measurement.succeeded = FINDINGS if problems else FINE, not problems
    if options.json:
        findings = [finding._asdict() for finding in told.findings]
        print_json({"same": not problems, "compared": told.to_json(), "findings": findings})
    else:
        tell_findings(told.findings)
        if told.start:
            count = number(told.entries, "entry", "entries")
            result = "they differ" if problems else "the archive has what the provider has"
            say(f"Compared {count} from {when(told.start)} to {when(told.end)}: {result}.")
    return measurement.status


def _reconcile_once(
    options: argparse.Namespace, connection: Connection, span: Range, stop: threading.Event
) -> Reconciliation:
    from ...archive.reconciler import reconcile

    store = existing_archive(options.path)
    with WatchedApi(connection, stop=stop) as api:
        return reconcile(store, api, span)
