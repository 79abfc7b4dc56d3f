# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The flags that select entries of an archive, and their values."""

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
    parser.add_argument("--start", metavar="TIME", help="only entries since this time, inclusive")
    parser.add_argument("--end", metavar="TIME", help="only entries before this time")


def add_selection(parser: argparse.ArgumentParser, with_resource: bool = True) -> None:
    add_range(parser)
    add_conditions(parser, with_resource)
    parser.add_argument("--limit", metavar="N", help="maximum number of entries, at least 1; the newest are kept")


def add_conditions(parser: argparse.ArgumentParser, with_resource: bool = True) -> None:
    parser.add_argument(
        "--action",
        dest="actions",
        action="append",
        metavar="GLOB",
        help="only entries whose action matches, such as 'server_*'; repeat for several",
    )
    parser.add_argument(
        "--actor",
        dest="actors",
        action="append",
        metavar="NAME",
        help="only entries by this actor: an e-mail address, a token's description or uuid, 'system' or 'admin'; "
        "repeat for several",
    )
    parser.add_argument(
        "--ip-network",
        dest="ip_networks",
        action="append",
        metavar="NETWORK",
        help="only entries from this network, such as 192.0.2.0/24; repeat for several",
    )
    parser.add_argument(
        "--message-pattern", metavar="REGEX", help="only entries whose message contains a match of this expression"
    )
    if with_resource:
        parser.add_argument(
            "--resource",
            dest="resources",
            action="append",
            metavar="GLOB",
            help="only entries whose message names a matching resource; best effort; repeat for several",
        )


def range_from_options(options: argparse.Namespace) -> Range:
    return Range.from_mapping({"start": options.start, "end": options.end}, utc_now(), zone_from_options(options), flag)


def range_and_selection(options: argparse.Namespace) -> Tuple[Range, Selection]:
    return range_from_options(options), selection_from_options(options)


def selection_from_options(options: argparse.Namespace) -> Selection:
    from ..project_log.selection import Selection

    return Selection.from_mapping(vars(options), flag)
