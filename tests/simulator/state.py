# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one simulated API knows: its projects, how it behaves, and who asked for what."""

from __future__ import annotations

import secrets
import uuid
from collections import deque
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta, timezone
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Union

from .cloud import Cloud
from .faults import Script
from .log import Entry, ProjectLog, Table

PAGE_SIZE = 200
RANGE_MODES = ("dropped", "end", "kept", "cursor")


@dataclass
class Settings:
    """How the API behaves; the defaults are what the provider published. Times in seconds unless they are timedeltas.

    ``retention`` None keeps everything. ``expired_cursor`` is what a cursor older than that gets: ``oldest`` (it
    continues silently at the oldest entry left), ``refuse`` (404) or an HTTP status. ``range_in_urls`` says what
    becomes of ``start`` and ``end`` in ``next`` and ``poll_more``: both ``dropped``, so that later pages know nothing
    of them, only the ``end`` kept, both ``kept``, or both inside the ``cursor``. ``clock_offset`` moves the server's
    clock.
    """

    page_size: int = PAGE_SIZE
    latency: float = 0.0
    retention: Optional[timedelta] = timedelta(days=90)
    expired_cursor: Union[str, int] = "oldest"
    range_in_urls: str = "dropped"
    clock_offset: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        self._check()

    def update(self, changes: Mapping[str, Any]) -> None:
        """:raises ValueError: a name or value that means nothing; nothing is changed then."""
        unknown = set(changes) - {item.name for item in fields(self)}
        if unknown:
            raise ValueError(f"no such setting: {', '.join(sorted(unknown))}")
        Settings(**{**self.__dict__, **changes})
        self.__dict__.update(changes)

    def _check(self) -> None:
        if self.range_in_urls not in RANGE_MODES:
            raise ValueError(f"range_in_urls is one of {', '.join(RANGE_MODES)}, not {self.range_in_urls!r}")
        if self.expired_cursor not in ("oldest", "refuse") and not isinstance(self.expired_cursor, int):
            raise ValueError(f"expired_cursor is oldest, refuse or an HTTP status, not {self.expired_cursor!r}")


@dataclass(frozen=True)
class Recorded:
    """A request as it came in. ``status`` is 0 when it got no answer; ``began`` and ``ended`` in monotonic seconds."""

    method: str
    path: str
    query: Dict[str, str]
    raw_query: str
    headers: Mapping[str, str]
    status: int
    project: Optional[str]
    began: float
    ended: float


class Project:
    """One project: its token, its log, and what stands in its cloud."""

    def __init__(
        self, name: str, clock: Callable[[], datetime], token: Optional[str] = None, table: Optional[Table] = None
    ) -> None:
        self.name = name
        self.uuid = str(uuid.uuid4())
        self.log = ProjectLog({"project": {"uuid": self.uuid, "name": name}}, clock, table)
        self.cloud = Cloud(self.log, clock)
        self.rotate_token(token)

    def rotate_token(self, token: Optional[str] = None) -> str:
        """Replace the token: the old one is refused from now on. Returns the new one."""
        self.token = token or secrets.token_urlsafe(40)
        self.actor: Entry = {"api_token": {"uuid": str(uuid.uuid4()), "description": f"{self.name} automation"}}
        return self.token


@dataclass
class State:
    """Everything behind one simulated API."""

    settings: Settings = field(default_factory=Settings)
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    projects: Dict[str, Project] = field(default_factory=dict)
    table: Table = field(default_factory=Table)
    script: Script = field(default_factory=Script)
    requests: List[Recorded] = field(default_factory=list)
    page_sizes: Deque[int] = field(default_factory=deque)
    before_page: Optional[Callable[[], object]] = None

    def now(self) -> datetime:
        """The server's clock."""
        return self.clock() + self.settings.clock_offset

    def add_project(self, name: str, token: Optional[str] = None) -> Project:
        if name in self.projects:
            raise ValueError(f"there is a project {name!r} already")
        self.projects[name] = Project(name, self.now, token, self.table)
        return self.projects[name]

    def project_of(self, authorization: str) -> Optional[Project]:
        """The project whose token stands in an Authorization header."""
        kind, _space, token = authorization.partition(" ")
        found = (project for project in self.projects.values() if project.token == token)
        return next(found, None) if kind == "Bearer" else None

    def next_page_size(self) -> int:
        return self.page_sizes.popleft() if self.page_sizes else self.settings.page_size
