# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removes the oldest days of the archive."""

from __future__ import annotations

import argparse
import threading
from datetime import datetime

from ...times import parse_age, utc_now
from ..exit_status import OK
from ..maintenance import add_options, rearrange

ABOUT = "remove the oldest days for good; the rest stays provable"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser)
    parser.add_argument(
        "--older-than", metavar="AGE", required=True, help="what goes: 3y, 1095d, or all before a date; whole days only"
    )


def run(options: argparse.Namespace, stop: threading.Event) -> int:
    from ...archive.maintenance import prune

    parse_age(options.older_than, utc_now(), "--older-than")  # refused before the archive is opened

    def before(now: datetime) -> datetime:
        return parse_age(options.older_than, now, "--older-than")

    rearrange(options, stop, lambda store, context: prune(store, before, context), "removed")
    return OK
