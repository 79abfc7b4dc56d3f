# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A proxy for an S3 server that records requests and injects faults."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Callable, List, NamedTuple, Optional
from urllib.parse import unquote, urlsplit

from ansible_collections.auditops.cloudscale.tests.storage.buckets import Buckets

_ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>m</Message></Error>'


class Fault(NamedTuple):
    """A fault for the next requests of ``method`` whose path contains ``path``, as often as ``times``.

    ``reset_before`` resets the connection instead of forwarding the request, ``reset_after`` instead of forwarding the
    response, ``reset_amid`` in the middle of the response body. ``late`` resets the connection and holds the request
    until :meth:`FaultyProxy.deliver_late`. Every other value is a response: a status and an error code.
    """

    how: str
    method: str = "PUT"
    path: str = ""
    times: int = 1


class _Held(NamedTuple):
    method: str
    path: str
    headers: List[tuple[str, str]]
    body: bytes


class FaultyProxy:
    """A context manager. ``requests`` are all received requests as ``METHOD path``; ``before`` is called before each.

    For paths that contain ``unconditional``, the proxy behaves like a server that ignores ``If-None-Match``.
    """

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self._upstream = urlsplit(buckets.url).netloc
        self._faults: List[Fault] = []
        self._late: List[_Held] = []
        self._lock = threading.Lock()
        self.requests: List[str] = []
        self.before: Optional[Callable[[str], None]] = None
        self.unconditional: Optional[str] = None

    def __enter__(self) -> FaultyProxy:
        owner = self

        class Handler(_Handler):
            proxy = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def script(self, *faults: Fault) -> None:
        """Replace the faults that have not occurred yet."""
        with self._lock:
            self._faults = list(faults)

    @property
    def left(self) -> List[Fault]:
        """The faults that have not occurred yet."""
        return self._faults

    def deliver_late(self) -> List[int]:
        """Forward the held requests to the server; return the statuses of its responses."""
        held, self._late = self._late, []
        return [self.forward(one)[0] for one in held]

    def hold(self, request: _Held) -> None:
        self._late.append(request)

    def fault_of(self, method: str, path: str) -> str:
        with self._lock:
            self.requests.append(f"{method} {path}")
            for number, fault in enumerate(self._faults):
                if fault.method == method and fault.path in path:
                    self._faults[number : number + 1] = [fault._replace(times=fault.times - 1)] * (fault.times > 1)
                    return fault.how
        return ""

    def overwrite(self, request: _Held) -> tuple[int, List[tuple[str, str]], bytes]:
        """Store an object by a new request without the condition, because the signature covers the condition."""
        _empty, bucket, key = unquote(request.path).split("/", 2)
        facts = self._buckets.client().put_object(Bucket=bucket, Key=key, Body=request.body)["ResponseMetadata"]
        return facts["HTTPStatusCode"], [("Date", facts["HTTPHeaders"]["date"])], b""

    def forward(self, request: _Held) -> tuple[int, List[tuple[str, str]], bytes]:
        upstream = HTTPConnection(self._upstream, timeout=60)
        try:
            upstream.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers:
                if name.lower() not in ("expect", "connection"):
                    upstream.putheader(name, value)
            upstream.endheaders(request.body)
            response = upstream.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            upstream.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = _Held(self.command, self.path, list(self.headers.items()), body)
        if self.proxy.before is not None:
            self.proxy.before(f"{self.command} {self.path}")
        how = self.proxy.fault_of(self.command, self.path)
        if how in ("reset_before", "late"):
            if how == "late":
                self.proxy.hold(request)
            self._reset()
        elif how in ("", "reset_after", "reset_amid"):
            ignores = self.command == "PUT" and self.proxy.unconditional and self.proxy.unconditional in self.path
            status, headers, content = (self.proxy.overwrite if ignores else self.proxy.forward)(request)
            if how == "reset_after":
                self._reset()
                return
            self._respond(status, headers, content, half=how == "reset_amid")
        else:
            status_text, code = how.split()
            self._respond(int(status_text), [("Content-Type", "application/xml")], _ERROR.format(code=code).encode())

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _serve  # noqa: N815

    def _respond(self, status: int, headers: List[tuple[str, str]], body: bytes, half: bool = False) -> None:
        self.send_response_only(status)
        has_length = False
        for name, value in headers:
            if name.lower() in ("transfer-encoding", "connection"):
                continue
            has_length = has_length or name.lower() == "content-length"
            self.send_header(name, value)
        if not has_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if half else body)
        if half:
            self._reset()

    def _reset(self) -> None:
        self.close_connection = True
        # Reset the connection instead of closing it.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()

    def log_message(self, *_words: object) -> None:  # type: ignore[override]
        pass
