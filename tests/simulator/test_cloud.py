# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes by plain REST calls, and what the log then shows."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.log import write_time
from ansible_collections.auditops.cloudscale.tests.simulator.testing import Client, Clock

SERVER = {"name": "hello", "flavor": "flex-4-1", "image": "debian-12"}


def make(client: Client, path: str, **fields: Any) -> Dict[str, Any]:
    response = client.ask("POST", path, json=fields)
    assert response.status_code == 201, response.text
    made: Dict[str, Any] = response.json()
    return made


def change(client: Client, method: str, href: str, **fields: Any) -> None:
    response = client.ask(method, href, json=fields or None)
    assert response.status_code == 204, response.text


def test_the_vendors_acceptance_scenario(sim: Simulator, client: Client, clock: Clock) -> None:
    start = write_time(clock.now)
    page = client.page(start=start)
    assert page["results"] == []
    server = make(client, "/servers", **SERVER)
    steps = (
        ("server_create", "Server 'hello' has been created", None),
        ("server_stop", "Server 'hello' has been shut down", ("POST", server["href"] + "/stop")),
        ("server_delete", "Server 'hello' has been deleted", ("DELETE", server["href"])),
    )
    seen: List[Dict[str, Any]] = []
    for action, message, request in steps:
        if request:
            change(client, *request)
        page = client.page(page["poll_more"])
        [entry] = page["results"]
        assert (entry["action"], entry["message"]) == (action, message)
        assert entry["actor"] == sim.project("main").actor
        assert entry["ip_address"] == "127.0.0.1"
        assert page["next"] is None
        seen.append(entry)
    assert client.page(start=start)["results"] == seen
    assert client.page(page["poll_more"])["results"] == []


def test_a_server_is_started_stopped_scaled_and_deleted(client: Client) -> None:
    server = make(client, "/servers", **SERVER, tags={"a": "b"})
    assert (server["status"], server["flavor"]["slug"], server["zone"]) == ("running", "flex-4-1", {"slug": "lpg1"})
    assert client.ask("PATCH", server["href"], json={"flavor": "flex-8-4"}).status_code == 400
    change(client, "POST", server["href"] + "/stop")
    change(client, "PATCH", server["href"], flavor="flex-8-4")
    change(client, "POST", server["href"] + "/start")
    change(client, "POST", server["href"] + "/reboot")
    change(client, "PATCH", server["href"], name="bye")
    change(client, "PATCH", server["href"], name="bye")
    change(client, "PATCH", server["href"], tags={})
    shown = client.ask("GET", server["href"]).json()
    assert (shown["name"], shown["flavor"]["vcpu_count"], shown["flavor"]["memory_gb"]) == ("bye", 4, 8)
    change(client, "DELETE", server["href"])
    assert client.ask("GET", server["href"]).status_code == 404
    assert client.messages() == [
        "Server 'hello' has been created",
        "Server 'hello' has been shut down",
        "Server 'hello' has been scaled from flex-4-1 to flex-8-4",
        "Server 'hello' has been started",
        "Server 'hello' has been rebooted",
        "Server 'hello' has been renamed to 'bye'",
        "Server 'bye' has been updated",
        "Server 'bye' has been deleted",
    ]


def test_volumes_are_attached_and_detached(client: Client) -> None:
    server = make(client, "/servers", **SERVER)
    volume = make(client, "/volumes", name="data", size_gb=50, servers=[server["uuid"]])
    assert [stub["name"] for stub in volume["servers"]] == ["hello"]
    assert len(client.ask("GET", server["href"]).json()["volumes"]) == 2
    change(client, "PATCH", volume["href"], size_gb=100)
    assert client.ask("PATCH", volume["href"], json={"size_gb": 10}).status_code == 400
    change(client, "PATCH", volume["href"], servers=[])
    snapshot = make(client, "/volume-snapshots", name="before", source_volume=volume["uuid"])
    change(client, "POST", volume["href"] + "/revert", snapshot=snapshot["uuid"])
    change(client, "DELETE", snapshot["href"])
    change(client, "DELETE", volume["href"])
    assert client.messages()[1:] == [
        "Volume 'data' has been created",
        "Volume 'data' has been attached to server 'hello'",
        "Volume 'data' has been scaled from 50 GB to 100 GB",
        "Volume 'data' has been detached from server 'hello'",
        "Volume snapshot 'before' has been created",
        "Volume 'data' has been reverted to snapshot 'before'",
        "Volume snapshot 'before' has been deleted",
        "Volume 'data' has been deleted",
    ]
    actions = [entry["action"] for entry in client.page()["results"]]
    assert actions[1:3] == ["volume_create", "server_volume_attach"]


def test_a_moved_volume_is_detached_first(client: Client) -> None:
    volume = make(client, "/volumes", name="data", size_gb=50)
    servers = [make(client, "/servers", **{**SERVER, "name": f"host-{number}"}) for number in range(6)]
    for server in servers:
        change(client, "PATCH", volume["href"], servers=[server["uuid"]])
    moves = [message.split("has been ")[1] for message in client.messages() if message.startswith("Volume")]
    expected = ["created", "attached to server 'host-0'"]
    for number in range(5):
        expected += [f"detached from server 'host-{number}'", f"attached to server 'host-{number + 1}'"]
    assert moves == expected


def test_servers_have_private_networks(client: Client) -> None:
    network = make(client, "/networks", name="backend", auto_create_ipv4_subnet=False)
    subnet = make(client, "/subnets", cidr="10.5.0.0/24", network=network["uuid"])
    assert subnet["gateway_address"] == "10.5.0.1"
    interfaces = [
        {"network": "public"},
        {"addresses": [{"subnet": subnet["uuid"], "address": "10.5.0.77"}]},
        {"network": network["uuid"], "addresses": []},
        {"network": network["uuid"]},
    ]
    server = make(client, "/servers", **SERVER, interfaces=interfaces)
    public, fixed, bare, automatic = server["interfaces"]
    assert public["type"] == "public"
    assert fixed["addresses"][0]["address"] == "10.5.0.77"
    assert fixed["network"]["uuid"] == network["uuid"]
    assert bare["addresses"] == []
    assert automatic["addresses"][0]["subnet"]["uuid"] == subnet["uuid"]
    change(client, "DELETE", server["href"])
    change(client, "DELETE", network["href"])
    assert client.ask("GET", subnet["href"]).status_code == 404


def test_floating_ips_are_assigned(client: Client) -> None:
    server = make(client, "/servers", **SERVER)
    v4 = make(client, "/floating-ips", ip_version=4, tags={"name": "web"})
    v6 = make(client, "/floating-ips", ip_version=6, prefix_length=56)
    assert v4["network"].startswith("198.51.100.")
    assert v6["network"].startswith("2001:db8:")
    change(client, "PATCH", v4["href"], server=server["uuid"])
    assert client.ask("GET", v4["href"]).json()["server"]["name"] == "hello"
    change(client, "PATCH", v4["href"], server=None)
    assert [item["href"] for item in client.ask("GET", "/floating-ips?tag:name=web").json()] == [v4["href"]]
    assert client.messages()[-2:] == [
        f"Floating IP '{v4['network']}' has been assigned to server 'hello'",
        f"Floating IP '{v4['network']}' has been unassigned",
    ]


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("/servers", {"name": "x"}, 400),
        ("/servers", {**SERVER, "flavor": "huge"}, 400),
        ("/servers", {**SERVER, "server_groups": ["none"]}, 400),
        ("/volumes", {"name": "x", "size_gb": 1, "servers": ["none"]}, 400),
        ("/subnets", {"cidr": "10.0.0.0/24", "network": "none"}, 400),
        ("/custom-images", {"name": "x"}, 405),
        ("/custom-images/import", {"name": "x"}, 400),
        ("/servers/none/stop", {}, 404),
    ],
)
def test_impossible_changes_are_refused_and_leave_no_entry(
    client: Client, path: str, fields: Dict[str, Any], status: int
) -> None:
    assert client.ask("POST", path, json=fields).status_code == status
    assert client.messages() == []
    assert client.ask("GET", "/servers").json() == []


def test_bodies_that_are_not_json_are_refused(client: Client) -> None:
    for body in (b"{", b"[]", b""):
        assert client.ask("POST", "/servers", data=body).status_code == 400


def test_listings_of_available_resources(client: Client) -> None:
    assert "flex-4-1" in [flavor["slug"] for flavor in client.ask("GET", "/flavors").json()]
    assert "debian-12" in [image["slug"] for image in client.ask("GET", "/images").json()]
    assert client.ask("GET", "/regions").json()[0]["zones"]


def test_projects_do_not_see_each_other(sim: Simulator, client: Client) -> None:
    sim.add_project("other")
    server = make(client, "/servers", **SERVER)
    with Client(sim, "other") as other:
        assert other.ask("GET", "/servers").json() == []
        assert other.ask("DELETE", server["href"]).status_code == 404
        assert other.messages() == []
