# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The time zone in which a command shows times and reads dates."""

from __future__ import annotations

import argparse
from datetime import timezone, tzinfo


def add_time_zone(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--time-zone",
        metavar="ZONE",
        help="time zone of printed times and of dates in --start and --end, such as Europe/Zurich (default: UTC)",
    )


def zone_from_options(options: argparse.Namespace) -> tzinfo:
    """The time zone of the flag; UTC without it, or if the command has no such flag.

    :raises InvalidInput: the time zone is unknown on this host.
    """

    name = getattr(options, "time_zone", None)
    if name is None:
        return timezone.utc
    from ..working_hours import time_zone  # few runs need it

    return time_zone(name, "--time-zone")
