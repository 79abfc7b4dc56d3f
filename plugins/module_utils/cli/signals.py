# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signal handling: commands that write stop at a safe point, and commands that only read end at once."""

from __future__ import annotations

import signal
import threading
from typing import Any, Callable, NoReturn

from ..errors import Cancelled


def set_on_signal(stop: threading.Event) -> None:
    """Set ``stop`` on SIGTERM and SIGINT; the command checks it at safe points."""
    _handle(lambda *_signal: stop.set())


def end_on_signal() -> None:
    """Raise :class:`Cancelled` on SIGTERM and SIGINT; no effect outside the main thread."""
    if threading.current_thread() is threading.main_thread():
        _handle(_raise_cancelled)


def _handle(handler: Callable[..., Any]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _raise_cancelled(*_signal: Any) -> NoReturn:
    raise Cancelled("The command was stopped before it finished.")
