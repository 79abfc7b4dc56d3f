# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stands between a client and an S3 server, tells what was asked for, and lets connections and answers fail."""

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
    """What happens to the next requests of ``method`` whose path contains ``path``, so many ``times``.

    ``reset_before`` and ``reset_after`` break the connection before the server sees the request, and after it answered.
    ``reset_amid`` breaks it in the middle of the answer's body. ``late`` breaks it too, and the server gets the request
    when :meth:`FaultyProxy.deliver_late` is called. Anything else is an answer: a status and an error code.
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
    """A context manager. ``requests`` are all that came, as ``METHOD path``; ``before`` is called before each.

    Where the path contains ``unconditional``, objects are overwritten as by a server that ignores ``If-None-Match``.
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
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def script(self, *faults: Fault) -> None:
        """Let these happen from now on; those not used yet are forgotten."""
        with self._lock:
            self._faults = list(faults)

    @property
    def left(self) -> List[Fault]:
        """The faults that have not happened."""
        return self._faults

    def deliver_late(self) -> List[int]:
        """Let the server have the requests that were held back, and return the statuses of its answers."""
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
        """The condition is part of the signature, so the object is stored by a request of its own."""
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
            answer = upstream.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            upstream.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultyProxy

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = _Held(self.command, self.path, list(self.headers.items()), body)
        if self.owner.before is not None:
            self.owner.before(f"{self.command} {self.path}")
        how = self.owner.fault_of(self.command, self.path)
        if how in ("reset_before", "late"):
            if how == "late":
                self.owner.hold(request)
            self._reset()
        elif how in ("", "reset_after", "reset_amid"):
            ignores = self.command == "PUT" and self.owner.unconditional and self.owner.unconditional in self.path
            status, headers, answer = (self.owner.overwrite if ignores else self.owner.forward)(request)
            if how == "reset_after":
                self._reset()
                return
            self._answer(status, headers, answer, half=how == "reset_amid")
        else:
            status_text, code = how.split()
            self._answer(int(status_text), [("Content-Type", "application/xml")], _ERROR.format(code=code).encode())

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _serve  # noqa: N815

    def _answer(self, status: int, headers: List[tuple[str, str]], body: bytes, half: bool = False) -> None:
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
        # Not the usual end of a connection, but a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()

    def log_message(self, *_words: object) -> None:  # type: ignore[override]
        pass
