# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import json
import re
from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log import entry
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=()))  # lone surrogates too
NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)
ENTRIES = st.dictionaries(TEXTS, VALUES, max_size=6)


def parse_one(text: str) -> Any:
    return entry.parse(text.encode())


@given(ENTRIES)
def test_canonical_form_means_the_same_and_is_one_line(value: Any) -> None:
    parsed = entry.parse(json.dumps(value).encode())
    line = entry.canonical(parsed)
    assert json.loads(line) == json.loads(json.dumps(value))
    assert b"\n" not in line


@given(ENTRIES)
def test_canonical_form_is_a_fixed_point(value: Any) -> None:
    line = entry.canonical(entry.parse(json.dumps(value).encode()))
    assert entry.canonical(entry.parse(line)) == line


@given(ENTRIES, st.randoms())
def test_key_order_and_white_space_do_not_matter(value: Any, random: Any) -> None:
    shuffled = dict(random.sample(list(value.items()), len(value)))
    one, other = json.dumps(value).encode(), json.dumps(shuffled, indent=3, ensure_ascii=False)
    assert entry.digest(entry.parse(one)) == entry.digest(entry.parse(other.encode("utf-8", "backslashreplace")))


@pytest.mark.parametrize("literal", ["1.10", "1e400", "-0", "1E5", "0.1e-7", "9" * 5000, "12345678901234567890"])
def test_number_literals_stay_as_received(literal: str) -> None:
    assert (
        entry.canonical(parse_one('{"b": %s, "a": [%s]}' % (literal, literal)))
        == ('{"a":[%s],"b":%s}' % (literal, literal)).encode()
    )


def test_canonical_form_keeps_unicode_and_escapes_lone_surrogates() -> None:
    parsed = parse_one(r'{"message": "Z\u00fcrich \ud83d\ude00 \ud800 \u0000 \u202e"}')
    assert entry.canonical(parsed) == '{"message":"Zürich 😀 \\ud800 \\u0000 \u202e"}'.encode()


@pytest.mark.parametrize("body", ["", "{", '{"a": NaN}', '{"a": -Infinity}', "[" * 100_000, "<html>", "\xff"])
def test_invalid_json_is_a_value_error(body: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        entry.parse(body.encode("latin-1"))


def test_plain_entries_hold_ordinary_values_only() -> None:
    received = parse_one(r'{"f": 1.10, "i": 7, "l": [1e400, "\ud800"], "d": {"x": 2.5}}')
    assert entry.to_builtin_entry(received) == {"f": 1.1, "i": 7, "l": ["1e400", r"\ud800"], "d": {"x": 2.5}}
    assert {entry.to_builtin_entry(received).__class__} == {dict}
    assert {value.__class__ for value in entry.to_builtin_entry(received).values()} == {float, int, list, dict}


def test_an_entry_without_numbers_is_handed_on_as_it_is() -> None:
    received = parse_one('{"message": "x", "ip_address": null}')
    assert entry.to_builtin_entry(received) is received


@pytest.mark.parametrize(
    ("actor", "label", "text"),
    [
        ({"user": {"email": "j@example.com"}}, ("user", "j@example.com", None), "j@example.com"),
        ({"api_token": {"uuid": "u1", "description": "ci"}}, ("api_token", "ci", "u1"), "ci"),
        ({"api_token": {"uuid": "u1", "description": None}}, ("api_token", "", "u1"), "u1"),
        ({"system": {}}, ("system", "", None), "system"),
        ({"admin": {}}, ("admin", "", None), "admin"),
        ({"robot": {"name": "r2"}}, ("robot", "r2", None), "r2"),
        ({"robot": 5}, ("robot", "", None), "robot"),
        ({"user": {"email": 5}}, ("user", "", None), "user"),
        ({}, ("unknown", "", None), "unknown"),
        (None, ("unknown", "", None), "unknown"),
        ("x", ("unknown", "", None), "unknown"),
    ],
)
def test_actor_labels(actor: Any, label: Any, text: str) -> None:
    found = entry.actor({"actor": actor})
    assert tuple(found) == label
    assert str(found) == text


def test_subject_labels() -> None:
    assert tuple(entry.subject({"subject": {"project": {"uuid": "p", "name": "Shop"}}})) == ("project", "Shop", "p")
    assert str(entry.subject({"subject": {"user": {"email": "j@example.com"}}})) == "j@example.com"


def test_timestamp_is_read_or_none() -> None:
    assert entry.timestamp({"timestamp": "2026-01-02T03:04:05Z"}) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    assert entry.timestamp({"timestamp": 5}) is None
    assert entry.timestamp({}) is None


@given(ENTRIES)
def test_looking_at_an_entry_never_changes_it(value: Any) -> None:
    before = copy.deepcopy(value)
    entry.actor(value), entry.subject(value), entry.timestamp(value), entry.canonical(value)
    assert value == before


def test_digest_is_the_sha256_of_the_canonical_form() -> None:
    assert re.fullmatch("[0-9a-f]{64}", entry.digest({}))
    assert entry.digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize(
    "char", ["\x00", "\x1b", "\n", "\r", "\t", "\x7f", "\x85", "\u2028", "\u202e", "\u2066", "\ud800"]
)
def test_what_could_mislead_a_reader_is_made_visible(char: str) -> None:
    assert entry.to_printable(f"a{char}b") == "a\ufffdb"


@given(st.one_of(st.none(), st.text(), st.integers(), st.dictionaries(st.text(), st.text())))
def test_a_cell_is_one_printable_line(value: Any) -> None:
    assert len(entry.to_printable(value).splitlines()) <= 1
    entry.to_printable(value).encode()


@given(st.lists(ENTRIES))
def test_lines_are_read_as_one_by_one(values: Any) -> None:
    lines = [entry.canonical(entry.parse(json.dumps(value).encode())) for value in values]
    found = entry.read_lines(b"".join(line + b"\n" for line in lines))
    assert list(map(entry.canonical, found)) == lines


@pytest.mark.parametrize(
    "block",
    [
        b'{"a":"1"}',
        b'{"a":"1"}\n{"a":"2"}',
        b'{"a":"1"}{"a":"2"}\n',
        b'{"a":"1"},{"a":"2"}\n',
        b'{"a":"1"} \n',
        b' {"a":"1"}\n',
        b'{"b":"1","a":"2"}\n',
        b'{"a":"1","a":"2"}\n',
        b'{"a":"1",\n"b":"2"}\n',
        b'{"a":"1"\n"b":"2"}\n',
        b'{"a":"\\u00e9"}\n',
        b'{"a":"1"}\r\n',
        b'{"a":1 }\n',
        b'{"a":NaN}\n',
        b'["a"]\n',
        b'{"x":[{}\n{}]}\n',
        b'{"a":"1"}\n\n',
        b'{"a":"\xff"}\n',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
    ],
)
def test_lines_in_any_other_form_are_refused(block: bytes) -> None:
    good = b'{"a":"1"}\n'
    with pytest.raises(ValueError, match="a line that is not an entry"):
        entry.read_lines(good + block)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b'{"a":"\xed\xa0\xbd\xed\xb8\x80"}', '{"a":"\U0001f600"}'),
        (b'{"a":"\\ud83d\xed\xb8\x80"}', '{"a":"\U0001f600"}'),
        (b'{"a":"\xed\xa0\xbd"}', r'{"a":"\ud83d"}'),
        (b'\xef\xbb\xbf{"a":"b"}', '{"a":"b"}'),
    ],
)
def test_surrogates_as_bytes_of_their_own_are_read_as_escapes(body: bytes, line: str) -> None:
    parsed = entry.parse(body)
    assert entry.canonical(parsed) == line.encode()
    assert entry.read_lines(line.encode() + b"\n") == [parsed]
    json.dumps(entry.to_builtin_entry(parsed), ensure_ascii=False).encode()


@pytest.mark.parametrize("body", [b"\xff", b'{"a":"\xff"}', '{"a":"b"}'.encode("utf-16")])
def test_invalid_utf_8_is_not_json(body: bytes) -> None:
    with pytest.raises(ValueError, match="codec"):
        entry.parse(body)


def test_numbers_and_surrogates_are_read_in_lines() -> None:
    block = b'{"a":1.10}\n{"b":"\\udc00"}\n{"c":"\xc3\xa9"}\n'
    assert b"".join(entry.canonical(one) + b"\n" for one in entry.read_lines(block)) == block
