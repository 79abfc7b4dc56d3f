# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a signal does to a command: it asks those that write to stop, and ends those that only read."""

from __future__ import annotations

import signal
import threading
from typing import Any, Callable, NoReturn

from ..errors import Cancelled


def set_on_signal(stop: threading.Event) -> None:
    """Let a signal set this, which the command looks at where it may stop."""
    _handle(lambda *_signal: stop.set())


def end_on_signal() -> None:
    """Let a signal end the command right where it is, by :class:`Cancelled`; only the main thread can ask for this."""
    if threading.current_thread() is threading.main_thread():
        _handle(_raise_cancelled)


def _handle(handler: Callable[..., Any]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _raise_cancelled(*_signal: Any) -> NoReturn:
    raise Cancelled("The command was stopped before it came to its end.")
