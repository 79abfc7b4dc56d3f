# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every run that writes to an archive is given besides its work."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Callable, Optional

from ..times import utc_now
from .chain.chain import Link
from .chain.pin import HeadPin


def new_nonce() -> str:
    """A random word that no other run has."""
    return secrets.token_hex(8)


def _ignore(_link: Link) -> None:
    pass


@dataclass(frozen=True)
class RunContext:
    """The surroundings of one run.

    ``pin`` remembers the head outside the archive. ``stop`` ends the run where it is safe, with :class:`Cancelled`.
    With ``dry_run`` nothing is written; the result tells what would be. ``on_head`` is called with each head that the
    run finds or creates. ``now`` (an aware time) and ``nonce`` (a new word of digits and lower-case letters) are seams
    for tests.
    """

    pin: Optional[HeadPin] = None
    stop: threading.Event = field(default_factory=threading.Event)
    dry_run: bool = False
    on_head: Callable[[Link], None] = _ignore
    now: Callable[[], datetime] = utc_now
    nonce: Callable[[], str] = new_nonce
