# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider's own collection (PyPI: ansible) works against the simulator, and the log records what it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

    from .conftest import Controller, Results

WEB = {"name": "web", "flavor": "flex-4-1", "image": "debian-12"}
DATA = {"name": "data", "size_gb": 50}
IMAGE = {
    "name": "golden",
    "url": "https://images.example.com/golden.raw",
    "slug": "golden",
    "user_data_handling": "extend-cloud-config",
    "zones": ["lpg1"],
}

# Each step: its name, the vendor's module and options, whether it changes something, and what the log then says.
# {name.key} stands for a result of an earlier step.
STEPS: list[tuple[str, str, dict[str, Any], bool, list[str]]] = [
    ("group", "server_group", {"name": "spread"}, True, ["Server group 'spread' has been created"]),
    ("group again", "server_group", {"name": "spread"}, False, []),
    ("net", "network", {"name": "back", "auto_create_ipv4_subnet": False}, True, ["Network 'back' has been created"]),
    ("net again", "network", {"name": "back", "auto_create_ipv4_subnet": False}, False, []),
    ("net mtu", "network", {"name": "back", "mtu": 1500}, True, ["Network 'back' has been updated"]),
    (
        "subnet",
        "subnet",
        {"cidr": "10.9.0.0/24", "network": {"name": "back"}},
        True,
        ["Subnet '10.9.0.0/24' has been created"],
    ),
    ("subnet again", "subnet", {"cidr": "10.9.0.0/24", "network": {"name": "back"}}, False, []),
    (
        "subnet dns",
        "subnet",
        {"cidr": "10.9.0.0/24", "network": {"name": "back"}, "dns_servers": ["192.0.2.1"]},
        True,
        ["Subnet '10.9.0.0/24' has been updated"],
    ),
    (
        "web",
        "server",
        {**WEB, "server_groups": ["spread"], "use_public_network": True, "tags": {"tier": "front"}},
        True,
        ["Server 'web' has been created"],
    ),
    ("web again", "server", {**WEB, "server_groups": ["spread"]}, False, []),
    (
        "db",
        "server",
        {**WEB, "name": "db", "interfaces": [{"network": "public"}, {"addresses": [{"subnet": "{subnet.uuid}"}]}]},
        True,
        ["Server 'db' has been created"],
    ),
    (
        "db again",
        "server",
        {**WEB, "name": "db", "interfaces": [{"network": "public"}, {"addresses": [{"subnet": "{subnet.uuid}"}]}]},
        False,
        [],
    ),
    (
        "db private",
        "server",
        {"name": "db", "interfaces": [{"network": "{net.uuid}", "addresses": [{"address": "10.9.0.7"}]}]},
        True,
        ["Server 'db' has been updated"],
    ),
    ("too hot to scale", "server", {**WEB, "flavor": "flex-8-2"}, False, []),
    (
        "scale",
        "server",
        {**WEB, "flavor": "flex-8-2", "force": True},
        True,
        [
            "Server 'web' has been shut down",
            "Server 'web' has been scaled from flex-4-1 to flex-8-2",
            "Server 'web' has been started",
        ],
    ),
    ("scale again", "server", {**WEB, "flavor": "flex-8-2", "force": True}, False, []),
    (
        "rename",
        "server",
        {"uuid": "{db.uuid}", "name": "database"},
        True,
        ["Server 'db' has been renamed to 'database'"],
    ),
    ("tags", "server", {"name": "web", "tags": {"tier": "back"}}, True, ["Server 'web' has been updated"]),
    (
        "data",
        "volume",
        {**DATA, "servers": ["{web.uuid}"]},
        True,
        ["Volume 'data' has been created", "Volume 'data' has been attached to server 'web'"],
    ),
    ("data again", "volume", {**DATA, "servers": ["{web.uuid}"]}, False, []),
    (
        "data bigger",
        "volume",
        {"name": "data", "size_gb": 100},
        True,
        ["Volume 'data' has been scaled from 50 GB to 100 GB"],
    ),
    (
        "data moved",
        "volume",
        {"name": "data", "servers": ["{db.uuid}"]},
        True,
        [
            "Volume 'data' has been detached from server 'web'",
            "Volume 'data' has been attached to server 'database'",
        ],
    ),
    (
        "snapshot",
        "volume_snapshot",
        {"name": "nightly", "source_volume": "{data.uuid}"},
        True,
        ["Volume snapshot 'nightly' has been created"],
    ),
    ("snapshot again", "volume_snapshot", {"name": "nightly", "source_volume": "{data.uuid}"}, False, []),
    (
        "revert",
        "volume",
        {"uuid": "{data.uuid}", "revert": "{snapshot.uuid}"},
        True,
        ["Volume 'data' has been reverted to snapshot 'nightly'"],
    ),
    (
        "snapshot gone",
        "volume_snapshot",
        {"uuid": "{snapshot.uuid}", "state": "absent"},
        True,
        ["Volume snapshot 'nightly' has been deleted"],
    ),
    (
        "v4",
        "floating_ip",
        {"name": "front", "ip_version": 4, "server": "{web.uuid}"},
        True,
        ["Floating IP '{v4.network}' has been created"],
    ),
    ("v4 again", "floating_ip", {"name": "front", "ip_version": 4, "server": "{web.uuid}"}, False, []),
    (
        "v4 moved",
        "floating_ip",
        {"network": "{v4.ip}", "server": "{db.uuid}"},
        True,
        ["Floating IP '{v4.network}' has been assigned to server 'database'"],
    ),
    (
        "v6",
        "floating_ip",
        {"name": "range", "ip_version": 6, "prefix_length": 56},
        True,
        ["Floating IP '{v6.network}' has been created"],
    ),
    (
        "v4 gone",
        "floating_ip",
        {"network": "{v4.network}", "state": "absent"},
        True,
        ["Floating IP '{v4.network}' has been deleted"],
    ),
    (
        "v6 gone",
        "floating_ip",
        {"name": "range", "state": "absent"},
        True,
        ["Floating IP '{v6.network}' has been deleted"],
    ),
    ("bucket user", "objects_user", {"display_name": "backup"}, True, ["Objects user 'backup' has been created"]),
    ("bucket user again", "objects_user", {"display_name": "backup"}, False, []),
    (
        "bucket user renamed",
        "objects_user",
        {"id": "{bucket user.id}", "display_name": "archive"},
        True,
        ["Objects user 'backup' has been renamed to 'archive'"],
    ),
    (
        "bucket user gone",
        "objects_user",
        {"display_name": "archive", "state": "absent"},
        True,
        ["Objects user 'archive' has been deleted"],
    ),
    ("image", "custom_image", IMAGE, True, ["Custom image 'golden' has been created"]),
    ("image again", "custom_image", IMAGE, False, []),
    (
        "image tags",
        "custom_image",
        {**IMAGE, "tags": {"release": "7"}},
        True,
        ["Custom image 'golden' has been updated"],
    ),
    (
        "image gone",
        "custom_image",
        {"uuid": "{image.uuid}", "state": "absent"},
        True,
        ["Custom image 'golden' has been deleted"],
    ),
    ("image still gone", "custom_image", {"uuid": "{image.uuid}", "state": "absent"}, False, []),
    ("stop", "server", {"name": "web", "state": "stopped"}, True, ["Server 'web' has been shut down"]),
    ("stop again", "server", {"name": "web", "state": "stopped"}, False, []),
    ("start", "server", {"name": "web"}, True, ["Server 'web' has been started"]),
    ("web gone", "server", {"name": "web", "state": "absent"}, True, ["Server 'web' has been deleted"]),
    ("web still gone", "server", {"name": "web", "state": "absent"}, False, []),
    ("db gone", "server", {"name": "database", "state": "absent"}, True, ["Server 'database' has been deleted"]),
    ("data gone", "volume", {"name": "data", "state": "absent"}, True, ["Volume 'data' has been deleted"]),
    (
        "subnet gone",
        "subnet",
        {"uuid": "{subnet.uuid}", "state": "absent"},
        True,
        ["Subnet '10.9.0.0/24' has been deleted"],
    ),
    ("net gone", "network", {"name": "back", "state": "absent"}, True, ["Network 'back' has been deleted"]),
    (
        "group gone",
        "server_group",
        {"name": "spread", "state": "absent"},
        True,
        ["Server group 'spread' has been deleted"],
    ),
]
NAMES = [step[0] for step in STEPS]


def refer(value: Any) -> Any:
    """{name.key} in options -> the variable that the playbook registered for that step."""
    if isinstance(value, dict):
        return {key: refer(item) for key, item in value.items()}
    if isinstance(value, list):
        return [refer(item) for item in value]
    if isinstance(value, str) and value.startswith("{"):
        name, key = value.strip("{}").split(".")
        return "{{ case_%d.%s }}" % (NAMES.index(name), key)
    return value


@pytest.fixture(scope="module")
def results(controller: Controller) -> Results:
    cases: dict[str, Any] = {
        name: {f"cloudscale_ch.cloud.{module}": refer(given)} for name, module, given, *_rest in STEPS
    }
    cases["log"] = {"auditops.cloudscale.project_logs_info": {}}
    return controller.run(cases)


@pytest.mark.parametrize(("name", "changes"), [(name, changes) for name, *_given, changes, _messages in STEPS])
def test_a_step_changes_what_it_should(results: Results, name: str, changes: bool) -> None:
    assert results[name].get("msg", "") == ""
    assert (results[name].get("failed", False), results[name]["changed"]) == (False, changes)


def test_the_log_records_each_change_in_order(results: Results) -> None:
    expected = [message for *_step, messages in STEPS for message in messages]
    for name in ("v4", "v6"):
        expected = [message.replace("{%s.network}" % name, results[name]["network"]) for message in expected]
    assert [entry["message"] for entry in results["log"]["project_logs"]] == expected


def test_each_entry_names_the_token_and_where_it_was_used(results: Results, simulator: Simulator) -> None:
    entries = results["log"]["project_logs"]
    assert all(entry["actor"] == simulator.project("main").actor for entry in entries)
    assert {entry["ip_address"] for entry in entries} == {"127.0.0.1"}
    assert {entry["action"] for entry in entries if "has been shut down" in entry["message"]} == {"server_stop"}
