# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Escaping of text for Markdown."""

from __future__ import annotations

import re
from typing import Match

_BACKTICKS = re.compile("`+")
_BACKSLASHES_AND_PIPE = re.compile(r"(\\*)\|")
_MARKUP = re.compile(r"([\\`*_\[\]|~])")


def text(value: str) -> str:
    """The text with a backslash before each character of Markdown's markup, and with HTML entities."""
    escaped = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\1", escaped)


def code(value: str) -> str:
    """A code span, in which no address, mention or issue number becomes a link. It can be used in a table's cell.

    A pipe without a backslash ends a table's cell, even in a code span. A backslash before a pipe is doubled, because
    it would otherwise escape the pipe's own backslash.
    """
    if not value:
        return ""
    fence = "`" * (max(map(len, _BACKTICKS.findall(value)), default=0) + 1)
    # A space on either side is not shown. It allows the text to begin or end with a backtick or a space.
    space = " " if value[0] in " `" or value[-1] in " `" else ""
    return f"{fence}{space}{_BACKSLASHES_AND_PIPE.sub(_escaped_pipe, value)}{space}{fence}"


def _escaped_pipe(match: Match[str]) -> str:
    return f"{match[1] * 2}\\|"
