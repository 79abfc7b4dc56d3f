# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the fault tests share: collectors that are real processes, and an archive held against the log it is of."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Dict, List, Optional, Type

from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import find_head
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.pin import HeadPin
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import AllowedSigners
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import cat
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.verifier import (
    VerificationResult,
    verify_archive,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import canonical, parse
from ansible_collections.auditops.cloudscale.tests.e2e.fork_server import Ending
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.log import write_time


class Run:
    """A collector that is running."""

    def __init__(self, process: int, responses: IO[str], tracer: Optional[subprocess.Popen[str]]) -> None:
        self.process = process
        self._answers = responses
        self._tracer = tracer

    def end(self) -> Ending:
        """Wait for it."""
        ending = Ending(**json.loads(self._answers.readline()))
        if self._tracer is not None:
            self._tracer.communicate(timeout=30)
        return ending


class Collectors:
    """A server that forks collectors, one at a time. A context manager.

    ``launcher`` is a command that runs the command appended to it, ``variables`` its additional environment.
    """

    def __init__(self, *launcher: str, **variables: str) -> None:
        self._server = subprocess.Popen(
            [*launcher, sys.executable, "-B", str(Path(__file__).with_name("fork_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **variables},
            text=True,
        )
        if not self._server.stdout or not self._server.stdout.readline():
            raise OSError(f"{' '.join(launcher)}: no server came of it")

    def __enter__(self) -> Collectors:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._server.communicate(timeout=60)

    @property
    def process(self) -> int:
        return self._server.pid

    def start(self, order: Dict[str, Any], inject: str = "") -> Run:
        """Begin a run; ``inject`` is strace's fault for it, such as ``fsync:error=EIO:when=2``."""
        orders, responses = self._server.stdin, self._server.stdout
        if orders is None or responses is None:
            raise ValueError("the server has no pipes")
        print(json.dumps({**order, "held": bool(inject)}), file=orders, flush=True)
        process = int(responses.readline())
        tracer = _trace(process, inject) if inject else None
        return Run(process, responses, tracer)


def _trace(process: int, inject: str) -> subprocess.Popen[str]:
    command = ["strace", "-f", "-o", os.devnull, "-e", f"inject={inject}", "-p", str(process)]
    tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    printed = tracer.stderr.readline() if tracer.stderr else ""
    os.kill(process, signal.SIGCONT)
    if not printed.endswith(" attached\n"):
        raise OSError(f"strace cannot attach: {printed}")
    return tracer


class Tally:
    """What happened to all collectors so far."""

    def __init__(self) -> None:
        self.endings: Counter[str] = Counter()

    def note(self, ending: Ending) -> Ending:
        self.endings["killed" if ending.killed else "failed" if ending.status else "ended well"] += 1
        return ending

    def __str__(self) -> str:
        printed = ", ".join(f"{count} {how}" for how, count in sorted(self.endings.items()))
        return f"{sum(self.endings.values())} runs of collectors: {printed}"


class Archive:
    """An archive of a simulated project's log, and what must be true of it.

    ``root`` is where the paths begin for the collectors. With ``signers``, the path of a file, it must be signed.
    """

    def __init__(self, simulator: Simulator, path: Path, pin: Path, root: Path = Path("/")) -> None:
        self.simulator = simulator
        self.project = simulator.project()
        self.log = self.project.log
        self.path = path
        self.pin = pin
        self.signers: Optional[str] = None
        self._root = root
        self.store = LocalStore(str(path))

    def order(self, **more: Any) -> Dict[str, Any]:
        """A run's."""
        where = {"archive": self._inside(self.path), "pin": self._inside(self.pin)}
        return {"url": self.simulator.url, "token": self.project.token, **where, **more}

    def _inside(self, path: Path) -> str:
        return f"/{path.relative_to(self._root)}"

    def append(self, count: int) -> None:
        for _entry in range(count):
            self.log.append()

    @property
    def _now(self) -> datetime:
        return self.simulator.state.now()

    def now(self) -> str:
        """The server's time, as entries tell it."""
        return write_time(self.simulator.state.now())

    def clear(self) -> None:
        """Start again."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.pin.unlink(missing_ok=True)

    def archived(self) -> Counter[bytes]:
        """The archive as a multiset of canonical lines; of one without a commit, nothing."""
        return Counter(map(canonical, cat(self.store)) if find_head(self.store) else ())

    def logged(self) -> Counter[bytes]:
        return Counter(canonical(parse(json.dumps(entry).encode())) for entry in self.log.entries)

    def files(self) -> List[str]:
        return [name for directory in ("commits", "entries", "pending") for name in self.store.list_files(directory)]

    def _verify(self, **options: Any) -> VerificationResult:
        signers = AllowedSigners(self.signers) if self.signers else None
        return verify_archive(self.store, signers=signers, now=self._now, **options)

    def check_unfinished(self) -> int:
        """Nothing is claimed that is not so; returns how many entries are archived."""
        if self.store.list_commits():
            problems = [finding for finding in self._verify().findings if not finding.is_warning]
            assert not problems, problems
        archived = self.archived()
        foreign = archived - self.logged()
        assert not foreign, foreign
        return sum(archived.values())

    def check_finished(self) -> None:
        """All is there, once, and nothing else is."""
        found = self._verify(expected_head=HeadPin(str(self.pin)).read(), every_signature=True)
        assert not found.findings, found.findings
        assert found.signed_from == (1 if self.signers else None)
        archived, logged = self.archived(), self.logged()
        assert archived == logged, (archived - logged, logged - archived)
        left = list(self.store.list_files("pending"))
        assert not left, left
