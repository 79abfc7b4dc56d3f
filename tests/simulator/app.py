# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API over HTTP: authentication, the project log, the cloud's resources, scripted faults, remote control."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from email.utils import format_datetime
from typing import Any, Awaitable, Callable, Dict, Optional, Tuple
from urllib.parse import urlencode

from aiohttp import web

from . import control
from .cloud import Caller, Refused
from .faults import FOREIGN, Fault
from .log import EVER, Cursor, InvalidCursor, ProjectLog, encode, microseconds, read_time
from .state import Project, Recorded, State

API = "/v1"
LOG = "/project-logs"

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_LARGEST_REQUEST = 1 << 30
_KEPT = {"kept": ("start", "end"), "end": ("end",)}
_BODY_FAULTS = ("not_object", "no_results", "no_poll_more", "foreign_next", "foreign_poll_more", "loop")


def make_app(state: State) -> web.Application:
    """The web application of one simulated API."""
    api = _Api(state)
    app = web.Application(middlewares=[api.middleware], client_max_size=_LARGEST_REQUEST)
    app.on_response_prepare.append(api.set_date)
    control.add_routes(app, state)
    app.router.add_route("*", API + "/{tail:.*}", api.resource)
    return app


class _Api:
    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def middleware(self) -> Any:
        """The outermost handler: records the request and lets faults happen to it."""

        @web.middleware
        async def respond(request: web.Request, handler: _Handler) -> web.StreamResponse:
            if not request.path.startswith(API + "/"):
                return await _as_json(request, handler)
            project = self._state.project_of(request.headers.get("Authorization", ""))
            fault = self._fault_for(request, project)
            began = time.monotonic()
            status = 0
            try:
                await asyncio.sleep(self._state.settings.latency)
                response = await (_as_json(request, handler) if fault is None else _spoil(fault, request, handler))
                status = 0 if fault is not None and fault.kind == "reset" else response.status
                return response
            finally:
                self._state.requests.append(_record(request, project, status, began))

        return respond

    def _fault_for(self, request: web.Request, project: Optional[Project]) -> Optional[Fault]:
        path = request.path[len(API) :]
        return self._state.script.take(
            request.method, path, "cursor" in request.query, project.name if project else None
        )

    async def set_date(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = format_datetime(self._state.now(), usegmt=True)

    async def resource(self, request: web.Request) -> web.StreamResponse:
        """Whatever a token may ask for."""
        project = self._state.project_of(request.headers.get("Authorization", ""))
        if project is None:
            return _json({"detail": "Invalid token."}, 401)
        path = request.path[len(API) :]
        if path == LOG:
            return self._project_logs(request, project.log)
        caller = Caller(project.actor, request.remote, _base(request) + API)
        try:
            body = await request.json() if request.can_read_body else None
            status, document = project.cloud.handle(request.method, path, dict(request.query), body, caller)
        except Refused as refusal:
            return _json(refusal.document, refusal.status)
        except ValueError as exc:
            return _json({"detail": f"JSON parse error - {exc}"}, 400)
        return web.Response(status=204) if status == 204 else _json(document, status)

    def _project_logs(self, request: web.Request, log: ProjectLog) -> web.Response:
        if request.method != "GET":
            return _json({"detail": f'Method "{request.method}" not allowed.'}, 405)
        if self._state.before_page is not None:
            self._state.before_page()
        try:
            cursor = self._cursor(request.query, log)
        except InvalidCursor:
            return _json({"cursor": ["Invalid cursor."]}, 400)
        except Refused as refusal:
            return _json(refusal.document, refusal.status)
        return web.Response(body=self._page(request, log, cursor), content_type="application/json")

    def _cursor(self, query: Any, log: ProjectLog) -> Cursor:
        """The row after which the requested page begins, and the range it belongs to.

        :raises Refused: the range is malformed, or the cursor expired.
        """
        bounds = _bounds(query)
        if "cursor" not in query:
            return Cursor(0, bounds)
        requested = Cursor.parse(query["cursor"])
        if requested.after > log.table.newest:
            raise InvalidCursor(query["cursor"])
        expired = self._state.settings.expired_cursor
        if expired != "oldest" and log.lost(requested.after, self._kept_since()):
            raise Refused(404 if expired == "refuse" else int(expired), {"detail": "Invalid cursor."})
        return Cursor(requested.after, (max(bounds[0], requested.bounds[0]), min(bounds[1], requested.bounds[1])))

    def _kept_since(self) -> int:
        retention = self._state.settings.retention
        return 0 if retention is None else max(0, microseconds(self._state.now() - retention))

    def _page(self, request: web.Request, log: ProjectLog, cursor: Cursor) -> bytes:
        start, end = cursor.bounds
        cut = log.cut(cursor.after, (max(start, self._kept_since()), end), self._state.next_page_size())
        mode = self._state.settings.range_in_urls
        onward = {"cursor": str(Cursor(cut.last_id, cursor.bounds if mode == "cursor" else EVER))}
        onward.update({name: request.query[name] for name in _KEPT.get(mode, ()) if name in request.query})
        url = encode(f"{_base(request)}{API}{LOG}?{urlencode(onward)}")
        following = url if cut.more else b"null"
        return b'{"next":%b,"poll_more":%b,"results":[%b]}' % (following, url, b",".join(cut.entries))


def _bounds(query: Any) -> Tuple[int, int]:
    """:raises Refused: a time is malformed or has no offset."""
    moments = {"start": EVER[0], "end": EVER[1]}
    errors = {}
    for name in moments:
        try:
            moments[name] = read_time(query[name]) if name in query else moments[name]
        except ValueError:
            errors[name] = ["Enter a valid date/time with an offset from UTC."]
    if errors:
        raise Refused(400, errors)
    return moments["start"], moments["end"]


def _base(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"


def _json(document: Any, status: int = 200) -> web.Response:
    return web.Response(body=encode(document), status=status, content_type="application/json")


async def _as_json(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """The framework's own refusals in the API's form."""
    try:
        return await handler(request)
    except web.HTTPException as exc:
        return _json({"detail": exc.reason}, exc.status)


def _record(request: web.Request, project: Optional[Project], status: int, began: float) -> Recorded:
    return Recorded(
        method=request.method,
        path=request.path,
        query=dict(request.query),
        raw_query=request.raw_path.partition("?")[2],
        headers=request.headers,
        status=status,
        project=project.name if project else None,
        began=began,
        ended=time.monotonic(),
    )


async def _spoil(fault: Fault, request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Answer a request the way a fault wants it."""
    if fault.kind in ("status", "html", "raw", "empty", "redirect"):
        return _instead(fault, request)
    if fault.kind == "reset":
        _reset(request)
        return web.Response()
    if fault.kind == "slow":
        await asyncio.sleep(fault.seconds)
    response = await _as_json(request, handler)
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return response
    if fault.kind in _BODY_FAULTS:
        return _json(_twist(fault, request, json.loads(response.body)), response.status)
    if fault.kind in ("truncated", "reset_body"):
        return await _cut_off(fault, request, response.body)
    if fault.kind == "drip":
        return await _drip(fault, request, response.body)
    return response


def _instead(fault: Fault, request: web.Request) -> web.Response:
    headers = {"Content-Type": "text/html" if fault.kind == "html" else "application/json"}
    if fault.retry_after_header is not None:
        headers["Retry-After"] = fault.retry_after_header
    if fault.encoding is not None:
        headers["Content-Encoding"] = fault.encoding
    if fault.kind == "redirect":
        headers["Location"] = fault.to or request.rel_url.raw_path_qs
    body = b"" if fault.kind in ("empty", "redirect") else fault.answer_body
    return web.Response(body=body, status=fault.answer_status, headers=headers)


def _twist(fault: Fault, request: web.Request, document: Any) -> Any:
    if fault.kind == "not_object":
        return [document]
    name, value = {
        "no_results": ("results", None),
        "no_poll_more": ("poll_more", None),
        "foreign_next": ("next", fault.to or FOREIGN),
        "foreign_poll_more": ("poll_more", fault.to or FOREIGN),
        "loop": ("next", _base(request) + request.rel_url.raw_path_qs),
    }[fault.kind]
    twisted: Dict[str, Any] = {key: item for key, item in document.items() if key != name}
    if value is not None:
        twisted[name] = value
    return twisted


async def _cut_off(fault: Fault, request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if fault.kind == "reset_body":
        _reset(request)
    elif request.transport is not None:
        request.transport.close()
    return response


async def _drip(fault: Fault, request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await response.prepare(request)
    step = max(1, len(body) // 20)
    for begin in range(0, len(body), step):
        await response.write(body[begin : begin + step])
        await asyncio.sleep(fault.seconds)
    return response


def _reset(request: web.Request) -> None:
    """End the connection with a TCP reset, not with an orderly close."""
    transport = request.transport
    if transport is None:
        return
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
