# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated API as a server in a thread of this process."""

from __future__ import annotations

import asyncio
import gc
import os
import ssl
import sys
import tempfile
import threading
import warnings
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, List, Optional, Sequence, Type, Union

from aiohttp import web

from .app import API, make_app
from .faults import Fault
from .state import PAGE_SIZE, Project, Recorded, Settings, State

_CA = "ca.pem"
_CA_KEY = "ca-key.pem"


class Simulator:
    """A stand-in for the provider's API on loopback, with one project (``main``) from the start.

    A context manager, or ``start`` and ``stop``: stopped and started again it keeps its state and its port.
    ``clock`` is the server's clock and returns an aware time. ``tls`` is True, or a directory that keeps the test CA.
    The other arguments are those of ``Settings``.
    """

    def __init__(
        self,
        page_size: int = PAGE_SIZE,
        latency: float = 0.0,
        tls: Union[bool, str, Path] = False,
        retention: Optional[timedelta] = timedelta(days=90),
        expired_cursor: Union[str, int] = "oldest",
        range_in_urls: str = "dropped",
        clock: Optional[Callable[[], datetime]] = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        settings = Settings(page_size, latency, retention, expired_cursor, range_in_urls)
        self.state = State(settings) if clock is None else State(settings, clock)
        self.state.add_project("main")
        self.host = host
        self.port = port
        self._tls = tls
        self._directory: Optional[tempfile.TemporaryDirectory[str]] = None
        self._ssl: Optional[ssl.SSLContext] = None
        self._thread: Optional[_Thread] = None
        self.ca_path: Optional[str] = None

    def __enter__(self) -> Simulator:
        self.start()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.stop()
        if self._directory is not None:
            self._directory.cleanup()

    def start(self) -> None:
        """Listen; returns when requests are answered.

        :raises OSError: the address cannot be used.
        """
        if self._tls and self._ssl is None:
            self._ssl = self._prepare_tls()
        self._thread = _Thread(self.state, self.host, self.port, self._ssl)
        self.port = self._thread.run()

    def stop(self) -> None:
        """Stop listening and drop all connections; clients are refused from now on."""
        if self._thread is not None:
            self._thread.end()
            self._thread = None

    @property
    def url(self) -> str:
        """The api_url."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self._ssl is None:
            return f"http://{host}:{self.port}{API}"
        return f"https://{'localhost' if host == '127.0.0.1' else host}:{self.port}{API}"

    def project(self, name: str = "main") -> Project:
        return self.state.projects[name]

    def add_project(self, name: str, token: Optional[str] = None) -> Project:
        """:raises ValueError: there is one of this name."""
        return self.state.add_project(name, token)

    @property
    def projects(self) -> List[Project]:
        return list(self.state.projects.values())

    def script(self, *faults: Fault) -> None:
        """Let the next matching requests have these faults, one each, in this order."""
        self.state.script.add(*faults)

    def clear_script(self) -> None:
        self.state.script.clear()

    @property
    def requests(self) -> List[Recorded]:
        """The API requests so far, in the order in which they were answered."""
        return self.state.requests

    def clear_requests(self) -> None:
        self.state.requests.clear()

    def page_sizes(self, sizes: Sequence[int]) -> None:
        """Sizes of the next pages; afterwards ``page_size`` again. 0 is an empty page in the middle of a chain."""
        self.state.page_sizes.extend(sizes)

    def before_page(self, hook: Optional[Callable[[], object]]) -> None:
        """Call ``hook()`` in the server before each page of a project log is cut; None ends it."""
        self.state.before_page = hook

    def set(self, **settings: Any) -> None:
        """Change settings while it runs.

        :raises ValueError: no such setting or value.
        """
        self.state.settings.update(settings)

    def _prepare_tls(self) -> ssl.SSLContext:
        if isinstance(self._tls, bool):
            self._directory = tempfile.TemporaryDirectory(prefix="simulator-")
            directory = Path(self._directory.name)
        else:
            directory = Path(self._tls)
        self.ca_path = str(directory / _CA)
        return _server_context(directory, self.host)


class _Thread:
    """An event loop in a thread of its own, serving until told to end."""

    def __init__(self, state: State, host: str, port: int, context: Optional[ssl.SSLContext]) -> None:
        self._state = state
        self._address = host, port
        self._ssl = context
        self._ready = threading.Event()
        self._failure: Optional[OSError] = None
        self._thread = threading.Thread(target=self._run, name="simulator", daemon=True)

    def run(self) -> int:
        """Returns the port."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self._port

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        with warnings.catch_warnings():
            # asyncio leaves TLS connections that clients broke off for the collector, which would tell some later test.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as exc:
            self._failure = exc
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        runner = web.AppRunner(make_app(self._state), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            assert runner.server
            server = await self._loop.create_server(runner.server, *self._address, ssl=self._ssl, reuse_address=True)
            self._port: int = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._over.wait()
            # asyncio leaves a socket open if its connection was accepted just before the server is closed. So accept no
            # more, and let the connections get into the lists.
            for listener in server.sockets:
                self._loop.remove_reader(listener)
            await _some_turns()
            server.close()
            _drop_connections(runner)
            if sys.version_info >= (3, 13):
                # These include connections whose handshake failed, which are not in the runner's list.
                server.abort_clients()
        finally:
            await runner.cleanup()
            # Sockets are closed in the turn after their connections were dropped.
            await _some_turns()


async def _some_turns() -> None:
    for _turn in range(3):
        await asyncio.sleep(0)


def _drop_connections(runner: web.AppRunner) -> None:
    for connection in runner.server.connections if runner.server else ():
        if connection.transport is not None:
            connection.transport.abort()


def _server_context(directory: Path, host: str) -> ssl.SSLContext:
    """A certificate for this host by the test CA of a directory; the CA is made when the directory has none."""
    import trustme

    directory.mkdir(parents=True, exist_ok=True)
    public, secret = directory / _CA, directory / _CA_KEY
    if public.exists() and secret.exists():
        authority = trustme.CA.from_pem(public.read_bytes(), secret.read_bytes())
    else:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(public)
        with open(secret, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(authority.private_key_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1", "::1", host).configure_cert(context)
    return context
