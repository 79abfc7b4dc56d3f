# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands in a project: servers, volumes, networks and so on; each change writes the entry that the API would."""

from __future__ import annotations

import ipaddress
import re
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from .log import Entry, ProjectLog, write_time

Resource = Dict[str, Any]
Answer = Tuple[int, Any]

_FLAVOR = re.compile(r"(?:flex|plus)-(\d+)(?:-(\d+))?|gpu\d-(\d+)-(\d+)-\d+-\d+", re.ASCII)
_SERVER_ACTIONS = {
    "start": ("server_start", "started", "running"),
    "stop": ("server_stop", "shut down", "stopped"),
    "reboot": ("server_reboot", "rebooted", "running"),
}
_FLAVORS = ("flex-4-1", "flex-4-2", "flex-8-2", "flex-8-4", "flex-16-4", "plus-12-4", "plus-32-8")
_IMAGES = (("debian-12", "Debian 12"), ("debian-13", "Debian 13"), ("ubuntu-24.04", "Ubuntu 24.04 LTS"))
_ZONES = {"lpg": "lpg1", "rma": "rma1"}
_PUBLIC = {"uuid": "5d3a8f0e-64d5-4b0e-9f5c-2f8a6f3c1b7d", "cidr": "203.0.113.0/24"}
_DNS_SERVERS = ["192.0.2.53", "2001:db8:53::53"]


@dataclass(frozen=True)
class Caller:
    """Who asks, from where, and by which API URL."""

    actor: Entry
    ip_address: Optional[str]
    api_url: str


class Refused(Exception):
    """The API refuses a request with this status and JSON document."""

    def __init__(self, status: int, document: Any) -> None:
        super().__init__(document)
        self.status = status
        self.document = document


@dataclass(frozen=True)
class Kind:
    """A sort of resource: how its entries call it, which field tells one from the other, which one people name it by.

    ``fields`` are what a client may set, with their defaults; None has none.
    """

    action: str
    label: str
    fields: Mapping[str, Any]
    required: Tuple[str, ...]
    key: str = "uuid"
    name: str = "name"


KINDS: Dict[str, Kind] = {
    "servers": Kind(
        "server",
        "Server",
        {"name": None, "flavor": None, "image": None, "server_groups": [], "interfaces": None},
        ("name", "flavor", "image"),
    ),
    "volumes": Kind(
        "volume", "Volume", {"name": None, "size_gb": None, "type": "ssd", "servers": []}, ("name", "size_gb")
    ),
    "volume-snapshots": Kind(
        "volume_snapshot", "Volume snapshot", {"name": None, "source_volume": None}, ("name", "source_volume")
    ),
    "networks": Kind("network", "Network", {"name": None, "mtu": 9000}, ("name",)),
    "subnets": Kind(
        "subnet",
        "Subnet",
        {"cidr": None, "network": None, "gateway_address": None, "dns_servers": None},
        ("cidr", "network"),
        name="cidr",
    ),
    "floating-ips": Kind(
        "floating_ip",
        "Floating IP",
        {
            "ip_version": None,
            "server": None,
            "prefix_length": None,
            "reverse_ptr": None,
            "type": "regional",
            "region": "lpg",
        },
        ("ip_version",),
        key="ip",
        name="network",
    ),
    "server-groups": Kind("server_group", "Server group", {"name": None, "type": "anti-affinity"}, ("name", "type")),
    "objects-users": Kind(
        "objects_user", "Objects user", {"display_name": None}, ("display_name",), key="id", name="display_name"
    ),
    "custom-images": Kind(
        "custom_image",
        "Custom image",
        {
            "name": None,
            "slug": None,
            "user_data_handling": "extend-cloud-config",
            "firmware_type": "bios",
            "zones": None,
        },
        (),
    ),
}
_ZONED = ("servers", "volumes", "networks", "server-groups")


class Cloud:
    """The resources of one project. Not for several threads at once: the server's own uses it."""

    def __init__(self, log: ProjectLog, clock: Callable[[], datetime]) -> None:
        self._log = log
        self._clock = clock
        self._all: Dict[str, Dict[str, Resource]] = {kind: {} for kind in KINDS}
        self._addresses = 0

    def handle(self, method: str, path: str, query: Mapping[str, str], body: Any, caller: Caller) -> Answer:
        """Answer one request: status and JSON document.

        :raises Refused: there is no such resource, or it cannot be done.
        """
        parts = path.strip("/").split("/")
        if parts[:2] == ["custom-images", "import"]:
            return self._imports(method, parts[2:], body, caller)
        if method == "GET" and parts[0] in ("flavors", "images", "regions") and len(parts) == 1:
            return 200, _listing(parts[0])
        if parts[0] not in KINDS or len(parts) > 3:
            raise _not_found()
        if len(parts) == 1:
            return self._collection(method, parts[0], query, body, caller)
        found = self._find(parts[0], parts[1])
        if len(parts) == 3:
            return self._act(method, parts[0], found, parts[2], body, caller)
        return self._one(method, parts[0], found, body, caller)

    def _collection(self, method: str, kind: str, query: Mapping[str, str], body: Any, caller: Caller) -> Answer:
        if method == "GET":
            tags = {name[len("tag:") :]: value for name, value in query.items() if name.startswith("tag:")}
            listed = [item for item in self._all[kind].values() if tags.items() <= item["tags"].items()]
            return 200, [self._show(kind, item, caller) for item in listed]
        if method != "POST" or kind == "custom-images":
            raise _not_allowed(method)
        return 201, self._show(kind, self._create(kind, _fields_of(body), caller), caller)

    def _one(self, method: str, kind: str, found: Resource, body: Any, caller: Caller) -> Answer:
        if method == "GET":
            return 200, self._show(kind, found, caller)
        if method == "PATCH":
            self._patch(kind, found, _fields_of(body), caller)
        elif method == "DELETE":
            self._delete(kind, found, caller)
        else:
            raise _not_allowed(method)
        return 204, None

    def _act(self, method: str, kind: str, found: Resource, action: str, body: Any, caller: Caller) -> Answer:
        if method == "POST" and kind == "servers" and action in _SERVER_ACTIONS:
            written, done, found["status"] = _SERVER_ACTIONS[action]
            self._write(caller, written, f"Server '{found['name']}' has been {done}")
        elif method == "POST" and kind == "volumes" and action == "revert":
            snapshot = self._reference("volume-snapshots", _fields_of(body).get("snapshot"), "snapshot")
            text = f"Volume '{found['name']}' has been reverted to snapshot '{snapshot['name']}'"
            self._write(caller, "volume_revert", text)
        else:
            raise _not_found()
        return 204, None

    def _imports(self, method: str, rest: List[str], body: Any, caller: Caller) -> Answer:
        images = self._all["custom-images"]
        if method == "POST" and not rest:
            image = self._create("custom-images", _fields_of(body, "name", "url", "slug"), caller)
            return 201, _show_import(image, caller)
        if method != "GET":
            raise _not_allowed(method)
        if rest:
            return 200, _show_import(self._find("custom-images", rest[0]), caller)
        return 200, [_show_import(image, caller) for image in images.values()]

    def _create(self, kind: str, fields: Resource, caller: Caller) -> Resource:
        sort = KINDS[kind]
        _require(fields, sort.required)
        made = {name: fields.get(name, default) for name, default in sort.fields.items()}
        made.update(uuid=str(uuid.uuid4()), created_at=write_time(self._clock()), tags=fields.get("tags") or {})
        if kind in _ZONED:
            made["zone"] = fields.get("zone", "lpg1")
        self._complete(kind, made, fields)
        self._all[kind][made[sort.key]] = made
        self._write(caller, f"{sort.action}_create", f"{_title(kind, made)} has been created")
        if kind == "volumes":
            self._attach(made, [], made["servers"], caller)
        return made

    def _complete(self, kind: str, made: Resource, fields: Resource) -> None:
        """What the API adds to what a client asks for."""
        if kind == "servers":
            self._complete_server(made, fields)
        elif kind == "volumes":
            self._references("servers", made["servers"], "servers")
        elif kind == "volume-snapshots":
            made["size_gb"] = self._reference("volumes", made["source_volume"], "source_volume")["size_gb"]
        elif kind == "networks" and fields.get("auto_create_ipv4_subnet", True):
            self._auto_subnet(made)
        elif kind == "subnets":
            self._reference("networks", made["network"], "network")
            _complete_subnet(made)
        elif kind == "floating-ips":
            self._complete_floating_ip(made)
        elif kind == "objects-users":
            made["id"] = secrets.token_hex(32)
            made["keys"] = [{"access_key": secrets.token_hex(10).upper(), "secret_key": secrets.token_urlsafe(30)}]
        elif kind == "custom-images":
            made["url"] = fields["url"]

    def _complete_server(self, made: Resource, fields: Resource) -> None:
        _check_flavor(made["flavor"])
        self._references("server-groups", made["server_groups"], "server_groups")
        made["status"] = "running"
        made["root_volume"] = {"uuid": str(uuid.uuid4()), "size_gb": fields.get("volume_size_gb", 10)}
        if made["interfaces"] is None:
            made["interfaces"] = [{"network": "public"}] if fields.get("use_public_network", True) else []
        made["interfaces"] = [self._interface(wanted) for wanted in made["interfaces"]]

    def _interface(self, wanted: Resource) -> Resource:
        network, requested = wanted.get("network"), wanted.get("addresses")
        if network == "public":
            return {"type": "public", "addresses": [{"version": 4, "address": self._next_address(_PUBLIC["cidr"])}]}
        if network is None:
            first = requested[0].get("subnet") if requested else None
            network = self._reference("subnets", first, "interfaces")["network"]
        self._reference("networks", network, "interfaces")
        if requested is None:
            requested = [{}] if self._subnets_of(network) else []
        return {
            "type": "private",
            "network": network,
            "addresses": [self._address(item, network) for item in requested],
        }

    def _address(self, wanted: Resource, network: str) -> Resource:
        key = wanted.get("subnet") or next(iter(self._subnets_of(network)), None)
        subnet = self._reference("subnets", key, "interfaces")
        address = wanted.get("address") or self._next_address(subnet["cidr"])
        return {"version": 4, "address": address, "subnet": subnet["uuid"]}

    def _subnets_of(self, network: str) -> List[str]:
        return [key for key, subnet in self._all["subnets"].items() if subnet["network"] == network]

    def _auto_subnet(self, network: Resource) -> None:
        cidr = f"172.{16 + len(self._all['networks']) % 16}.0.0/24"
        subnet = {"cidr": cidr, "network": network["uuid"], "gateway_address": None, "dns_servers": None}
        subnet.update(uuid=str(uuid.uuid4()), created_at=network["created_at"], tags={})
        _complete_subnet(subnet)
        self._all["subnets"][subnet["uuid"]] = subnet

    def _complete_floating_ip(self, made: Resource) -> None:
        if made["server"] is not None:
            self._reference("servers", made["server"], "server")
        if made["ip_version"] == 6:
            self._addresses += 1
            made["ip"] = str(ipaddress.ip_address("2001:db8::") + (self._addresses << 72))
        else:
            made["ip"] = self._next_address("198.51.100.0/24")
        longest = 128 if made["ip_version"] == 6 else 32
        made["network"] = f"{made['ip']}/{made['prefix_length'] or longest}"
        made["reverse_ptr"] = (
            made["reverse_ptr"] or f"{made['ip'].replace('.', '-').replace(':', '-')}.cust.example.net"
        )

    def _next_address(self, cidr: str) -> str:
        self._addresses += 1
        network = ipaddress.ip_network(cidr)
        return str(network[2 + self._addresses % (network.num_addresses - 4)])

    def _patch(self, kind: str, found: Resource, fields: Resource, caller: Caller) -> None:
        changes = {name: value for name, value in fields.items() if found.get(name, _MISSING) != value}
        unknown = [name for name in changes if name not in KINDS[kind].fields and name != "tags"]
        if unknown:
            raise Refused(400, {name: ["This field cannot be changed."] for name in unknown})
        for name, value in changes.items():
            self._change(kind, found, name, value, caller)

    def _change(self, kind: str, found: Resource, name: str, value: Any, caller: Caller) -> None:
        title, action, before = _title(kind, found), KINDS[kind].action, found[name]
        if kind == "servers" and name == "interfaces":
            value = [self._interface(wanted) for wanted in value]
        elif name == "flavor":
            _check_scaling(found, value)
        elif name == "size_gb" and value < before:
            raise Refused(400, {"size_gb": ["A volume cannot become smaller."]})
        elif kind == "floating-ips" and name == "server" and value is not None:
            self._reference("servers", value, "server")
        found[name] = value
        if kind == "subnets":
            _complete_subnet(found)
        if kind == "volumes" and name == "servers":
            self._attach(found, before, value, caller)
        elif name == KINDS[kind].name:
            self._write(caller, f"{action}_rename", f"{title} has been renamed to '{value}'")
        elif name == "flavor":
            self._write(caller, "server_scale", f"{title} has been scaled from {before} to {value}")
        elif name == "size_gb":
            self._write(caller, "volume_scale", f"{title} has been scaled from {before} GB to {value} GB")
        elif kind == "floating-ips" and name == "server":
            self._write(caller, "floating_ip_assign", f"{title} has been {self._assigned(value)}")
        else:
            self._write(caller, f"{action}_update", f"{title} has been updated")

    def _assigned(self, server: Optional[str]) -> str:
        return "unassigned" if server is None else f"assigned to server '{self._all['servers'][server]['name']}'"

    def _attach(self, volume: Resource, before: List[str], after: List[str], caller: Caller) -> None:
        self._references("servers", after, "servers")
        gone, new = ([key for key in one if key not in other] for one, other in ((before, after), (after, before)))
        title, servers = _title("volumes", volume), self._all["servers"]
        for key in gone:
            text = f"{title} has been detached from server '{servers[key]['name']}'"
            self._write(caller, "server_volume_detach", text)
        for key in new:
            self._write(caller, "server_volume_attach", f"{title} has been attached to server '{servers[key]['name']}'")

    def _delete(self, kind: str, found: Resource, caller: Caller) -> None:
        if kind == "servers":
            self._forget_server(found["uuid"])
        elif kind == "networks":
            for key in self._subnets_of(found["uuid"]):
                del self._all["subnets"][key]
        del self._all[kind][found[KINDS[kind].key]]
        self._write(caller, f"{KINDS[kind].action}_delete", f"{_title(kind, found)} has been deleted")

    def _forget_server(self, server: str) -> None:
        for volume in self._all["volumes"].values():
            volume["servers"] = [item for item in volume["servers"] if item != server]
        for floating_ip in self._all["floating-ips"].values():
            if floating_ip["server"] == server:
                floating_ip["server"] = None

    def _write(self, caller: Caller, action: str, message: str) -> None:
        self._log.append(action, message, actor=caller.actor, ip_address=caller.ip_address)

    def _find(self, kind: str, key: str) -> Resource:
        if key not in self._all[kind]:
            raise _not_found()
        return self._all[kind][key]

    def _reference(self, kind: str, key: Any, field: str) -> Resource:
        if key not in self._all[kind]:
            raise Refused(400, {field: [f"There is no {KINDS[kind].label.lower()} {key}."]})
        return self._all[kind][key]

    def _references(self, kind: str, keys: List[str], field: str) -> None:
        for key in keys:
            self._reference(kind, key, field)

    def _show(self, kind: str, item: Resource, caller: Caller) -> Resource:
        """A resource as the API writes it: with its URL, and stubs for the resources that it refers to."""
        shown = {name: value for name, value in item.items() if name not in ("ip", "url", "root_volume")}
        shown["href"] = f"{caller.api_url}/{kind}/{item[KINDS[kind].key]}"
        if "zone" in shown:
            shown["zone"] = {"slug": item["zone"]}
        shown.update(getattr(self, "_show_" + KINDS[kind].action, lambda *_: {})(item, caller))
        return shown

    def _show_server(self, item: Resource, caller: Caller) -> Resource:
        root = {**item["root_volume"], "type": "ssd", "device_path": "/dev/vda"}
        data = [volume for volume in self._all["volumes"].values() if item["uuid"] in volume["servers"]]
        return {
            "flavor": _show_flavor(item["flavor"]),
            "image": {"slug": item["image"], "name": dict(_IMAGES).get(item["image"], item["image"])},
            "volumes": [root] + [{key: volume[key] for key in ("uuid", "size_gb", "type")} for volume in data],
            "interfaces": [self._show_interface(interface, caller) for interface in item["interfaces"]],
            "server_groups": [self._stub("server-groups", group, caller) for group in item["server_groups"]],
            "ssh_fingerprints": [],
            "ssh_host_keys": [],
        }

    def _show_interface(self, interface: Resource, caller: Caller) -> Resource:
        if interface["type"] == "public":
            addresses = [{**address, "subnet": _PUBLIC} for address in interface["addresses"]]
            return {**interface, "network": {"uuid": None, "name": "Public"}, "addresses": addresses}
        addresses = [
            {**address, "subnet": self._stub("subnets", address["subnet"], caller)}
            for address in interface["addresses"]
        ]
        return {**interface, "network": self._stub("networks", interface["network"], caller), "addresses": addresses}

    def _show_volume(self, item: Resource, caller: Caller) -> Resource:
        stubs = [self._stub("servers", server, caller) for server in item["servers"]]
        return {"servers": stubs, "server_uuids": item["servers"], "current_operation": None}

    def _show_volume_snapshot(self, item: Resource, caller: Caller) -> Resource:
        return {"source_volume": self._stub("volumes", item["source_volume"], caller), "status": "available"}

    def _show_network(self, item: Resource, caller: Caller) -> Resource:
        return {"subnets": [self._stub("subnets", key, caller) for key in self._subnets_of(item["uuid"])]}

    def _show_subnet(self, item: Resource, caller: Caller) -> Resource:
        return {"network": self._stub("networks", item["network"], caller)}

    def _show_floating_ip(self, item: Resource, caller: Caller) -> Resource:
        server = None if item["server"] is None else self._stub("servers", item["server"], caller)
        return {"server": server, "next_hop": None, "region": {"slug": item["region"]}}

    def _show_server_group(self, item: Resource, caller: Caller) -> Resource:
        members = [key for key, server in self._all["servers"].items() if item["uuid"] in server["server_groups"]]
        return {"servers": [self._stub("servers", key, caller) for key in members]}

    def _show_custom_image(self, item: Resource, _caller: Caller) -> Resource:
        return {"zones": [{"slug": zone} for zone in item["zones"] or ["lpg1"]], "size_gb": 2, "checksums": {}}

    def _stub(self, kind: str, key: str, caller: Caller) -> Resource:
        sort = KINDS[kind]
        item = self._all[kind].get(key, {})
        return {"href": f"{caller.api_url}/{kind}/{key}", sort.key: key, sort.name: item.get(sort.name)}


_MISSING = object()


def _title(kind: str, item: Resource) -> str:
    return f"{KINDS[kind].label} '{item[KINDS[kind].name]}'"


def _fields_of(body: Any, *required: str) -> Resource:
    if not isinstance(body, dict):
        raise Refused(400, {"detail": "A JSON object is expected."})
    _require(body, required)
    return body


def _require(fields: Resource, required: Tuple[str, ...]) -> None:
    missing = [name for name in required if fields.get(name) is None]
    if missing:
        raise Refused(400, {name: ["This field is required."] for name in missing})


def _check_flavor(slug: str) -> None:
    if not _FLAVOR.fullmatch(str(slug)):
        raise Refused(400, {"flavor": [f"There is no flavor {slug}."]})


def _check_scaling(server: Resource, slug: str) -> None:
    _check_flavor(slug)
    if server["status"] != "stopped":
        raise Refused(400, {"detail": "The server must be stopped to change its flavor."})


def _complete_subnet(subnet: Resource) -> None:
    if subnet["gateway_address"] is None:
        subnet["gateway_address"] = str(ipaddress.ip_network(subnet["cidr"])[1])
    if subnet["dns_servers"] is None:
        subnet["dns_servers"] = _DNS_SERVERS


def _show_flavor(slug: str) -> Resource:
    match = _FLAVOR.fullmatch(slug)
    memory, cores = (int(number) for number in [*filter(None, match.groups() if match else ()), "1", "1"][:2])
    return {"slug": slug, "name": slug.capitalize(), "vcpu_count": cores, "memory_gb": memory}


def _show_import(image: Resource, caller: Caller) -> Resource:
    key = image["uuid"]
    stub = {"href": f"{caller.api_url}/custom-images/{key}", "uuid": key, "name": image["name"]}
    return {
        "href": f"{caller.api_url}/custom-images/import/{key}",
        "uuid": key,
        "custom_image": stub,
        "url": image["url"],
        "status": "success",
        "error_message": "",
        "tags": image["tags"],
    }


def _listing(name: str) -> List[Resource]:
    if name == "flavors":
        return [{**_show_flavor(slug), "zones": [{"slug": zone} for zone in _ZONES.values()]} for slug in _FLAVORS]
    if name == "images":
        return [
            {"slug": slug, "name": text, "default_username": slug.split("-", maxsplit=1)[0]} for slug, text in _IMAGES
        ]
    return [{"slug": region, "zones": [{"slug": zone}]} for region, zone in _ZONES.items()]


def _not_found() -> Refused:
    return Refused(404, {"detail": "Not found."})


def _not_allowed(method: str) -> Refused:
    return Refused(405, {"detail": f'Method "{method}" not allowed.'})
