# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text in Markdown that stays text, whatever it says."""

from __future__ import annotations

import re
from typing import Match

_BACKTICKS = re.compile("`+")
_BACKSLASHES_AND_PIPE = re.compile(r"(\\*)\|")
_MARKUP = re.compile(r"([\\`*_\[\]|~])")


def text(value: str) -> str:
    """A backslash before each character that Markdown reads as markup; HTML is written as entities."""
    plain = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\1", plain)


def code(value: str) -> str:
    """A code span, in which no address, mention or number of an issue becomes a link; it may be in a table's cell.

    A table's cell ends at each pipe that has no backslash before it, even in a code span. A backslash before a pipe is
    shown twice, because it would otherwise take the pipe's own.
    """
    if not value:
        return ""
    fence = "`" * (max(map(len, _BACKTICKS.findall(value)), default=0) + 1)
    # One space on either side is not shown, and lets the text begin or end with a backtick or a space.
    space = " " if value[0] in " `" or value[-1] in " `" else ""
    return f"{fence}{space}{_BACKSLASHES_AND_PIPE.sub(_escaped_pipe, value)}{space}{fence}"


def _escaped_pipe(found: Match[str]) -> str:
    return f"{found[1] * 2}\\|"
