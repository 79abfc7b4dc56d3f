# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The resources that a message names: their kinds and names, and renames.

An entry has no field for them; the only source is the text of ``message``, which is no stable part of the API. So all
of this is best effort. Names are free text and can contain quotes or whole sentences: a message that can be read in
several ways yields the names of every reading, so that no choice of a name hides an entry.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple

from .entry import Entry, canonical

_HAS_BEEN = "' has been "
_RENAMED_TO, _RENAMED_FROM, _AND_TO = "renamed to ", "renamed from ", "' to '"

# Bounds the work per message, whatever a name contains. The first and the last readings are the likely ones.
_MAX_READINGS = 16
_MAX_QUOTED = 100

_LABEL_LENGTH = 60
_MAX_LABEL_WORDS = 3
_MAX_KIND_WORDS = 4
_LABEL = re.compile(r"[A-Za-z]+(?: [A-Za-z]+)*")
_KINDS = frozenset(
    (
        *("server", "volume", "network", "subnet", "snapshot", "volume_snapshot", "server_group", "floating_ip"),
        *("image", "custom_image", "objects_user", "pool", "listener", "health_monitor", "pool_member", "token"),
        *("load_balancer", "load_balancer_pool", "load_balancer_listener", "load_balancer_pool_member"),
        "load_balancer_health_monitor",
    )
)
_SYNONYMS = {"snapshot": "volume_snapshot", "image": "custom_image"}


class Resource(NamedTuple):
    """A resource as a message names it. ``kind`` is such as ``server`` or ``volume_snapshot``; empty if unknown."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')} {self.name}".strip()


class Rename(NamedTuple):
    """A resource that got another name."""

    kind: str
    old: str
    new: str


class _Reading(NamedTuple):
    """One way to read a message: its first name (by position), the words after ``has been``, and the second name."""

    first: Tuple[int, int]
    words: str
    second: Optional[Tuple[int, int]]


def resource(entry: Entry) -> Optional[Resource]:
    """The resource that an entry is about: the first one that its message names, read in the likeliest way."""
    message = _message(entry)
    begin, last_quote = message.find("'") + 1, message.rfind("'")
    if begin < last_quote and message.startswith(_HAS_BEEN, last_quote):
        return _named(message, (begin, last_quote))  # nearly all
    likeliest = next(_readings(message), None)
    span = likeliest.first if likeliest else next(_quoted(message), None)
    return _named(message, span) if span else None


def resources(entry: Entry) -> Tuple[Resource, ...]:
    """All resources that the message of an entry names, the one that it is about first.

    A message that can be read in several ways yields the names of all of them.
    """
    message = _message(entry)
    if message.count("'") == 2:
        likely = resource(entry)
        return (likely,) if likely else ()
    spans: List[Tuple[int, int]] = []
    for reading in _readings(message):
        spans.append(reading.first)
        if reading.second is not None:
            spans.append(reading.second)
    spans.extend(_quoted(message))
    return tuple(dict.fromkeys(_named(message, span) for span in spans))


def rename(entry: Entry) -> Optional[Rename]:
    """The rename that an entry tells of; None for any other entry."""
    message = _message(entry)
    if "renamed" not in message:
        return None
    likeliest = next(_readings(message), None)
    if likeliest is None or likeliest.second is None:
        return None
    first, second = _named(message, likeliest.first), _named(message, likeliest.second).name
    if likeliest.words == _RENAMED_TO:
        return Rename(first.kind, first.name, second)
    if likeliest.words == _RENAMED_FROM and _AND_TO in second:
        old, _to, new = second.partition(_AND_TO)
        return Rename(first.kind, old, new)
    return None


def needles(globs: Sequence[str]) -> Tuple[bytes, ...]:
    """One piece of text for each glob. A canonical line without any of them names no resource that a glob matches.

    Finding bytes costs far less than parsing the line.
    """
    return tuple(canonical(_longest_literal(f"'{glob}'"))[1:-1] for glob in globs)  # type: ignore[arg-type]


RENAME_NEEDLE = b"' has been renamed "
"""A canonical line without it tells of no rename."""


def _longest_literal(quoted: str) -> str:
    # As exact text, a glob contains its special characters; the pieces between them are in it all the same.
    return max(re.split(r"[*?]", quoted), key=len)


def _message(entry: Entry) -> str:
    message = entry.get("message")
    return message if isinstance(message, str) else ""


def _readings(message: str) -> Iterator[_Reading]:
    """How a message can be read as ``KIND 'NAME' has been DONE`` or ``KIND 'NAME' has been DONE to KIND 'NAME'``.

    With quotes in names there are several ways. The likeliest comes first: without a second name, if possible.
    """
    begin = message.find("'") + 1
    if not begin:
        return
    last_quote = message.rfind("'")
    for end in _ends(message, begin):
        words_begin = end + len(_HAS_BEEN)
        if last_quote < words_begin:
            yield _Reading((begin, end), message[words_begin:], None)
            continue
        opening = message.find("'", words_begin)
        if opening < last_quote:
            words = message[words_begin:opening]
            yield _Reading((begin, end), words, (opening + 1, last_quote))


def _ends(message: str, begin: int) -> List[int]:
    """Where the first name can end: the last place if nothing quoted follows it, then all places in order."""
    found: List[int] = []
    end = message.find(_HAS_BEEN, begin + 1)
    while end >= 0 and len(found) < _MAX_READINGS:
        found.append(end)
        end = message.find(_HAS_BEEN, end + 1)
    last = message.rfind(_HAS_BEEN, begin + 1)
    if last < 0:
        return []
    is_whole = message.find("'", last + 1) < 0
    return list(dict.fromkeys([last, *found] if is_whole else [*found, last]))


def _quoted(message: str) -> Iterator[Tuple[int, int]]:
    """Texts in quotes, by position. A quote between two letters or digits is an apostrophe."""
    opening = -1
    count = 0
    at = message.find("'")
    while at >= 0 and count < _MAX_QUOTED:
        if opening < 0:
            if not message[at - 1 : at].isalnum():
                opening = at
        elif at > opening + 1 and not message[at + 1 : at + 2].isalnum():
            yield opening + 1, at
            opening, count = -1, count + 1
        at = message.find("'", at + 1)


def _named(message: str, span: Tuple[int, int]) -> Resource:
    begin, end = span
    return Resource(_kind_before(message, begin - 1), message[begin:end])


def _kind_before(message: str, quote: int) -> str:
    """The kind of the resource whose name begins at this quote: the words before it, if they are its label."""
    return _kind(message[max(0, quote - _LABEL_LENGTH) : quote], quote <= _LABEL_LENGTH)


@lru_cache(maxsize=1_000)
def _kind(before: str, is_beginning: bool) -> str:
    words = before.lower().split()
    for count in range(min(_MAX_KIND_WORDS, len(words)), 0, -1):
        kind = "_".join(words[-count:])
        if kind in _KINDS:
            return _SYNONYMS.get(kind, kind)
    # A kind that is not known here, at the beginning of the message: "SSH key 'x' has been created".
    is_label = is_beginning and len(words) <= _MAX_LABEL_WORDS and _LABEL.fullmatch(before.rstrip())
    return "_".join(words) if is_label else ""
