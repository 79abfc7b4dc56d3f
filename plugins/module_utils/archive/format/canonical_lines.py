# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proves that lines are entries in canonical form, for little more than it costs to hash them.

The first line of a form is parsed and written again. It becomes a regular expression in which its keys stand as they
are, in their order, and only single values may differ: strings, numbers, null, true, false. Lines that match it are
canonical too and need no parsing; all others are read in full. So the answer is that of reading every line in full.

Most blocks have neither escapes nor control characters. In these a string is whatever is between two quotes, for which
an expression needs much less time; that no string held the end of a line shows in the number of lines.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import datetime
from typing import Any, List, NamedTuple, Optional, Set, Tuple

from ...project_log.entry import Entry, read_lines, timestamp
from ...times import parse_timestamp

# Without escapes, which may have several forms; a line with one is read in full.
_STRING = r'"[^"\\\x00-\x1f]*"'
_PLAIN_STRING = r'"[^"]*"'
_SPECIAL = tuple(bytes((code,)) for code in (ord("\\"), *range(10), *range(11, 32)))
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_SINGLE = rf"(?:{_STRING}|null|true|false|{_NUMBER})"
# As the API writes nearly all of them: in this form the order of texts is that of times.
_MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z"
_DAY = len("2026-11-22")
_NOTHING = re.compile("(?!)")

# What a pattern may cost to make, whatever an archive holds.
_MOST_FORMS = 64
_LONGEST_FORM = 1 << 14
_MOST_DEPTH = 8


class LineSummary(NamedTuple):
    """How many entries some lines hold, how many of them tell no readable time, and the span of the others' times."""

    entries: int
    undated: int
    first: Optional[datetime]
    last: Optional[datetime]


class CanonicalLines:
    """Reads lines, and knows the forms of those it has read."""

    def __init__(self) -> None:
        # What stands before the timestamp, and what behind it. Any of the ones goes with any of the others, for the
        # keys of the ones sort before "timestamp" and those of the others after it.
        self._before: Set[str] = set()
        self._behind: Set[str] = set()
        self._known = _NOTHING
        self._known_plain = _NOTHING

    def span(self, block: bytes) -> LineSummary:
        """What whole lines hold, each of which has to be one entry in canonical form and a newline.

        :raises ValueError: a line is something else; the text says what, as a phrase.
        """
        count, ends, rest = self._take_known(block)
        moments = list(map(timestamp, self._read(rest)))
        dated = [moment for moment in moments if moment is not None]
        undated = len(moments) - len(dated)
        dated += ends
        return LineSummary(count + len(moments), undated, min(dated, default=None), max(dated, default=None))

    def _take_known(self, block: bytes) -> Tuple[int, List[datetime], bytes]:
        """The number of lines of known forms, the first and the last time in them, and all other lines."""
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

    def _read(self, block: bytes) -> List[Entry]:
        """Entries read in full, whose forms are known from then on."""
        entries = read_lines(block)
        known = self._forms
        for entry in entries:
            self._learn(entry)
        if known < self._forms:
            before, behind = "|".join(sorted(self._before)), "|".join(sorted(self._behind))
            pattern = rf'^\{{(?:{before})"timestamp":"({_MOMENT})"(?:{behind})\}}\n'
            self._known = re.compile(pattern, re.MULTILINE)
            self._known_plain = re.compile(pattern.replace(_STRING, _PLAIN_STRING), re.MULTILINE)
        return entries

    @property
    def _forms(self) -> int:
        return len(self._before) + len(self._behind)

    def _learn(self, entry: Entry) -> None:
        if self._forms >= _MOST_FORMS or "timestamp" not in entry:
            return
        keys = list(entry)
        place = keys.index("timestamp")
        with suppress(_Unusual):
            before = "".join(f"{_member(key, entry[key])}," for key in keys[:place])
            behind = "".join(f",{_member(key, entry[key])}" for key in keys[place + 1 :])
            if len(before) + len(behind) <= _LONGEST_FORM:
                self._before.add(before)
                self._behind.add(behind)


class _Unusual(Exception):
    """A value that has no form in which only single values differ."""


def _member(key: str, value: Any, depth: int = 1) -> str:
    """A regular expression for members of an object that differ from this one in nothing but single values."""
    return f"{re.escape(json.dumps(key, ensure_ascii=False))}:{_form(value, depth)}"


def _form(value: Any, depth: int) -> str:
    if isinstance(value, list) or depth > _MOST_DEPTH:
        raise _Unusual
    if isinstance(value, dict):
        return r"\{" + ",".join(_member(key, item, depth + 1) for key, item in value.items()) + r"\}"
    return _SINGLE


def _ends(moments: List[str]) -> List[datetime]:
    """The first and the last of these times; none unless all of them exist and are of one day."""
    first, last = min(moments, default=""), max(moments, default="")
    # The pattern leaves open only whether the day exists.
    found = [parse_timestamp(first), parse_timestamp(last)] if first[:_DAY] == last[:_DAY] else []
    return [moment for moment in found if moment is not None]
