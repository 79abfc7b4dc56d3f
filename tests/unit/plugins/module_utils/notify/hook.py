# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server that takes webhooks, and a stop that makes no retry wait."""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Type

Answer = Tuple[int, Dict[str, str]]


class Taken(NamedTuple):
    """A request as it arrived."""

    path: str
    headers: Dict[str, str]
    body: Any


class NoWait(threading.Event):
    """Counts the seconds that were to be waited, and lets them pass at once."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: List[float] = []

    def wait(self, timeout: Optional[float] = None) -> bool:
        self.waits.append(timeout or 0)
        return self.is_set()


class Hook:
    """Listens while the context lasts, on a port of its own unless one is given; with ``tls`` by HTTPS.

    ``answers`` are used up first, then ``answer``. Accepted requests are in ``taken``, all of them in ``seen``.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, tls: Optional[ssl.SSLContext] = None) -> None:
        self.seen: List[Taken] = []
        self.taken: List[Taken] = []
        self.answer: Answer = (200, {})
        self.answers: List[Answer] = []
        self.on_seen: Callable[[], object] = lambda: None
        self.on_taken: Callable[[], object] = lambda: None
        hook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers = hook._take(Taken(self.path, dict(self.headers), json.loads(body)))
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((host, port), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/s3cret"

    @property
    def alerts(self) -> List[Dict[str, Any]]:
        """The alerts taken so far, in order."""
        return [alert for taken in self.taken for alert in taken.body["alerts"]]

    def __enter__(self) -> Hook:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: Optional[Type[BaseException]], _error: Optional[BaseException], _where: Optional[TracebackType]
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def _take(self, taken: Taken) -> Answer:
        self.seen.append(taken)
        self.on_seen()
        answer = self.answers.pop(0) if self.answers else self.answer
        if 200 <= answer[0] < 300:
            self.taken.append(taken)
            self.on_taken()
        return answer
