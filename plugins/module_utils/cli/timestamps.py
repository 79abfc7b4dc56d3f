# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time stamps on the command line: flags, the request after a run, and the result of a verification."""

from __future__ import annotations

import argparse
import threading
from typing import TYPE_CHECKING, Optional

from ..archive.chain.chain import StoredCommit
from ..archive.storage.store import Store
from ..counts import pluralize
from ..errors import AuditError, InvalidInput
from ..times import parse_duration
from .flags import flag
from .output import format_duration, format_moment, print_line, print_note

if TYPE_CHECKING:
    from datetime import timedelta

    from ..archive.chain.timestamp import Authorities
    from ..archive.timestamp_check import Timestamps
    from ..archive.timestamper import Authority, HeadTimestamp

_EVERY = "1d"
_MAX_PRINTED = 20


def add_timestamping(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a command that can request a time stamp for the head."""
    add_timestamp_url(parser)
    parser.add_argument(
        "--timestamp-every",
        metavar="DURATION",
        help=f"minimum time between two time stamps, such as 12h or 7d (default: {_EVERY})",
    )
    parser.add_argument(
        "--timestamp-required",
        action="store_true",
        help="exit with status 3 if a due time stamp fails; the commits are made in any case",
    )


def add_timestamp_url(parser: argparse.ArgumentParser) -> None:
    """Add the flags for a time stamping authority."""
    parser.add_argument(
        "--timestamp-url",
        metavar="URL",
        help="URL of a time stamping authority (RFC 3161) that stamps the head; requires openssl",
    )
    add_timestamp_ca(parser)


def add_timestamp_ca(parser: argparse.ArgumentParser) -> None:
    """Add the flag for the trusted time stamping authorities."""
    parser.add_argument(
        "--timestamp-ca",
        metavar="FILE",
        help="path to the certificates, in PEM, of the trusted time stamping authorities",
    )


def authorities_from_options(options: argparse.Namespace) -> Optional[Authorities]:
    """The trusted time stamping authorities; None without the flag.

    :raises InvalidInput: the file is not valid.
    """
    if not options.timestamp_ca:
        return None
    from ..archive.chain.timestamp import Authorities  # few runs need it

    return Authorities(options.timestamp_ca)


def authority_from_options(options: argparse.Namespace) -> Optional[Authority]:
    """The time stamping authority; None without the flag.

    :raises InvalidInput: the URL or the file of certificates is not valid.
    """
    if not options.timestamp_url:
        return None
    from ..archive.timestamper import Authority

    authority = Authority(options.timestamp_url, authorities_from_options(options))
    authority.check_url(flag("timestamp_url"))
    return authority


class Timestamping:
    """Requests a time stamp after a run, if one is due; does nothing without an authority.

    ``newest`` is the newest known time stamp. ``failure`` is set if a required time stamp failed.
    """

    newest: Optional[HeadTimestamp] = None
    failure: Optional[AuditError] = None

    def __init__(self, options: argparse.Namespace) -> None:
        """:raises InvalidInput: a flag is not valid, or requires another one."""
        self._authority = authority_from_options(options)
        self._is_required: bool = options.timestamp_required
        self._every: timedelta = parse_duration(options.timestamp_every or _EVERY, flag("timestamp_every"))
        for name in ("timestamp_every", "timestamp_required"):
            if self._authority is None and getattr(options, name):
                raise InvalidInput(f"{flag(name)} requires --timestamp-url.")

    def stamp(self, store: Store, head: Optional[StoredCommit], stop: threading.Event) -> None:
        """Request a time stamp for the head if one is due. The commits remain even if this fails."""
        if self._authority is None or head is None:
            return
        from ..archive.timestamper import newest_timestamp, stamp_head

        try:
            self.newest = newest_timestamp(store)
            self.newest = stamp_head(store, head, self.newest, self._authority, self._every, stop)
        except AuditError as error:
            print_note(f"{'' if self._is_required else 'warning: '}{error.message} The head has no time stamp.")
            self.failure = error if self._is_required else None


def print_timestamps(found: Timestamps) -> None:
    """Print by when each head existed, for a verification without findings."""
    older = len(found.heads) - _MAX_PRINTED
    if older > 0:
        print_line(f"Time stamps of {pluralize(older, 'older commit', 'older commits')} are valid; --json has all.")
    for stamped in found.heads[-_MAX_PRINTED:]:
        print_line(
            f"Commit {stamped.head.sequence} existed by {format_moment(stamped.time)}, as did all earlier commits."
        )
    wait = found.longest_wait
    if wait:
        within = format_duration(wait.time - wait.server_date) or "a minute"
        longest = f"longest: commit {wait.sequence}"
        print_line(f"Each of these commits existed within {within} of the date in it ({longest}).")
    if found.unstamped:
        print_line(f"{pluralize(found.unstamped, 'newer commit has', 'newer commits have')} no time stamp yet.")
