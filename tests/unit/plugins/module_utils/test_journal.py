# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import StorageError
from ansible_collections.auditops.cloudscale.plugins.module_utils.journal import Journal, ascii_json
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import canonical, parse
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.journald import Journald

HOSTILE = [
    b'{"message":"plain"}',
    b'{"message":"line\\nbreak \\u0000 \\u001b[31m \\\\ \\" #011"}',
    '{"message":"Z\u00fcrich \U0001f3d4 \u202e \x7f \x85 \u2028"}'.encode(),
    b'{"message":"\\ud800 half","number":1.10,"big":1e400}',
    b'{"MESSAGE=":"PRIORITY=0"}',
]


@pytest.mark.parametrize("line", HOSTILE)
def test_what_arrives_is_printable_and_the_same_entry(tmp_path: Path, line: bytes) -> None:
    with Journald(tmp_path / "socket") as journald, Journal(journald.path) as journal:
        journal.send_entry("id/1", line)
    (message,) = journald.messages
    assert message["SYSLOG_IDENTIFIER"] == "cloudscale-audit"
    assert message["CLOUDSCALE_AUDIT_ID"] == "id/1"
    assert message["MESSAGE"].isprintable()
    assert set(message) == {"SYSLOG_IDENTIFIER", "SYSLOG_FACILITY", "PRIORITY", "CLOUDSCALE_AUDIT_ID", "MESSAGE"}
    received = parse(message["MESSAGE"].encode())
    assert received["id"] == "id/1"
    assert canonical(received["entry"]) == canonical(parse(line))


@pytest.mark.parametrize("line", HOSTILE)
def test_ascii_json_says_the_same_with_the_same_numbers(line: bytes) -> None:
    assert canonical(parse(ascii_json(line).encode())) == canonical(parse(line))


def test_a_message_that_no_datagram_holds_arrives_whole(tmp_path: Path) -> None:
    lines = [json.dumps({"message": letter * size}).encode() for letter, size in [("a", 100), ("b", 5 << 20), ("c", 9)]]
    with Journald(tmp_path / "socket") as journald, Journal(journald.path) as journal:
        for line in lines:
            journal.send_entry("id", line)
    assert [json.loads(message["MESSAGE"])["entry"] for message in journald.messages] == list(map(json.loads, lines))
    assert journald.files == 1


def test_a_file_that_is_handed_over_cannot_change_any_more(tmp_path: Path) -> None:
    taken = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(taken))
        with Journal(str(taken)) as journal:
            journal.send({"MESSAGE": "x" * (5 << 20)})
        _body, (file,), _flags, _address = socket.recv_fds(receiver, 10, 1)
    with open(file, "r+b", buffering=0) as stream, pytest.raises(PermissionError):
        stream.write(b"y")


def test_a_missing_journal_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"The journal at .*/socket does not accept messages: No such file"):
        Journal(str(tmp_path / "socket"))


def test_a_journal_that_disappears_is_reported(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "socket"))
        journal = Journal(str(tmp_path / "socket"))
    with journal, pytest.raises(StorageError, match="does not accept messages: Connection refused"):
        journal.send({"MESSAGE": "x"})
