# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads typed values from decoded JSON in which the order of keys and the form of each value are fixed."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Any, Callable, List, Optional, Pattern, Tuple, TypeVar

from ...times import parse_timestamp

WRONG_FORM = "it is not written in the one form that commits have"

_ANY_TEXT = re.compile(r".{0,255}", re.DOTALL)
# The form that format_time writes, for text that can be parsed as a time.
_TIME = re.compile(r"[0-9-]{10}T[0-9:]{8}(?:\.(?!000000)[0-9]{6})?Z", re.ASCII)
_MAX_COUNT = (1 << 53) - 1  # the largest integer that every JSON reader keeps exactly
_END = (None, None)

_T = TypeVar("_T")


class Malformed(ValueError):
    """Bytes do not have the required form. The message is a phrase that names the wrong part."""


class Fields:
    """The values of a JSON object, which must be read in the order of its keys.

    Malformed names the first key that is missing, in the wrong position, or has a value of the wrong type or form.
    """

    def __init__(self, value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise Malformed(f"{path or 'it'} is not a JSON object")
        self._value = value
        self._items = iter(value.items())
        self._prefix = f"{path}." if path else ""

    def end(self) -> None:
        """Check that no key is left."""
        if next(self._items, _END) is not _END:
            raise Malformed(WRONG_FORM)

    def has(self, key: str) -> bool:
        return key in self._value

    def text(self, key: str, pattern: Pattern[str] = _ANY_TEXT) -> str:
        value = self._next(key)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self._invalid(key)
        return value

    def optional_text(self, key: str, pattern: Pattern[str] = _ANY_TEXT) -> Optional[str]:
        value = self._next(key)
        if value is None:
            return None
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self._invalid(key)
        return value

    def texts(self, key: str, pattern: Pattern[str]) -> Tuple[str, ...]:
        values = self._list(key)
        if not all(isinstance(value, str) and pattern.fullmatch(value) for value in values):
            raise self._invalid(key)
        return tuple(values)

    def count(self, key: str) -> int:
        value = self._next(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_COUNT:
            raise self._invalid(key)
        return value

    def flag(self, key: str) -> bool:
        value = self._next(key)
        if not isinstance(value, bool):
            raise self._invalid(key)
        return value

    def seconds(self, key: str) -> float:
        value = self._next(key)
        if not isinstance(value, float) or not math.isfinite(value):  # Python's JSON reader accepts NaN and Infinity
            raise self._invalid(key)
        return value

    def time(self, key: str) -> datetime:
        return self._time(key, self._next(key))

    def optional_time(self, key: str) -> Optional[datetime]:
        value = self._next(key)
        return None if value is None else self._time(key, value)

    def one(self, key: str, read: Callable[[Fields], _T]) -> _T:
        return read_fields(self._next(key), self._prefix + key, read)

    def many(self, key: str, read: Callable[[Fields], _T]) -> Tuple[_T, ...]:
        values = self._list(key)
        return tuple(read_fields(value, f"{self._prefix}{key}[{number}]", read) for number, value in enumerate(values))

    def _list(self, key: str) -> List[Any]:
        value = self._next(key)
        if not isinstance(value, list):
            raise self._invalid(key)
        return value

    def _time(self, key: str, value: Any) -> datetime:
        moment = parse_timestamp(value)
        if moment is None:
            raise self._invalid(key)
        if not _TIME.fullmatch(value):
            raise Malformed(WRONG_FORM)
        return moment

    def _next(self, key: str) -> Any:
        found, value = next(self._items, _END)
        if found != key:
            raise self._invalid(key)
        return value

    def _invalid(self, key: str) -> Malformed:
        return Malformed(f"{self._prefix}{key} is missing or invalid")


def read_fields(value: Any, path: str, read: Callable[[Fields], _T]) -> _T:
    """The result of ``read``, which must read all keys of a JSON object."""
    fields = Fields(value, path)
    result = read(fields)
    fields.end()
    return result
