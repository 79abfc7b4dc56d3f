# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The resources that a message names: their kinds and names, and renames.

An entry has no field for them. The only source is the text of ``message``, which is not a stable part of the API, so
all of this is best effort. Names are free text and can contain quotes or complete sentences. An ambiguous message
yields the names of every reading, so that nobody can hide an entry by the choice of a name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple

from .entry import Entry, canonical

_HAS_BEEN = "' has been "
_RENAMED_TO, _RENAMED_FROM, _AND_TO = "renamed to ", "renamed from ", "' to '"

# These bound the work per message, no matter what a name contains. The first and the last readings are the likely ones.
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
    """A resource as a message names it. ``kind`` is ``server``, ``volume_snapshot`` etc.; empty if unknown."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')} {self.name}".strip()


class Rename(NamedTuple):
    """A resource that was renamed."""

    kind: str
    old: str
    new: str


class _Reading(NamedTuple):
    """One reading of a message: the position of its first name, the words after ``has been``, and the second name."""

    first: Tuple[int, int]
    words: str
    second: Optional[Tuple[int, int]]


def resource(entry: Entry) -> Optional[Resource]:
    """The resource that an entry is about: the first one that its message names, by the likeliest reading."""
    message = _message(entry)
    begin, last_quote = message.find("'") + 1, message.rfind("'")
    if begin < last_quote and message.startswith(_HAS_BEEN, last_quote):  # nearly all messages
        return _named(message, (begin, last_quote))
    likeliest = next(_readings(message), None)
    span = likeliest.first if likeliest else next(_quoted(message), None)
    return _named(message, span) if span else None


def resources(entry: Entry) -> Tuple[Resource, ...]:
    """All resources that the message of an entry names, first the one that it is about.

    An ambiguous message yields the names of every reading.
    """
    message = _message(entry)
    if message.count("'") == 2:
        only = resource(entry)
        return (only,) if only else ()
    spans: List[Tuple[int, int]] = []
    for reading in _readings(message):
        spans.append(reading.first)
        if reading.second is not None:
            spans.append(reading.second)
    spans.extend(_quoted(message))
    return tuple(dict.fromkeys(_named(message, span) for span in spans))


def rename(entry: Entry) -> Optional[Rename]:
    """The rename that an entry is about; None for any other entry."""
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
    """One literal for each glob. A canonical line without any of them names no resource that a glob matches.

    A search for bytes is much faster than parsing the line.
    """
    return tuple(canonical(_longest_literal(f"'{glob}'"))[1:-1] for glob in globs)  # type: ignore[arg-type]


RENAME_NEEDLE = b"' has been renamed "
"""A canonical line without it is not a rename."""


def _longest_literal(quoted: str) -> str:
    # A name that equals the glob as exact text contains its special characters, and also the pieces between them.
    return max(re.split(r"[*?]", quoted), key=len)


def _message(entry: Entry) -> str:
    message = entry.get("message")
    return message if isinstance(message, str) else ""


def _readings(message: str) -> Iterator[_Reading]:
    """Readings of a message as ``KIND 'NAME' has been DONE`` or ``KIND 'NAME' has been DONE to KIND 'NAME'``.

    With quotes in names there are several. The first is the likeliest: without a second name, if possible.
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
    """The possible ends of the first name: the last one if no quote follows it, then all in order."""
    ends: List[int] = []
    end = message.find(_HAS_BEEN, begin + 1)
    while end >= 0 and len(ends) < _MAX_READINGS:
        ends.append(end)
        end = message.find(_HAS_BEEN, end + 1)
    last = message.rfind(_HAS_BEEN, begin + 1)
    if last < 0:
        return []
    no_quote_follows = message.find("'", last + 1) < 0
    return list(dict.fromkeys([last, *ends] if no_quote_follows else [*ends, last]))


def _quoted(message: str) -> Iterator[Tuple[int, int]]:
    """The positions of texts in quotes. A quote between two letters or digits is an apostrophe."""
    opening = -1
    count = 0
    quote = message.find("'")
    while quote >= 0 and count < _MAX_QUOTED:
        if opening < 0:
            if not message[quote - 1 : quote].isalnum():
                opening = quote
        elif quote > opening + 1 and not message[quote + 1 : quote + 2].isalnum():
            yield opening + 1, quote
            opening, count = -1, count + 1
        quote = message.find("'", quote + 1)


def _named(message: str, span: Tuple[int, int]) -> Resource:
    begin, end = span
    return Resource(_kind_before(message, begin - 1), message[begin:end])


def _kind_before(message: str, quote: int) -> str:
    """The kind of the resource whose name begins after this quote: the words before it, if they name a kind."""
    return _kind(message[max(0, quote - _LABEL_LENGTH) : quote], quote <= _LABEL_LENGTH)


@lru_cache(maxsize=1_000)
def _kind(before: str, is_beginning: bool) -> str:
    words = before.lower().split()
    for count in range(min(_MAX_KIND_WORDS, len(words)), 0, -1):
        kind = "_".join(words[-count:])
        if kind in _KINDS:
            return _SYNONYMS.get(kind, kind)
    # An unknown kind at the beginning of a message, as in "SSH key 'x' has been created".
    is_label = is_beginning and len(words) <= _MAX_LABEL_WORDS and _LABEL.fullmatch(before.rstrip())
    return "_".join(words) if is_label else ""
