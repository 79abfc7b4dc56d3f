# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines of known forms are not parsed; the result is the same as if all lines were parsed."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.canonical_lines import (
    CanonicalLines,
    LineSummary,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import (
    canonical,
    parse,
    read_lines,
    timestamp,
)
from ansible_collections.auditops.cloudscale.tests.simulator import history
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MOMENTS = st.one_of(
    st.datetimes().map(lambda moment: f"{moment.isoformat(timespec='microseconds')}Z"),
    st.times().map(lambda moment: f"2026-11-22T{moment.isoformat(timespec='microseconds')}Z"),
    st.sampled_from(
        [
            "2026-02-30T00:00:00.000000Z",
            "2026-11-22T23:59:60.000000Z",
            "2026-11-22T24:00:00.000000Z",
            "0000-11-22T00:00:00.000000Z",
            "2026-11-22T01:00:00Z",
            "2026-11-22T01:00:00.000000+01:00",
            "",
            None,
        ]
    ),
)
SINGLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text('a\u00e9"\\\n\x00\ud800', max_size=3),
)
VALUES = st.one_of(
    SINGLE, st.dictionaries(st.sampled_from(["user", "uuid"]), SINGLE), st.just({"user": {"email": "x"}}), st.just([1])
)
# Keys before and after "timestamp".
ENTRIES = st.dictionaries(st.sampled_from(["action", "actor", 'a"b', "u", "version"]), VALUES).flatmap(
    lambda entry: st.one_of(MOMENTS.map(lambda moment: {**entry, "timestamp": moment}), st.just(entry))
)


def line(entry: Any) -> bytes:
    return canonical(parse(json.dumps(entry).encode())) + b"\n"


def parse_all(block: bytes) -> Any:
    """The summary, or the error message, if every line is parsed."""
    try:
        moments = list(map(timestamp, read_lines(block)))
    except ValueError as exc:
        return str(exc)
    dated = [moment for moment in moments if moment is not None]
    return LineSummary(len(moments), len(moments) - len(dated), min(dated, default=None), max(dated, default=None))


def summary(lines: CanonicalLines, block: bytes) -> Any:
    try:
        return lines.summarize(block)
    except ValueError as exc:
        return str(exc)


slow_settings = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

USUAL = line({"action": "a", "actor": {"user": "x"}, "timestamp": "2026-11-22T12:00:00.000000Z", "version": 1})


def lines_that_know(*blocks: bytes) -> CanonicalLines:
    lines = CanonicalLines()
    for block in blocks:
        lines.summarize(block)
    return lines


@slow_settings
@given(st.lists(st.lists(ENTRIES, max_size=4), max_size=4))
def test_summaries_equal_those_of_parsing_all_lines(blocks: Any) -> None:
    lines = CanonicalLines()
    for entries in blocks:
        block = b"".join(map(line, entries))
        assert summary(lines, block) == parse_all(block)


@slow_settings
@given(st.data(), st.lists(ENTRIES, min_size=1, max_size=3))
def test_summaries_of_changed_lines_equal_those_of_parsing_all_lines(data: Any, entries: Any) -> None:
    block = b"".join(map(line, entries)) + USUAL
    lines = lines_that_know(block)
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(block))] * 2)))
    texts = [b"", b" ", b"\n", b",", b'"', b"\\", b"0", b"-", b"\x00", b"\xff", "é".encode(), block[:end], USUAL]
    forged = block[:begin] + data.draw(st.sampled_from(texts)) + block[end:]
    assert summary(lines, forged) == parse_all(forged)


@pytest.mark.parametrize(
    "forged",
    [
        USUAL.replace(b'"a"', b'"a\nb"'),
        USUAL.replace(b'"a"', b'"a\n' + USUAL.partition(b'"a"')[0] + b'"a"'),
        USUAL.replace(b'"a"', b'"a\n"') + USUAL[:-1],
        b"\n" + USUAL.replace(b'"a"', b'"a\n"'),
        USUAL.replace(b'"a"', b'"a\tb"'),
        USUAL.replace(b'"a"', b'"a\\u0062"'),
    ],
)
def test_a_string_cannot_contain_the_end_of_a_line(forged: bytes) -> None:
    lines = lines_that_know(USUAL)
    for block in (forged, USUAL + forged, forged + USUAL):
        assert summary(lines, block) == parse_all(block)
        assert isinstance(parse_all(block), str)


@pytest.mark.parametrize(
    ("honest", "forged"),
    [
        (b'"a"', b'"\x01"'),
        (b'"a"', b'"\\u0061"'),
        (b'"a"', b"01"),
        (b'"a"', b"NaN"),
        (b'"a"', b"[ ]"),
        (b'"a"', b'"\xed\xa0\x80"'),
        (b'"a"', b' "a"'),
        (b'"action"', b'"b"'),
        (b'"version"', b'"timestamp"'),
        (b"}\n", b"}\r\n"),
        (b"}\n", b"} \n"),
        (b"}\n", b"}{}\n"),
        (b"}\n", b"}\n\n"),
        (b"}\n", b"}"),
        (b'{"action"', b' {"action"'),
        (b'{"user"', b'{"user":"x","user"'),
    ],
)
def test_another_form_of_a_known_line_is_rejected(honest: bytes, forged: bytes) -> None:
    lines = lines_that_know(USUAL)
    assert honest in USUAL
    with pytest.raises(ValueError, match="a line that is not an entry"):
        lines.summarize(USUAL * 3 + USUAL.replace(honest, forged, 1))


@pytest.mark.parametrize(
    "moment",
    [
        "2026-11-21T12:00:00.000000Z",
        "2026-11-31T12:00:00.000000Z",
        "2026-11-22T24:00:00.000000Z",
        "2026-11-22T12:60:00.000000Z",
        "2026-11-22T23:59:60.000000Z",
        "2026-11-22T12:00:00.000000+01:00",
        "2026-11-22",
    ],
)
def test_unusual_times_in_a_known_line(moment: str) -> None:
    forged = USUAL.replace(b"2026-11-22T12:00:00.000000Z", moment.encode())
    for block in (forged, forged * 2, USUAL + forged, forged + USUAL, USUAL + forged + USUAL):
        assert lines_that_know(USUAL).summarize(block) == parse_all(block)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The lines that were parsed."""
    lines: list[bytes] = []

    def noted(block: bytes) -> Any:
        lines.extend(block.splitlines(keepends=True))
        return read_lines(block)

    monkeypatch.setattr(sys.modules[CanonicalLines.__module__], "read_lines", noted)
    return lines


def test_few_lines_of_a_varied_log_are_parsed(parsed: list[bytes]) -> None:
    subject = {"project": {"name": "shop", "uuid": "8576274e-d626-4284-9141-206aaea9c075"}}
    days = defaultdict(list)
    for entry in history(weeks=8, until=datetime(2026, 11, 22, tzinfo=timezone.utc), subject=subject):
        days[entry["timestamp"][:10]].append(line(entry))
    lines = CanonicalLines()
    for day in days.values():
        assert lines.summarize(b"".join(day)).entries == len(day)
    assert len(parsed) < sum(map(len, days.values())) / 10


def test_an_unknown_line_does_not_cause_others_to_be_parsed(parsed: list[bytes]) -> None:
    odd = USUAL.replace(b'"a"', b'"\\n"')
    assert lines_that_know(USUAL).summarize(USUAL * 100 + odd + USUAL * 100).entries == 201
    assert parsed == [USUAL, odd]


def test_the_number_of_forms_is_limited(parsed: list[bytes]) -> None:
    forms = [line({f"key{number}": 1, "timestamp": "2026-11-22T12:00:00.000000Z"}) for number in range(100)]
    for lines in (lines_that_know(*forms), lines_that_know(b"".join(forms))):
        parsed.clear()
        assert lines.summarize(forms[0] + forms[99]).entries == 2
        assert parsed == [forms[99]]


def nested(depth: int) -> Any:
    return {"a": nested(depth - 1)} if depth else {}


@pytest.mark.parametrize("value", [nested(20), {f"key{number}": 1 for number in range(1000)}, [1]])
def test_no_form_is_remembered_for_large_entries_and_lists(value: Any, parsed: list[bytes]) -> None:
    big = line({"action": value, "timestamp": "2026-11-22T12:00:00.000000Z"})
    assert lines_that_know(big).summarize(big).entries == 1
    assert parsed == [big, big]
