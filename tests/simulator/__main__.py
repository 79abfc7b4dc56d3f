# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulator in the foreground: prints one JSON line when it is ready, ends on SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import json
import os
import signal
from datetime import datetime, timedelta, timezone
from typing import List, Optional

from .control import describe
from .history import bulk, history
from .server import Simulator
from .state import PAGE_SIZE, RANGE_MODES, Project

_BULK_DAYS = 80


def main(arguments: Optional[List[str]] = None) -> None:
    options = _parser().parse_args(arguments)
    # Blocked before any thread begins, so that every thread leaves them to sigwait.
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with _simulator(options) as simulator:
        projects = {project.name: describe(project) for project in simulator.projects}
        ready = {"url": simulator.url, "ca_path": simulator.ca_path, "projects": projects, "pid": os.getpid()}
        print(json.dumps(ready), flush=True)
        signal.sigwait(signals)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) lets the system choose")
    parser.add_argument("--tls", metavar="DIR", help="speak TLS; DIR keeps the test CA (ca.pem) over restarts")
    parser.add_argument("--page-size", type=int, default=PAGE_SIZE)
    parser.add_argument("--latency", type=float, default=0, metavar="MS", help="milliseconds before each answer")
    parser.add_argument("--retention", type=float, default=90, metavar="DAYS", help="0 keeps all (default: 90)")
    parser.add_argument("--expired-cursor", default="oldest", help="oldest, refuse or an HTTP status")
    parser.add_argument("--range-in-urls", default="dropped", choices=RANGE_MODES)
    parser.add_argument("--history-weeks", type=float, default=0, metavar="N", help="begin each log with a past")
    parser.add_argument("--entries", type=int, default=0, metavar="N", help="begin each log with N plain entries")
    parser.add_argument("--ended", type=float, default=0, metavar="HOURS", help="age of the last of these")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--project", action="append", default=[], metavar="NAME", help="additional project; can be repeated"
    )
    parser.add_argument("--token", action="append", default=[], metavar="NAME=TOKEN", help="a project's token")
    return parser


def _simulator(options: argparse.Namespace) -> Simulator:
    expired = options.expired_cursor
    simulator = Simulator(
        page_size=options.page_size,
        latency=options.latency / 1000,
        tls=options.tls or False,
        retention=timedelta(days=options.retention) if options.retention else None,
        expired_cursor=int(expired) if expired.isdigit() else expired,
        range_in_urls=options.range_in_urls,
        host=options.host,
        port=options.port,
    )
    tokens = dict(pair.split("=", 1) for pair in options.token)
    for name in dict.fromkeys([*options.project, *tokens]):
        if name not in simulator.state.projects:
            simulator.add_project(name)
        simulator.project(name).rotate_token(tokens.get(name))
    for number, project in enumerate(simulator.projects):
        _fill(project, options, options.seed + number)
    return simulator


def _fill(project: Project, options: argparse.Namespace, seed: int) -> None:
    now = datetime.now(timezone.utc)
    if options.entries:
        first, end = now - timedelta(days=_BULK_DAYS), now - timedelta(hours=options.ended)
        project.log.extend(bulk(options.entries, first, end, seed, project.log.subject))
    if options.history_weeks:
        project.log.extend(history(options.history_weeks, now, seed, project.log.subject))


if __name__ == "__main__":
    main()
