# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an entry of the log is: parsing, canonical form, digest, and the names of its actor and subject.

The API gives entries no id and promises no stable ``action`` or ``message``; unknown keys may appear anywhere.
So an entry stays the mapping that was received, and these functions look at it without ever changing it.
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

# Control characters, and marks that turn the direction of the text around them: a message could pose as another.
_CONTROL_CHARS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


class Entity(NamedTuple):
    """A short name for an actor or a subject: its kind, its human name (may be empty) and its uuid."""

    kind: str
    name: str
    uuid: Optional[str]

    def __str__(self) -> str:
        """What to call it, safe to show on one line."""
        return to_printable(self.name or self.uuid or self.kind)


class _Number(float):
    """A number that an ordinary Python number would write differently; it keeps the text received."""

    literal: str

    @classmethod
    def of(cls, literal: str) -> _Number:
        number = cls(literal)
        number.literal = literal
        return number


class _ExactEntry(dict):  # type: ignore[type-arg]
    """An entry out of a body with numbers or surrogates: only these pay for a look at each of their values."""


def parse(body: bytes) -> Any:
    """Decode JSON and keep number literals as they are (1.10 stays 1.10, 1e400 stays 1e400).

    :raises ValueError: the body is no JSON in UTF-8, is nested too deeply, or holds NaN or Infinity.
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
    """The one byte form of an entry: sorted keys, no spaces, UTF-8, lone surrogates escaped, numbers as received."""
    text = _encode_exact(entry) if isinstance(entry, _ExactEntry) else _ENCODER.encode(entry)
    # A lone surrogate has no UTF-8 form; backslashreplace writes just the escape that JSON has for it.
    return text.encode("utf-8", "backslashreplace")


def read_lines(block: bytes) -> List[Entry]:
    """The entries of whole lines, each of them one entry in canonical form and a newline.

    :raises ValueError: a line is something else; the text says what, as a phrase.
    """
    try:
        return _read_plain_lines(block.decode())
    except (ValueError, RecursionError):
        pass
    # Once more, line by line: for numbers and surrogates, and to tell what is wrong.
    *lines, rest = block.split(b"\n")
    if rest:
        raise ValueError("it holds a line that is no entry in canonical form: the last one is cut")
    return [_read_line(line) for line in lines]


def digest(entry: Entry) -> str:
    """The SHA-256 of the canonical form, in hexadecimal."""
    return hashlib.sha256(canonical(entry)).hexdigest()


def to_builtin_entry(entry: Entry) -> Entry:
    """The entry for programs that know neither exact numbers nor lone surrogates, as Ansible.

    Numbers become Python's, and what has no such form (1e400, half a surrogate pair) becomes the text received.
    """
    if isinstance(entry, _ExactEntry):
        simple: Entry = to_builtin(entry)
        return simple
    return entry


def to_builtin(value: Any) -> Any:
    """The same for any value, such as one that was made from an entry."""
    if isinstance(value, dict):
        return {_escape_surrogates(key): to_builtin(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_builtin(item) for item in value]
    if isinstance(value, _Number):
        return _to_python_number(value)
    return _escape_surrogates(value) if isinstance(value, str) else value


def timestamp(entry: Entry) -> Optional[datetime]:
    """When the change happened, aware and in UTC; None when the entry does not say it readably."""
    return parse_timestamp(entry.get("timestamp"))


def actor(entry: Entry) -> Entity:
    """Who made the change: a user by e-mail, a token by its description, or ``system`` and ``admin``."""
    return _entity(entry.get("actor"), ACTOR_KINDS)


def subject(entry: Entry) -> Entity:
    """What the change belongs to: a project, an organization or a user."""
    return _entity(entry.get("subject"), SUBJECT_KINDS)


def to_printable(value: Any) -> str:
    """A value as one line of text in which every control and direction character became a replacement character."""
    return "" if value is None else _CONTROL_CHARS.sub("\ufffd", str(value))


def _entity(value: Any, kinds: Any) -> Entity:
    if not isinstance(value, dict) or not value:
        return Entity("unknown", "", None)
    for kind in kinds:
        if kind in value:
            break
    else:
        kind = str(next(iter(value)))
    facts = value[kind]
    if not isinstance(facts, dict):
        return Entity(kind, "", None)
    name = facts.get("email") or facts.get("description") or facts.get("name")
    uuid = facts.get("uuid")
    return Entity(kind, name if isinstance(name, str) else "", uuid if isinstance(uuid, str) else None)


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Surrogates as bytes of their own: as escapes, two halves of a pair become one character, as always.
        return body.decode("utf-8-sig", "surrogatepass").encode("utf-8", "backslashreplace").decode()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _refuse_literal(literal: str) -> NoReturn:
    raise ValueError(f"{literal} has to be kept as it is")


def _read_plain_lines(text: str) -> List[Entry]:
    """The entries of canonical lines without numbers; ValueError for any other text."""
    found: List[Entry] = []
    position = 0
    while position < len(text):
        entry, position = _PLAIN_DECODER.raw_decode(text, position)
        if not isinstance(entry, dict) or text[position : position + 1] != "\n":
            raise ValueError("no line of an entry")
        found.append(entry)
        position += 1
    # One object cannot begin another, so the whole is canonical only if each line is.
    if _ENCODER.encode(found) != "[" + text[:-1].replace("\n", ",") + "]":
        raise ValueError("not canonical")
    return found


def _read_line(line: bytes) -> Entry:
    try:
        entry = parse(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        raise ValueError("it holds a line that is no entry")
    if canonical(entry) != line:
        raise ValueError("it holds a line that is no entry in canonical form")
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


# Made once, for the entries in which nothing has to be kept as it is written.
_PLAIN_DECODER = json.JSONDecoder(
    parse_float=_refuse_literal, parse_int=_refuse_literal, parse_constant=_refuse_literal
)
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False)
