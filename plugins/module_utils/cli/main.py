# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command ``cloudscale-audit``: collects, verifies and reads archives on a host, without Ansible.

Exit status: 0 fine, 1 findings of severity error, 2 usage, 3 API, 4 storage, 5 gap, 6 not current, 70 internal error.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import threading
import traceback
from contextlib import contextmanager
from typing import Dict, Iterator, List, Optional, Protocol, Sequence, TextIO

from ..errors import AuditError, StorageError
from ..version import VERSION
from .commands import cat, collect, compact, doctor, export, journal, prune, reconcile, status, verify
from .exit_status import INTERNAL_ERROR, MEANINGS, OK, STORAGE, exit_status
from .output import print_json
from .signals import ask_to_stop


class Command(Protocol):
    """One command, a module of this room. What it does not always need it imports where it is used: a collection that
    finds nothing new is what runs most."""

    ABOUT: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare what it takes beside the archive's path."""

    def run(self, options: argparse.Namespace, stop: threading.Event) -> int:
        """Do it, and return the exit status; ``stop`` is set when it shall end early.

        A command that only reads lets a signal end it at once instead.
        """


_COMMANDS: Dict[str, Command] = {
    "collect": collect,
    "status": status,
    "verify": verify,
    "reconcile": reconcile,
    "cat": cat,
    "export": export,
    "prune": prune,
    "compact": compact,
    "journal": journal,
    "doctor": doctor,
}


_TIMES = ("--start", "--end", "--older-than")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run one command and return the exit status; errors are one sentence on stderr."""
    _open_output()
    options = _parse(_with_times_joined(sys.argv[1:] if arguments is None else arguments))
    stop = threading.Event()
    ask_to_stop(stop)
    try:
        code: int = options.command(options, stop)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader has seen enough.
        _drop(sys.stdout)
        return OK
    except OSError as error:
        # What else can fail is told as an AuditError.
        _drop(sys.stdout)
        _tell(StorageError(f"The output cannot be written: {error.strerror or error}."), as_json=False)
        return STORAGE
    except AuditError as error:
        _tell(error, as_json=getattr(options, "json", False))
        return exit_status(error)
    except Exception:  # noqa: BLE001 - Python would end with status 1, which means findings
        with _unheard(sys.stderr):
            sys.stderr.write("cloudscale-audit: internal error; please report it with the lines below.\n")
            traceback.print_exc()
        return INTERNAL_ERROR


def _tell(error: AuditError, as_json: bool) -> None:
    """Tell people and, on request, programs; where nobody takes it, there is still the exit status."""
    with _unheard(sys.stderr):
        sys.stderr.write(f"cloudscale-audit: {error.message}\n")
    with _unheard(sys.stdout):
        if as_json:
            print_json({"msg": error.message, "failure": error.failure})
        sys.stdout.flush()


@contextmanager
def _unheard(stream: TextIO) -> Iterator[None]:
    try:
        yield
    except OSError:
        _drop(stream)


def _open_output() -> None:
    """Let no output end a command as an unforeseen error, whose exit status would mean findings: neither one that is
    closed, nor one whose encoding lacks a character, as of an archive's path.
    """
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _nowhere() -> TextIO:
    return io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8")


def _drop(stream: TextIO) -> None:
    """Throw away what could not be written: Python would complain about it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _with_times_joined(arguments: Sequence[str]) -> List[str]:
    """Join a time to its option: argparse would take the ``-24h`` of ``--start -24h`` for another option."""
    joined: List[str] = []
    for argument in arguments:
        if joined and joined[-1] in _TIMES:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the arguments; what the subcommand does not know is refused with the usage of that subcommand."""
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cloudscale-audit",
        description="Keep the audit log of a cloudscale.ch project.",
        epilog=f"Exit status: {', '.join(f'{status} {meaning}' for status, meaning in MEANINGS.items())}.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in _COMMANDS.items():
        description = f"{command.ABOUT[0].upper()}{command.ABOUT[1:]}."
        added = commands.add_parser(name, help=command.ABOUT, description=description, allow_abbrev=False)
        added.set_defaults(command=command.run, parser=added)
        added.add_argument("path", help="the archive's folder, or s3://BUCKET/PREFIX")
        command.add_arguments(added)
    return parser
