# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a command on several archives concurrently; a failure on one archive does not affect the others."""

from __future__ import annotations

import argparse
import os
import queue
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Dict, Iterator, List, Sequence

from ..archive.state import StateFile
from ..archive.storage.local_store import LocalStore
from ..archive.storage.open import is_remote
from ..errors import AuditError, Cancelled, InvalidInput
from ..projects import ProjectSettings
from ..times import utc_now
from .archive import bucket_access, is_new
from .exit_status import API, INTERNAL_ERROR, NOT_CURRENT, OK, exit_status, worst
from .output import CapturedOutput, capture_output, print_json, print_line
from .status_table import status_table

_TIMER_TOLERANCE = timedelta(seconds=30)
_POLL_INTERVAL = 0.5
# These commands work before the first successful collection run.
_WITHOUT_ARCHIVE = ("collect", "doctor")
# These commands fail if no project is enabled.
_NEEDING_PROJECTS = ("status", "verify", "reconcile")
# These commands store a pinned head or a bookmark in the state directory.
_WITH_STATE = ("collect", "prune", "compact", "journal", "notify")


@dataclass
class _Task:
    """The run of a command on one archive."""

    project: ProjectSettings
    options: argparse.Namespace
    stop: threading.Event = field(default_factory=threading.Event)
    started: float = 0.0
    is_overdue: bool = False


@dataclass
class _Outcome:
    """The exit status of a task, and its output."""

    task: _Task
    status: int
    printed: CapturedOutput

    def to_json(self) -> Dict[str, Any]:
        """The values that the command returned for programs, with the archive's name, path and exit status."""
        returned = self.printed.value if isinstance(self.printed.value, dict) else {}
        project = self.task.project
        return {"name": project.name, "path": project.path, **returned, "exit_status": self.status}


def run_several(
    name: str, options: argparse.Namespace, projects: Sequence[ProjectSettings], stop: threading.Event
) -> int:
    """Run a command on each archive, print the outcome of each, and return the worst exit status.

    :raises Cancelled: ``stop`` was set; each running task has ended at a safe point.
    """
    tasks = [_Task(project, _task_options(name, options, project)) for project in projects if project.enabled]
    if name in _NEEDING_PROJECTS and not tasks:
        raise InvalidInput(f"No project is enabled, so {name} has nothing to check; enable one in the projects file.")
    if name == "collect":
        tasks = [task for task in tasks if _is_due(task, utc_now())]
    tasks.sort(key=lambda task: _last_attempt(name, task))
    outcomes: List[_Outcome] = []
    for outcome in _run(name, tasks, options, stop):
        outcomes.append(outcome)
        if not options.json and name != "status":
            _print_outcome(outcome)
    status = worst([outcome.status for outcome in outcomes])
    order = {project.name: number for number, project in enumerate(projects)}
    outcomes.sort(key=lambda outcome: order[outcome.task.project.name])
    if options.json:
        print_json({"archives": [outcome.to_json() for outcome in outcomes], "exit_status": status})
    elif name == "status":
        for line in status_table([outcome.to_json() for outcome in outcomes], utc_now()):
            print_line(line)
    if stop.is_set():
        raise Cancelled("The command was stopped before it finished.")
    return status


def _print_outcome(outcome: _Outcome) -> None:
    for line in outcome.printed.lines:
        print_line(f"{outcome.task.project.name}: {line}")
    sys.stdout.flush()


def _run(name: str, tasks: List[_Task], options: argparse.Namespace, stop: threading.Event) -> Iterator[_Outcome]:
    """Run the tasks in threads, and yield each outcome when its task ends."""
    waiting: queue.SimpleQueue[_Task] = queue.SimpleQueue()
    ended: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()
    running: Dict[int, _Task] = {}
    for task in tasks:
        waiting.put(task)

    def work() -> None:
        while not stop.is_set():
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            task.started = time.monotonic()
            running[id(task)] = task
            outcome = _run_task(name, task)
            del running[id(task)]
            ended.put(outcome)

    # Daemon threads, since a command that only reads can be stopped without finishing its work.
    threads = [threading.Thread(target=work, daemon=True) for _number in range(min(options.jobs, len(tasks)))]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or not ended.empty():
        try:
            yield ended.get(timeout=_POLL_INTERVAL)
        except queue.Empty:
            _stop_overdue(list(running.values()), options.time_limit, stop)


def _stop_overdue(running: List[_Task], limit: timedelta, stop: threading.Event) -> None:
    """Stop tasks that exceed the time limit, or all tasks if the command was stopped."""
    now = time.monotonic()
    for task in running:
        task.is_overdue = task.is_overdue or now - task.started > limit.total_seconds()
        if task.is_overdue or stop.is_set():
            task.stop.set()


def _run_task(name: str, task: _Task) -> _Outcome:
    """Run the command on one archive; any error becomes an outcome."""
    with capture_output(task.project.name) as printed:
        try:
            return _Outcome(task, _run_one(name, task), printed)
        except Cancelled as error:
            message = error.message
            if task.is_overdue:
                message = "Not finished within the time limit; the next run continues from here."
            return _failed(task, printed, API, message, error.failure)
        except AuditError as error:
            return _failed(task, printed, exit_status(error), error.message, error.failure)
        except Exception as error:  # noqa: BLE001 - the other tasks continue
            traceback.print_exc()
            return _failed(task, printed, INTERNAL_ERROR, f"Internal error; please report it: {error!r}", None)


def _run_one(name: str, task: _Task) -> int:
    if name not in _WITHOUT_ARCHIVE and is_new(task.options):
        print_line("new: no collection run has succeeded yet.")
        print_json({"state": "new", "project": {"name": task.project.name, "uuid": None}, "failure": None})
        return NOT_CURRENT if name == "status" else OK
    if name in _WITH_STATE:
        task.options.state.create_directory()
    return int(task.options.command.run(task.options, task.stop))


def _failed(task: _Task, printed: CapturedOutput, status: int, message: str, failure: Any) -> _Outcome:
    printed.lines.append(message)
    printed.value = {"msg": message, "failure": failure}
    return _Outcome(task, status, printed)


def _is_due(task: _Task, now: datetime) -> bool:
    """True if the last run of the project started long enough ago; a timer can fire slightly early."""
    every = task.project.every
    run = task.options.state.runs().get("collect")
    if every is None or run is None or run.attempted_at is None:
        return True
    return not timedelta() <= now - run.attempted_at < every - _TIMER_TOLERANCE


def _last_attempt(name: str, task: _Task) -> str:
    """The sort key of a task: tasks that have waited longest run first."""
    run = task.options.state.runs().get(name)
    return run.attempted if run else ""


def _timestamp_settings(name: str, project: ProjectSettings) -> Dict[str, Any]:
    """The settings for time stamps. ``verify`` checks them only if the project requires them."""
    if name == "verify":
        return {"timestamp_ca": project.timestamp_ca if project.timestamp_required else None}
    return {
        "timestamp_url": project.timestamp_url,
        "timestamp_every": project.timestamp_every,
        "timestamp_ca": project.timestamp_ca,
        "timestamp_required": project.timestamp_required,
    }


def _task_options(name: str, options: argparse.Namespace, project: ProjectSettings) -> argparse.Namespace:
    """The options of the command for one project; flags override the projects file."""
    archive = project.path if is_remote(project.path) else str(LocalStore(project.path))
    state = StateFile(project.state_directory, archive)
    settings = {
        "project": project.name,
        "token_file": project.token_file,
        "api_url": project.api_url,
        "ca_path": project.ca_path,
        "start": {"collect": project.start, "reconcile": project.reconcile_start}.get(name),
        "pin": project.pin_path,
        "sign_key": project.sign_key_file,
        "allowed_signers": project.allowed_signers,
        "bookmark": os.path.join(project.state_directory, f"{name}.json"),
        **_timestamp_settings(name, project),
        "older_than": {"prune": project.retention, "compact": project.compact_older_than}.get(name),
    }
    # The table of status is built from the JSON values.
    as_json = options.json or name == "status"
    values = dict(
        vars(options),
        json=as_json,
        path=project.path,
        token_name=project.name,
        state=state,
        access=bucket_access(project),
    )
    for setting, value in settings.items():
        if setting in values and not values[setting]:
            values[setting] = value
    if values.get("metrics"):
        values["metrics"] = os.path.join(values["metrics"], f"cloudscale-audit-{name}-{project.name}.prom")
    return argparse.Namespace(**values)
