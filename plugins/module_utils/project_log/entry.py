# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries of the log: parsing, canonical form, digest, and the names of their actors and subjects.

The API gives entries no id, promises no stable ``action`` or ``message``, and can add keys anywhere.
So an entry stays the mapping that was received; these functions never change it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from datetime import datetime
from typing import Any, Dict, List, NamedTuple, NoReturn, Optional

from ..times import parse_timestamp

Entry = Dict[str, Any]

ACTOR_KINDS = ("user", "api_token", "system", "admin")
SUBJECT_KINDS = ("project", "organization", "user")

# Control characters and direction marks, with which a message could imitate another one.
_CONTROL_CHARS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


class Entity(NamedTuple):
    """An actor or a subject: its kind, its name (can be empty) and its uuid."""

    kind: str
    name: str
    uuid: Optional[str]

    def __str__(self) -> str:
        """Its name, uuid or kind, as one line of printable text."""
        return to_printable(self.name or self.uuid or self.kind)


class _Number(float):
    """A number with the text received, which Python's own numbers would not keep."""

    literal: str

    @classmethod
    def of(cls, literal: str) -> _Number:
        number = cls(literal)
        number.literal = literal
        return number


class _ExactEntry(dict):  # type: ignore[type-arg]
    """An entry that can contain numbers or lone surrogates; only such entries need a check of each value."""


def parse(body: bytes) -> Any:
    """Decode JSON and keep number literals unchanged (1.10 stays 1.10, 1e400 stays 1e400).

    :raises ValueError: the body is not JSON in UTF-8, is nested too deeply, or contains NaN or Infinity.
    """
    text = _decode(body)
    exact = "\\ud" in text or "\\uD" in text

    def number(literal: str) -> Any:
        nonlocal exact
        exact = True
        return _Number.of(literal)

    try:
        value = json.loads(text, parse_float=number, parse_int=number, parse_constant=_refuse_constant)
        return _mark_exact(value) if exact else value
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def canonical(entry: Entry) -> bytes:
    """The entry as canonical JSON: sorted keys, no spaces, UTF-8, lone surrogates escaped, numbers as received."""
    text = _encode_exact(entry) if isinstance(entry, _ExactEntry) else _ENCODER.encode(entry)
    # A lone surrogate has no UTF-8 form; backslashreplace writes JSON's escape of it.
    return text.encode("utf-8", "backslashreplace")


def read_lines(block: bytes) -> List[Entry]:
    """The entries of complete lines, each of which is one entry in canonical form and a newline.

    :raises ValueError: a line is something else; the message is a phrase that says what.
    """
    try:
        return _read_plain_lines(block.decode())
    except (ValueError, RecursionError):
        pass
    # Read line by line to support numbers and surrogates, and to find the invalid line.
    *lines, rest = block.split(b"\n")
    if rest:
        raise ValueError("it contains a line that is not an entry in canonical form: the last one is truncated")
    return [_read_line(line) for line in lines]


def digest(entry: Entry) -> str:
    """The SHA-256 of the canonical form, in hexadecimal."""
    return hashlib.sha256(canonical(entry)).hexdigest()


def to_builtin_entry(entry: Entry) -> Entry:
    """Convert an entry to built-in types for consumers such as Ansible.

    Values without an equivalent (1e400, a lone surrogate) become the text received.
    """
    if isinstance(entry, _ExactEntry):
        converted: Entry = to_builtin(entry)
        return converted
    return entry


def to_builtin(value: Any) -> Any:
    """Convert any value in the same way, such as one that was made from an entry."""
    if isinstance(value, dict):
        return {_escape_surrogates(key): to_builtin(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_builtin(item) for item in value]
    if isinstance(value, _Number):
        return _to_python_number(value)
    return _escape_surrogates(value) if isinstance(value, str) else value


def timestamp(entry: Entry) -> Optional[datetime]:
    """When the change happened, aware and in UTC; None if the timestamp is missing or unreadable."""
    return parse_timestamp(entry.get("timestamp"))


def actor(entry: Entry) -> Entity:
    """Who made the change: a user by e-mail address, a token by its description, ``system`` or ``admin``."""
    return _entity(entry.get("actor"), ACTOR_KINDS)


def subject(entry: Entry) -> Entity:
    """The project, organization or user that the change belongs to."""
    return _entity(entry.get("subject"), SUBJECT_KINDS)


def to_printable(value: Any) -> str:
    """A value as one line of text; control characters and direction marks become replacement characters."""
    return "" if value is None else _CONTROL_CHARS.sub("\ufffd", str(value))


def _entity(value: Any, kinds: Any) -> Entity:
    if not isinstance(value, dict) or not value:
        return Entity("unknown", "", None)
    for kind in kinds:
        if kind in value:
            break
    else:
        kind = str(next(iter(value)))
    details = value[kind]
    if not isinstance(details, dict):
        return Entity(kind, "", None)
    name = details.get("email") or details.get("description") or details.get("name")
    uuid = details.get("uuid")
    return Entity(kind, name if isinstance(name, str) else "", uuid if isinstance(uuid, str) else None)


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        # The body contains encoded surrogates. As JSON escapes, two halves of a pair become one character.
        return body.decode("utf-8-sig", "surrogatepass").encode("utf-8", "backslashreplace").decode()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not valid JSON")


def _refuse_literal(literal: str) -> NoReturn:
    raise ValueError(f"{literal} must be kept as received")


def _read_plain_lines(text: str) -> List[Entry]:
    """The entries of canonical lines without numbers.

    :raises ValueError: the text is something else.
    """
    entries: List[Entry] = []
    position = 0
    while position < len(text):
        entry, position = _PLAIN_DECODER.raw_decode(text, position)
        if not isinstance(entry, dict) or text[position : position + 1] != "\n":
            raise ValueError("not an entry")
        entries.append(entry)
        position += 1
    # No object is the beginning of another, so this list is canonical only if each line is.
    if _ENCODER.encode(entries) != "[" + text[:-1].replace("\n", ",") + "]":
        raise ValueError("not canonical")
    return entries


def _read_line(line: bytes) -> Entry:
    try:
        entry = parse(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        raise ValueError("it contains a line that is not an entry")
    if canonical(entry) != line:
        raise ValueError("it contains a line that is not an entry in canonical form")
    return entry


def _mark_exact(value: Any) -> Any:
    if isinstance(value, dict):
        return _ExactEntry((key, _mark_exact(item)) for key, item in value.items())
    if isinstance(value, list):
        return [_mark_exact(item) for item in value]
    return value


def _escape_surrogates(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _to_python_number(number: _Number) -> Any:
    if not math.isfinite(number):
        return number.literal
    try:
        return json.loads(number.literal)
    except ValueError:  # more digits than Python's int accepts
        return number.literal


def _encode_exact(value: Any) -> str:
    if isinstance(value, dict):
        members: List[str] = [f"{_ENCODER.encode(key)}:{_encode_exact(value[key])}" for key in sorted(value)]
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_encode_exact, value)) + "]"
    if isinstance(value, _Number):
        return value.literal
    return _ENCODER.encode(value)


# For entries without numbers, whose literals must be kept.
_PLAIN_DECODER = json.JSONDecoder(
    parse_float=_refuse_literal, parse_int=_refuse_literal, parse_constant=_refuse_literal
)
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False)
