# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remote control for tests whose simulator runs in another process: JSON under /_simulator/, this machine only."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any, Awaitable, Callable, Dict, List

from aiohttp import web

from .faults import Fault
from .history import bulk
from .log import encode
from .state import Project, Recorded, State

PREFIX = "/_simulator"

_SECONDS = ("retention", "clock_offset")


def add_routes(app: web.Application, state: State) -> None:
    """Add the routes of the remote control."""
    remote = _Remote(state)
    for method, name, handler in (
        ("POST", "faults", remote.add_faults),
        ("DELETE", "faults", remote.clear_faults),
        ("GET", "entries", remote.entries),
        ("POST", "entries", remote.add_entries),
        ("POST", "settings", remote.change_settings),
        ("GET", "requests", remote.requests),
        ("DELETE", "requests", remote.clear_requests),
        ("GET", "projects", remote.projects),
        ("POST", "projects", remote.add_project),
        ("POST", "tokens", remote.rotate_token),
    ):
        app.router.add_route(method, f"{PREFIX}/{name}", _guarded(handler))


def describe(project: Project) -> Dict[str, str]:
    """What a client needs to know of a project."""
    return {"uuid": project.uuid, "token": project.token}


class _Remote:
    def __init__(self, state: State) -> None:
        self._state = state

    async def add_faults(self, request: web.Request) -> Any:
        """A list of faults, or one: the fields of Fault."""
        document = await request.json()
        faults = [Fault(**fields) for fields in (document if isinstance(document, list) else [document])]
        self._state.script.add(*faults)
        return {"waiting": len(self._state.script)}

    async def clear_faults(self, _request: web.Request) -> Any:
        self._state.script.clear()
        return {"waiting": 0}

    async def entries(self, request: web.Request) -> Any:
        return self._project(request.query.get("project", "main")).log.entries

    async def add_entries(self, request: web.Request) -> Any:
        """``entries`` (missing keys get defaults), ``raw`` (JSON texts), ``hidden`` (count), ``bulk`` (count, ...)."""
        document = await request.json()
        log = self._project(document.get("project", "main")).log
        appended = [log.append(**entry) for entry in document.get("entries", ())]
        log.extend(document.get("raw", ()))
        log.hide(document.get("hidden", 0))
        if "bulk" in document:
            log.extend(bulk(**_times(document["bulk"]), subject=log.subject))
        return {"entries": appended, "length": len(log)}

    async def change_settings(self, request: web.Request) -> Any:
        """The fields of Settings, retention and clock_offset in seconds, and ``page_sizes`` for the next pages."""
        changes = await request.json()
        sizes: List[int] = changes.pop("page_sizes", [])
        for name in _SECONDS:
            if changes.get(name) is not None:
                changes[name] = timedelta(seconds=changes[name])
        self._state.settings.update(changes)
        self._state.page_sizes.extend(sizes)
        return {**asdict(self._state.settings), "page_sizes": list(self._state.page_sizes)}

    async def requests(self, _request: web.Request) -> Any:
        return [_shown(recorded) for recorded in self._state.requests]

    async def clear_requests(self, _request: web.Request) -> Any:
        self._state.requests.clear()
        return []

    async def projects(self, _request: web.Request) -> Any:
        return {name: describe(project) for name, project in self._state.projects.items()}

    async def add_project(self, request: web.Request) -> Any:
        document = await request.json()
        return describe(self._state.add_project(document["name"], document.get("token")))

    async def rotate_token(self, request: web.Request) -> Any:
        document = await request.json()
        project = self._project(document.get("project", "main"))
        project.rotate_token(document.get("token"))
        return describe(project)

    def _project(self, name: str) -> Project:
        if name not in self._state.projects:
            raise ValueError(f"there is no project {name!r}")
        return self._state.projects[name]


def _guarded(handler: Callable[[web.Request], Awaitable[Any]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def guarded(request: web.Request) -> web.Response:
        if not _from_this_machine(request):
            return _json({"detail": "The remote control is for this machine only."}, 403)
        try:
            return _json(await handler(request))
        except (KeyError, TypeError, ValueError) as exc:
            return _json({"detail": f"{type(exc).__name__}: {exc}"}, 400)

    return guarded


def _from_this_machine(request: web.Request) -> bool:
    """Whether the caller is this machine: loopback, or the very address this simulator was reached at."""
    if request.transport is None or request.remote is None:
        return False
    own: str = request.transport.get_extra_info("sockname")[0]
    return request.remote == own or ip_address(request.remote).is_loopback


def _json(document: Any, status: int = 200) -> web.Response:
    plain = json.dumps(document, default=_plain)
    return web.Response(body=encode(json.loads(plain)), status=status, content_type="application/json")


def _plain(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else str(value)


def _shown(recorded: Recorded) -> Dict[str, Any]:
    return {**recorded.__dict__, "headers": dict(recorded.headers)}


def _times(arguments: Dict[str, Any]) -> Dict[str, Any]:
    return {
        name: datetime.fromisoformat(value.replace("Z", "+00:00")) if name in ("start", "end") else value
        for name, value in arguments.items()
    }
