# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A commit that is read by its pattern is the one that is parsed; all other bytes are left to the parser."""

from __future__ import annotations

import random
import re
from typing import Optional

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import Commit, Malformed
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.usual_commit import read_usual
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

FILE = (
    b'{"path":"entries/date=2026-11-22/000000000007-05bab4d4eedf.jsonl.gz","sha256":"05bab4d4eedf' + b"0" * 52 + b'",'
    b'"bytes":10,"content_sha256":"' + b"1" * 64 + b'","content_bytes":20,"entries":2,'
    b'"first":"2026-11-22T08:00:00.000001Z","last":"2026-11-22T09:00:00Z"}'
)
UNDATED = re.sub(rb'"first".*', b'"first":null,"last":null}', FILE).replace(b"2026-11-22", b"0000-00-00")
BODY = (
    b'{"format":1,"archive_id":"a1","sequence":7,"kind":"entries","run":"r1","signer":null,"previous":"'
    + b"2" * 64
    + b'","project":{"name":"shop","uuid":"u-1"},"api":"https://api.example.com/v1","token_tag":"01234567",'
    b'"cursor_before":"","cursor_after":"cursor=10025","asked":"2026-11-22T10:00:00.5Z","covered_from":'
    b'"2026-09-01T00:00:00Z","covered_until":"2026-11-22T09:59:50Z","files":['
    + UNDATED
    + b","
    + FILE
    + b'],"removed":[],'
    b'"gaps":[],"entries":4,"total_entries":40,"total_gaps":0,"pages":1,"committed_at":"2026-11-22T10:00:01Z",'
    b'"server_date":"2026-11-22T10:00:00Z","clock_skew_seconds":-0.25,"collector":{"version":"1.0.0","host":"h"},'
    b'"newest":"2026-11-22T09:00:00Z"}\n'
).replace(b"10:00:00.5Z", b"10:00:00.500000Z")


def parsed(body: bytes) -> Optional[Commit]:
    try:
        return Commit.parse(body)
    except Malformed:
        return None


def test_the_usual_commit_is_read_as_it_is_parsed() -> None:
    assert read_usual(BODY) == parsed(BODY)
    assert read_usual(BODY) is not None


@pytest.mark.parametrize(
    ("old", "new", "is_usual"),
    [
        (b'"signer":null', b'"signer":"SHA256:' + b"a" * 43 + b'"', True),
        (b'"uuid":"u-1"', b'"uuid":null', True),
        (b'"newest":"2026-11-22T09:00:00Z"', b'"newest":null', True),
        (b'Z"}\n', b'Z","pruned_until":"2026-10-01T00:00:00Z"}\n', True),
        (b'"kind":"entries"', b'"kind":"heartbeat"', True),
        (UNDATED + b"," + FILE, b"", True),
        (b"-0.25", b"-0.0", True),
        (b"-0.25", b"-0.250", False),
        (b"-0.25", b"1e-05", False),
        (b"-0.25", b"00.5", False),
        (b'"shop"', b'"sh\\u00f6p"', False),
        (b'"shop"', b'"sh\\u006fp"', False),
        (b'"entries":4', b'"entries":04', False),
        (b'"entries":4', b'"entries":9007199254740993', False),
        (
            b'"gaps":[]',
            b'"gaps":[{"from":"2026-10-01T00:00:00Z","to":"2026-10-02T00:00:00Z","why":"retention"}]',
            False,
        ),
        (b"2026-11-22T10:00:01Z", b"2026-11-22T10:00:01.000000Z", False),
        (b"2026-11-22T10:00:01Z", b"2026-11-31T10:00:01Z", False),
        (b"2026-11-22T10:00:01Z", b"2026-11-22T24:00:00Z", False),
        (b"2026-11-22T10:00:01Z", b"0001-11-22T10:00:01Z", False),
        (b"2026-11-22T10:00:01Z", "2026-11-22T10:00:0\u0661Z".encode(), False),
        (b"05bab4d4eedf" + b"0" * 52, b"15bab4d4eedf" + b"0" * 52, False),
        (b'"format":1', b'"format":2', False),
        (b'{"format":1', b'{ "format":1', False),
        (b'"h"}', b'"h","more":1}', False),
        (b"}\n", b"}", False),
        (b"}\n", b"}\n\n", False),
    ],
)
def test_other_commits_are_left_to_the_parser(old: bytes, new: bytes, is_usual: bool) -> None:
    body = BODY.replace(old, new)
    assert body != BODY
    found = read_usual(body)
    assert (found is not None) == is_usual
    assert found is None or found == parsed(body)


def test_no_change_of_bytes_is_read_in_another_way() -> None:
    chance = random.Random(7)
    alphabet = b'0123456789abcdefTZ:.-"\\,{}[]eE+ \n\x00\xc3'
    for _attempt in range(20_000):
        body = bytearray(BODY)
        for _change in range(chance.randint(1, 3)):
            place = chance.randrange(len(body))
            body[place : place + chance.randint(0, 2)] = bytes(chance.choices(alphabet, k=chance.randint(0, 2)))
        found = read_usual(bytes(body))
        if found is not None:
            assert found == parsed(bytes(body)), bytes(body)


def test_what_a_collector_writes_is_usual(world: World) -> None:
    for _round in range(3):
        world.append(12)
        world.collect()
        world.wait(hours=2)
        world.collect()
    bodies = [path.read_bytes() for path in sorted((world.path / "commits").iterdir())]
    assert len(bodies) > 6
    for body in bodies:
        assert read_usual(body) == parsed(body) is not None
