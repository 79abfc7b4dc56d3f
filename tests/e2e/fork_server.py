# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Forks collectors, one for each order: a line of JSON on standard input with the fields of Order.

Everything is imported before the first fork, so that a run is a process of its own, yet begins at once. For each order
two lines are answered: the process's id, and, when it has ended, the fields of Ending.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import traceback
from datetime import datetime, timedelta, timezone
from importlib import import_module
from typing import Any, NamedTuple, Optional

from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.pin import HeadPin
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import (
    AllowedSigners,
    SigningKey,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.collector import CollectSettings, collect
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.run_context import RunContext
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import AuditError
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Connection

# The collector imports it only with its first request: each forked run would import it again.
import_module("requests")

_FAILED = 1
_BROKEN = 70


class Order(NamedTuple):
    """One run. ``kill_after`` seconds it is killed; ``held``, it stops itself before it begins, until SIGCONT.

    ``max_bytes`` is the size that no file may exceed (``ulimit -f``). ``work`` is ``collect``, ``compact`` or
    ``prune``, of what is older than a day. ``sign_key`` signs each commit; ``signers`` are whose commits count then.
    """

    url: str
    token: str
    archive: str
    pin: str
    max_entries: int = 4
    kill_after: Optional[float] = None
    held: bool = False
    max_bytes: Optional[int] = None
    work: str = "collect"
    sign_key: Optional[str] = None
    signers: Optional[str] = None


class Ending(NamedTuple):
    """How a run ended: exit status 0, or minus the signal that killed it, or the error's code and sentence."""

    status: int
    code: str = ""
    message: str = ""

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL


def main() -> None:
    _say("ready")
    for line in sys.stdin:
        order = Order(**json.loads(line))
        printed, write_end = os.pipe()
        process = os.fork()
        if process == 0:
            _be_collector(order, write_end)
        os.close(write_end)
        if order.held:
            os.waitpid(process, os.WUNTRACED)
        _say(process)
        if order.kill_after is not None:
            _kill_after(process, order.kill_after)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        with os.fdopen(printed) as words:
            _say(Ending(status, **json.loads(words.read() or "{}"))._asdict())


def _say(what: Any) -> None:
    print(json.dumps(what), flush=True)


def _kill_after(process: int, seconds: float) -> None:
    handle = os.pidfd_open(process)
    try:
        if not select.select([handle], [], [], seconds)[0]:
            os.kill(process, signal.SIGKILL)
    finally:
        os.close(handle)


def _be_collector(order: Order, write_end: int) -> None:
    status = _BROKEN
    try:
        if order.held:
            os.kill(os.getpid(), signal.SIGSTOP)
        if order.max_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (order.max_bytes, order.max_bytes))
        status = _work(order, write_end)
    except Exception:  # noqa: BLE001 - no error may let the forked process continue as a second server
        traceback.print_exc()
    finally:
        os._exit(status)


def _work(order: Order, write_end: int) -> int:
    try:
        context = RunContext(
            pin=HeadPin(order.pin),
            sign_key=SigningKey(order.sign_key) if order.sign_key else None,
            allowed_signers=AllowedSigners(order.signers) if order.signers else None,
        )
        if order.work == "collect":
            _collect(order, context)
        elif order.work == "compact":
            compact(LocalStore(order.archive), context=context)
        else:
            yesterday = datetime.now(timezone.utc) - timedelta(days=1)
            prune(LocalStore(order.archive), yesterday, context)
    except AuditError as error:
        os.write(write_end, json.dumps({"code": error.code, "message": error.message}).encode())
        return _FAILED
    return 0


def _collect(order: Order, context: RunContext) -> None:
    with Api(Connection(api_token=order.token, api_url=order.url, retries=0)) as api:
        settings = CollectSettings(max_entries=order.max_entries)
        collect(LocalStore(order.archive), api, settings, context)


if __name__ == "__main__":
    main()
