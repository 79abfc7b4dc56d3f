# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the command in processes of their own that begin at once, forked from one that has imported all of it.

Most of the time of a short run is Python's start. What depends on that start is tested on real ones: which modules a
subcommand imports, and what the locale makes of its output.
"""

from __future__ import annotations

import atexit
import json
import os
import random
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

COMMAND = Path(__file__).parents[5] / "bin/cloudscale-audit"
CORE = Path(__file__).parents[5] / "plugins/module_utils"
NAME = "auditops_cloudscale_core"
_SECONDS = 60
_SERVERS: list[subprocess.Popen[str]] = []


def run_command(
    arguments: list[str], environment: Mapping[str, str], directory: Path
) -> subprocess.CompletedProcess[str]:
    """Run the command with this environment and no other, in a directory, and wait until it ends."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        files = [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (stdout, stderr)]
        order = {"arguments": arguments, "environment": dict(environment), "folder": str(directory), "files": files}
        status = int(_ask(json.dumps(order)))
        return subprocess.CompletedProcess(arguments, status, _content(stdout), _content(stderr))


def _content(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _ask(order: str) -> str:
    if not _SERVERS:
        command = [sys.executable, __file__]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        # Without input it ends.
        atexit.register(server.communicate)
        _SERVERS.append(server)
    server = _SERVERS[0]
    if server.stdin is None or server.stdout is None:
        raise RuntimeError("The server has no pipes.")
    server.stdin.write(order + "\n")
    server.stdin.flush()
    return server.stdout.readline()


def serve() -> None:
    """Run the command once for each line of standard input, and print its exit status."""
    _import_all()
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            _become(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


def _import_all() -> None:
    sys.argv = [str(COMMAND), "--help"]
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing), suppress(SystemExit):
        runpy.run_path(str(COMMAND), run_name="__main__")
    for package in ("project_log", "archive", "detections", "cli"):
        for file in sorted(CORE.glob(f"{package}/**/*.py")):
            # Some need libraries that not every environment has.
            with suppress(ImportError):
                import_module(".".join([NAME, *file.relative_to(CORE).with_suffix("").parts]))
    import_module("requests")


def _become(order: dict[str, Any]) -> None:
    status = 70
    try:
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        time.tzset()
        signal.alarm(_SECONDS)
        random.seed()
        for number, path in enumerate([os.devnull, *order["files"]]):
            os.dup2(os.open(path, os.O_RDWR), number)
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
        sys.argv = [str(COMMAND), *order["arguments"]]
        runpy.run_path(str(COMMAND), run_name="__main__")
        status = 0
    except SystemExit as ending:
        status = _status_of(ending.code)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _status_of(code: Any) -> int:
    """What Python makes of an argument of sys.exit."""
    if isinstance(code, int):
        return code
    return 0 if code is None else 1


if __name__ == "__main__":
    serve()
