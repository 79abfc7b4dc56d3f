# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows the progress of reading in one line on the terminal, if stderr is a terminal."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Iterable, Optional

from ..counts import pluralize
from ..project_log.entry import Entry, timestamp
from .output import format_moment, is_captured


class Progress:
    """Counts entries and rewrites one line on stderr, with the time of the newest entry read."""

    def __init__(self) -> None:
        self._entries = 0
        self._reached: Optional[datetime] = None
        self._width = 0

    def add(self, entries: Iterable[Entry]) -> None:
        if not sys.stderr.isatty() or is_captured():
            return
        for entry in entries:
            self._entries += 1
            self._reached = max(filter(None, (self._reached, timestamp(entry))), default=None)
        self._write(f"{pluralize(self._entries, 'entry', 'entries')} read{self._newest_time()}")

    def end(self) -> None:
        """Keep the line, and begin a new one."""

        if self._width:
            sys.stderr.write("\n")
            self._width = 0

    def _newest_time(self) -> str:
        return f", up to {format_moment(self._reached)}" if self._reached else ""

    def _write(self, line: str) -> None:
        sys.stderr.write(f"\r{line:<{self._width}}")
        sys.stderr.flush()
        self._width = len(line)
