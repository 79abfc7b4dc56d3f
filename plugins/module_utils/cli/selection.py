# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which entries of an archive a command is about."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Tuple

from ..settings import Range
from ..times import utc_now
from .flags import flag
from .time_zone import zone_from_options

if TYPE_CHECKING:
    from ..project_log.selection import Selection


def add_range(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--start", metavar="TIME", help="only entries of this moment or later")
    parser.add_argument("--end", metavar="TIME", help="only entries before this moment")


def add_selection(parser: argparse.ArgumentParser, with_resource: bool = True) -> None:
    add_range(parser)
    add_conditions(parser, with_resource)
    parser.add_argument("--limit", metavar="N", help="only the newest N matches")


def add_conditions(parser: argparse.ArgumentParser, with_resource: bool = True) -> None:
    parser.add_argument("--action", dest="actions", action="append", metavar="GLOB", help="only these actions")
    parser.add_argument("--actor", dest="actors", action="append", metavar="NAME", help="only changes by these")
    parser.add_argument("--ip-network", dest="ip_networks", action="append", metavar="NETWORK", help="only from these")
    parser.add_argument("--message-pattern", metavar="REGEX", help="only entries whose message matches this")
    if with_resource:
        parser.add_argument(
            "--resource",
            dest="resources",
            action="append",
            metavar="GLOB",
            help="only entries whose message names one of these resources; best effort",
        )


def range_from_options(options: argparse.Namespace) -> Range:
    return Range.from_mapping({"start": options.start, "end": options.end}, utc_now(), zone_from_options(options), flag)


def range_and_selection(options: argparse.Namespace) -> Tuple[Range, Selection]:
    return range_from_options(options), selection_from_options(options)


def selection_from_options(options: argparse.Namespace) -> Selection:
    from ..project_log.selection import Selection

    return Selection.from_mapping(vars(options), flag)
