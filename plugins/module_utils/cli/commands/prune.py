# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removes the oldest days of the archive."""

from __future__ import annotations

import argparse
import threading
from datetime import datetime

from ...errors import InvalidInput
from ...times import parse_age, utc_now
from ..exit_status import OK
from ..maintenance import add_options, rearrange
from ..output import say

ABOUT = "remove the oldest days for good; the rest stays provable"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser)
    parser.add_argument(
        "--older-than", metavar="AGE", help="what goes: 3y, 1095d, or all before a date; whole days only"
    )


def run(options: argparse.Namespace, stop: threading.Event) -> int:
    from ...archive.maintenance import prune

    if not options.older_than:
        return _nothing_to_prune(options)
    parse_age(options.older_than, utc_now(), "--older-than")  # refused before the archive is opened

    def before(now: datetime) -> datetime:
        return parse_age(options.older_than, now, "--older-than")

    rearrange(options, stop, lambda store, context: prune(store, before, context), "removed")
    return OK


def _nothing_to_prune(options: argparse.Namespace) -> int:
    """A project without a retention policy keeps everything.

    :raises InvalidInput: the age of a single archive is missing.
    """
    if not options.projects:
        raise InvalidInput("--older-than is missing; pass an age such as 3y or 1095d, or a date.")
    say("No retention policy: nothing is removed.")
    return OK
