# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""For tests of the simulator itself: a clock that stands still, and a client that is nothing but requests."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import Any, Dict, List, Optional, Type

import requests

from .server import Simulator


class Clock:
    """A server clock that stands still until ``now`` is set."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.now

    def ago(self, **distance: float) -> datetime:
        return self.now - timedelta(**distance)


class Client:
    """Requests with one project's token, as it is at that moment. A context manager."""

    def __init__(self, simulator: Simulator, project: str = "main") -> None:
        self._simulator = simulator
        self._project = simulator.project(project)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = simulator.ca_path or True

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._session.close()

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        """``path`` is below the api_url, or a whole URL."""
        url = path if "://" in path else self._simulator.url + path
        headers = {"Authorization": f"Bearer {self._project.token}"}
        return self._session.request(method, url, headers=headers, timeout=10, allow_redirects=False, **more)

    def page(self, url: str = "/project-logs", **query: str) -> Dict[str, Any]:
        response = self.ask("GET", url, params=query)
        if response.status_code != 200:
            raise ValueError(f"{response.status_code}: {response.text}")
        page: Dict[str, Any] = response.json()
        return page

    def pages(self, url: str = "/project-logs", **query: str) -> List[Dict[str, Any]]:
        """The whole chain of pages."""
        chain = [self.page(url, **query)]
        while chain[-1]["next"]:
            chain.append(self.page(chain[-1]["next"]))
        return chain

    def messages(self, url: str = "/project-logs", **query: str) -> List[str]:
        return [entry["message"] for page in self.pages(url, **query) for entry in page["results"]]
