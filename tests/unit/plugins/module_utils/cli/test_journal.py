# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command journal."""

from __future__ import annotations

import json

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.schemas import SCHEMAS
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.cli.host import Host
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.journald import Journald


def test_journal_writes_each_new_entry_once(host: Host, simulator: Simulator) -> None:
    host.run("collect", host.archive)
    with Journald(host.directory / "socket") as journald:
        options = ("--socket", journald.path, "--bookmark", "bookmark")
        first = host.run("journal", host.archive, *options)
        assert (first.returncode, first.stdout, first.stderr) == (0, "7 entries written to the journal.\n", "")
        simulator.project("main").log.append(action="server_stop", message="new")
        host.run("collect", host.archive)
        assert host.json("journal", host.archive, *options) == {"entries": 1, "pruned": 0}
        assert host.run_without_requests("journal", host.archive, *options).returncode == 0
    entries = [json.loads(message["MESSAGE"])["entry"] for message in journald.messages]
    assert entries == simulator.project("main").log.entries


@pytest.mark.parametrize(("schema", "place"), [("ecs", ("event", "id")), ("ocsf", ("metadata", "uid"))])
def test_journal_writes_events_of_a_schema_and_selects(
    host: Host, simulator: Simulator, schema: str, place: tuple[str, str]
) -> None:
    log = simulator.project("main").log
    log.append(action="server_stop", message="Server 'web' has been stopped\n\x1b")
    host.run("collect", host.archive)
    with Journald(host.directory / "socket") as journald:
        options = ("--socket", journald.path, "--bookmark", "bookmark", "--format", schema, "--resource", "w?b")
        assert host.json("journal", host.archive, *options) == {"entries": 1, "pruned": 0}
        assert host.json("journal", host.archive, *options) == {"entries": 0, "pruned": 0}
    (message,) = journald.messages
    event = json.loads(message["MESSAGE"])
    group, key = place
    assert event[group].pop(key) == message["CLOUDSCALE_AUDIT_ID"]
    assert event == SCHEMAS[schema](log.entries[-1])
    assert message["MESSAGE"].isprintable()


def test_journal_selects_entries_as_they_are(host: Host, simulator: Simulator) -> None:
    simulator.project("main").log.append(action="server_stop", message="new")
    host.run("collect", host.archive)
    with Journald(host.directory / "socket") as journald:
        result = host.run(
            "journal", host.archive, "--socket", journald.path, "--bookmark", "b", "--action", "server_s*"
        )
        assert result.stdout == "1 entry written to the journal.\n"
    assert [json.loads(message["MESSAGE"])["entry"]["message"] for message in journald.messages] == ["new"]


def test_a_missing_journal_is_a_storage_error(host: Host) -> None:
    host.run("collect", host.archive)
    failed = host.run("journal", host.archive, "--socket", "nowhere", "--bookmark", "bookmark", "--metrics", "j.prom")
    assert (failed.returncode, failed.stderr) == (
        4,
        "cloudscale-audit: The journal at nowhere does not accept messages: No such file or directory; run this on a "
        "host with systemd-journald.\n",
    )
    assert (
        'last_run_exit_status{archive="' + host.archive + '",command="journal",project=""} 4'
        in (host.directory / "j.prom").read_text()
    )
