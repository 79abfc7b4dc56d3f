# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Defines the context of a run that writes to an archive: pin, keys, callbacks, and the clock."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Callable, Optional

from ..settings import OptionNamer
from ..times import utc_now
from .chain.chain import StoredCommit
from .chain.pin import HeadPin
from .format.commit import Head

if TYPE_CHECKING:
    from .chain.signing import AllowedSigners, SigningKey


def new_nonce() -> str:
    """Return a random word that identifies a run."""
    return secrets.token_hex(8)


def _ignore_warning(_sentence: str) -> None:
    pass


def _ignore_head(_stored: StoredCommit) -> None:
    pass


@dataclass(frozen=True)
class RunContext:
    """The context of one run.

    ``pin`` remembers the head outside the archive. ``sign_key`` signs every commit; the run trusts commits of
    ``allowed_signers``. ``expected_head`` is the head that the user verified, ``sign_from`` the head of an unsigned
    archive after which commits are signed. ``stop`` ends the run where it is safe, with :class:`Cancelled`. With
    ``dry_run`` nothing is written, and the result shows the changes that would be made. ``warn`` is called with
    warnings for the user, ``on_head`` with each head that the run finds or creates; ``option_name`` returns the name of
    an option for errors. Tests replace ``now`` (an aware time) and ``nonce`` (a new word of digits and lower-case
    letters).
    """

    pin: Optional[HeadPin] = None
    sign_key: Optional[SigningKey] = None
    allowed_signers: Optional[AllowedSigners] = None
    expected_head: Optional[Head] = None
    sign_from: Optional[Head] = None
    stop: threading.Event = field(default_factory=threading.Event)
    dry_run: bool = False
    warn: Callable[[str], None] = _ignore_warning
    on_head: Callable[[StoredCommit], None] = _ignore_head
    option_name: OptionNamer = str
    now: Callable[[], datetime] = utc_now
    nonce: Callable[[], str] = new_nonce
