# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The flags about time stamps, the one that a run asks for, and what a verification found out about them."""

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
from .output import format_duration, print_line, print_note, when

if TYPE_CHECKING:
    from datetime import timedelta

    from ..archive.chain.timestamp import Authorities
    from ..archive.timestamp_check import Timestamps
    from ..archive.timestamper import Authority, HeadTimestamp

_EVERY = "1d"
_MAX_PRINTED = 20


def add_timestamping(parser: argparse.ArgumentParser) -> None:
    """The flags of a command that can have a head stamped."""
    add_timestamp_url(parser)
    parser.add_argument(
        "--timestamp-every", metavar="DURATION", help=f"shortest time between two time stamps (default: {_EVERY})"
    )
    parser.add_argument(
        "--timestamp-required",
        action="store_true",
        help="end with status 3 if a time stamp is due and there is none; the commits are made in any case",
    )


def add_timestamp_url(parser: argparse.ArgumentParser) -> None:
    """The flags that name an authority."""
    parser.add_argument(
        "--timestamp-url",
        metavar="URL",
        help="a time stamping authority (RFC 3161) that stamps the head; needs openssl",
    )
    add_timestamp_ca(parser)


def add_timestamp_ca(parser: argparse.ArgumentParser) -> None:
    """The flag that says whose time stamps count."""
    parser.add_argument(
        "--timestamp-ca", metavar="FILE", help="certificates, in PEM, of the authorities whose time stamps count"
    )


def authorities_from_options(options: argparse.Namespace) -> Optional[Authorities]:
    """Those whose time stamps count, if they were given.

    :raises InvalidInput: the file cannot be used.
    """
    if not options.timestamp_ca:
        return None
    from ..archive.chain.timestamp import Authorities  # few runs need it

    return Authorities(options.timestamp_ca)


def authority_from_options(options: argparse.Namespace) -> Optional[Authority]:
    """The authority that was given, if one was.

    :raises InvalidInput: it, or what belongs to it, cannot be used.
    """
    if not options.timestamp_url:
        return None
    from ..archive.timestamper import Authority

    authority = Authority(options.timestamp_url, authorities_from_options(options))
    authority.check_url(flag("timestamp_url"))
    return authority


class Timestamping:
    """What a run does about time stamps after its commits; nothing without an authority.

    ``newest`` is the newest time stamp that the run knows, ``failure`` why there is none that is required.
    """

    newest: Optional[HeadTimestamp] = None
    failure: Optional[AuditError] = None

    def __init__(self, options: argparse.Namespace) -> None:
        """:raises InvalidInput: the flags cannot be used, whatever the archive is."""
        self._authority = authority_from_options(options)
        self._is_required: bool = options.timestamp_required
        self._every: timedelta = parse_duration(options.timestamp_every or _EVERY, flag("timestamp_every"))
        for name in ("timestamp_every", "timestamp_required"):
            if self._authority is None and getattr(options, name):
                raise InvalidInput(f"{flag(name)} needs --timestamp-url.")

    def stamp(self, store: Store, link: Optional[StoredCommit], stop: threading.Event) -> None:
        """Have the head stamped if that is due. Whatever goes wrong, the commits are made."""
        if self._authority is None or link is None:
            return
        from ..archive.timestamper import newest_timestamp, stamp_head

        try:
            self.newest = newest_timestamp(store)
            self.newest = stamp_head(store, link, self.newest, self._authority, self._every, stop)
        except AuditError as error:
            print_note(f"{'' if self._is_required else 'warning: '}{error.message} The head has no time stamp.")
            self.failure = error if self._is_required else None


def print_timestamps(found: Timestamps) -> None:
    """Print by when each head existed, if nothing is wrong."""
    older = len(found.heads) - _MAX_PRINTED
    if older > 0:
        print_line(f"Time stamps of {pluralize(older, 'older commit', 'older commits')} are good, too; --json has all.")
    for one in found.heads[-_MAX_PRINTED:]:
        print_line(f"Commit {one.head.sequence} existed by {when(one.time)}, and so did all before it.")
    wait = found.longest_wait
    if wait:
        within = format_duration(wait.time - wait.server_date) or "a minute"
        longest = f"longest: commit {wait.sequence}"
        print_line(f"Up to there, every commit is shown to exist within {within} of the date in it ({longest}).")
    if found.unstamped:
        print_line(f"{pluralize(found.unstamped, 'newer commit has', 'newer commits have')} no time stamp yet.")
