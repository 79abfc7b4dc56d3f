# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks that lines are entries in canonical form, at little more than the cost of hashing them.

The first line of a form is parsed and serialized again. Its form becomes a regular expression with its keys in order,
in which only scalar values (strings, numbers, null, true, false) can differ. Lines that match the expression are
canonical and need no parsing; all other lines are parsed. The result is the same as if every line were parsed.

Most blocks contain neither escapes nor control characters. For these, a faster expression takes everything between two
quotes as a string. The number of matches shows that no string contained the end of a line.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import datetime
from typing import Any, List, NamedTuple, Optional, Set, Tuple

from ...project_log.entry import Entry, read_lines, timestamp
from ...times import parse_timestamp

# Without escapes, because the same text can be escaped in several ways; a line with an escape is parsed.
_STRING = r'"[^"\\\x00-\x1f]*"'
_PLAIN_STRING = r'"[^"]*"'
_SPECIAL = tuple(bytes((code,)) for code in (ord("\\"), *range(10), *range(11, 32)))
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_SCALAR = rf"(?:{_STRING}|null|true|false|{_NUMBER})"
# The usual form of the API. Its texts sort like the times.
_TIMESTAMP = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z"
_DAY_LENGTH = len("2026-11-22")
_NEVER = re.compile("(?!)")

# Limits for the cost of compiling the expression, for hostile archives.
_MAX_FORMS = 64
_MAX_FORM_LENGTH = 1 << 14
_MAX_DEPTH = 8


class LineSummary(NamedTuple):
    """Number of entries, number of entries without a readable timestamp, and the range of the other timestamps."""

    entries: int
    undated: int
    first: Optional[datetime]
    last: Optional[datetime]


class CanonicalLines:
    """Summarizes lines, and remembers the forms of the lines that it parsed."""

    def __init__(self) -> None:
        # Expressions for the members before and after "timestamp". Every combination is canonical, because the keys of
        # the former sort before "timestamp" and the keys of the latter after it.
        self._before: Set[str] = set()
        self._after: Set[str] = set()
        self._known = _NEVER
        self._known_plain = _NEVER

    def summarize(self, block: bytes) -> LineSummary:
        """Summarize complete lines, each of which must be an entry in canonical form and a newline.

        :raises ValueError: a line has another form; the message is a phrase.
        """
        count, ends, rest = self._match_known(block)
        moments = list(map(timestamp, self._parse(rest)))
        dated = [moment for moment in moments if moment is not None]
        undated = len(moments) - len(dated)
        dated += ends
        return LineSummary(count + len(moments), undated, min(dated, default=None), max(dated, default=None))

    def _match_known(self, block: bytes) -> Tuple[int, List[datetime], bytes]:
        """The number of lines of known forms, their first and last times, and all other lines."""
        try:
            text = block.decode()
        except UnicodeDecodeError:
            return 0, [], block
        lines = text.count("\n") if text.endswith("\n") else -1
        if not any(special in block for special in _SPECIAL):
            found = self._known_plain.findall(text)
            ends = _ends(found) if len(found) == lines else []
            if ends:
                return lines, ends, b""
        found = self._known.findall(text)
        ends = _ends(found)
        if not ends:
            return 0, [], block
        return len(found), ends, b"" if len(found) == lines else self._known.sub("", text).encode()

    def _parse(self, block: bytes) -> List[Entry]:
        """The entries in lines; remembers their forms."""
        entries = read_lines(block)
        known = self._form_count
        for entry in entries:
            self._learn(entry)
        if known < self._form_count:
            before, after = "|".join(sorted(self._before)), "|".join(sorted(self._after))
            pattern = rf'^\{{(?:{before})"timestamp":"({_TIMESTAMP})"(?:{after})\}}\n'
            self._known = re.compile(pattern, re.MULTILINE)
            self._known_plain = re.compile(pattern.replace(_STRING, _PLAIN_STRING), re.MULTILINE)
        return entries

    @property
    def _form_count(self) -> int:
        return len(self._before) + len(self._after)

    def _learn(self, entry: Entry) -> None:
        if self._form_count >= _MAX_FORMS or "timestamp" not in entry:
            return
        keys = list(entry)
        position = keys.index("timestamp")
        with suppress(_Unsupported):
            before = "".join(f"{_member(key, entry[key])}," for key in keys[:position])
            after = "".join(f",{_member(key, entry[key])}" for key in keys[position + 1 :])
            if len(before) + len(after) <= _MAX_FORM_LENGTH:
                self._before.add(before)
                self._after.add(after)


class _Unsupported(Exception):
    """A value that is not covered by an expression: it contains a list, or is nested too deeply."""


def _member(key: str, value: Any, depth: int = 1) -> str:
    """An expression for a member of an object in which only scalar values can differ."""
    return f"{re.escape(json.dumps(key, ensure_ascii=False))}:{_form(value, depth)}"


def _form(value: Any, depth: int) -> str:
    if isinstance(value, list) or depth > _MAX_DEPTH:
        raise _Unsupported
    if isinstance(value, dict):
        return r"\{" + ",".join(_member(key, item, depth + 1) for key, item in value.items()) + r"\}"
    return _SCALAR


def _ends(moments: List[str]) -> List[datetime]:
    """The first and last of these times; empty unless all of them are valid times of one day."""
    first, last = min(moments, default=""), max(moments, default="")
    # The expression checks everything but whether the date exists.
    found = [parse_timestamp(first), parse_timestamp(last)] if first[:_DAY_LENGTH] == last[:_DAY_LENGTH] else []
    return [moment for moment in found if moment is not None]
