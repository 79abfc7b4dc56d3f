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
from datetime import timedelta
from importlib import import_module
from typing import Any, Iterator, List, Optional, Protocol, Sequence, TextIO

from ..archive.storage.s3_address import FROM_ENVIRONMENT
from ..errors import AuditError, InvalidInput, StorageError
from ..projects import HOST_PROJECTS_FILE, ProjectSettings, archive_at, read_projects
from ..times import parse_duration
from ..version import VERSION
from .archive import state_at
from .exit_status import INTERNAL_ERROR, MEANINGS, OK, STORAGE, exit_status
from .output import print_json
from .signals import set_on_signal


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


_COMMANDS = (
    *("collect", "status", "verify", "reconcile", "cat", "history"),
    *("detect", "notify", "export", "prune", "compact", "journal", "doctor"),
)


# Without an archive, these take the projects of an archiver host.
_WITH_HOST_PROJECTS = ("status", "verify", "reconcile", "cat", "history", "detect")
_WITH_SEVERAL_ARCHIVES = ("status", "verify", "detect", "notify", "export")
# These read several archives as one log.
_MERGING = ("cat", "history")

_TIME_FLAGS = ("--start", "--end", "--older-than")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run one command and return the exit status; errors are one sentence on stderr."""
    _prepare_output()
    options = _parse(_join_times(sys.argv[1:] if arguments is None else arguments))
    stop = threading.Event()
    set_on_signal(stop)
    try:
        code = _run(options, stop)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader has seen enough.
        _discard(sys.stdout)
        return OK
    except OSError as error:
        # What else can fail is told as an AuditError.
        _discard(sys.stdout)
        _print_error(StorageError(f"The output cannot be written: {error.strerror or error}."), as_json=False)
        return STORAGE
    except AuditError as error:
        _print_error(error, as_json=getattr(options, "json", False))
        return exit_status(error)
    except Exception:  # noqa: BLE001 - Python would end with status 1, which means findings
        with _ignore_write_errors(sys.stderr):
            sys.stderr.write("cloudscale-audit: internal error; please report it with the lines below.\n")
            traceback.print_exc()
        return INTERNAL_ERROR


def _run(options: argparse.Namespace, stop: threading.Event) -> int:
    projects = _projects_of(options)
    if _is_merging(options):
        options.archives = projects or []
        return int(options.command.run(options, stop))
    if projects is not None:
        from .several import run_several  # takes its time, and a command on one archive needs no threads

        return run_several(options.name, options, projects, stop)
    (options.path,) = options.paths
    options.state = state_at(options.path)
    command: Command = options.command
    return command.run(options, stop)


def _is_merging(options: argparse.Namespace) -> bool:
    """Whether the command makes one thing of all archives."""
    merges = getattr(options.command, "merges", None)
    return options.name in _MERGING or (merges is not None and merges(options))


def _projects_of(options: argparse.Namespace) -> Optional[List[ProjectSettings]]:
    """The archives of a command that is not about a single one.

    :raises InvalidInput: the projects file cannot be used.
    """
    paths, file = options.paths, options.projects
    if paths and file:
        options.parser.error("name archives, or --projects FILE, not both")
    if not paths and not file and options.name in _WITH_HOST_PROJECTS and os.path.exists(HOST_PROJECTS_FILE):
        file = HOST_PROJECTS_FILE
    if file:
        return read_projects(file)
    if not paths and options.name != "history":
        options.parser.error("name an archive, or --projects FILE")
    if _is_merging(options):
        return [archive_at(path) for path in paths]
    if len(paths) == 1:
        return None
    if options.name not in _WITH_SEVERAL_ARCHIVES:
        options.parser.error(f"{options.name} takes one archive; for several, use --projects FILE")
    return [archive_at(path) for path in paths]


def _print_error(error: AuditError, as_json: bool) -> None:
    """Tell people and, on request, programs; where nobody takes it, there is still the exit status."""
    with _ignore_write_errors(sys.stderr):
        sys.stderr.write(f"cloudscale-audit: {error.message}\n")
    with _ignore_write_errors(sys.stdout):
        if as_json:
            print_json({"msg": error.message, "failure": error.failure})
        sys.stdout.flush()


@contextmanager
def _ignore_write_errors(stream: TextIO) -> Iterator[None]:
    try:
        yield
    except OSError:
        _discard(stream)


def _prepare_output() -> None:
    """Let no output end a command as an unforeseen error, whose exit status would mean findings: neither one that is
    closed, nor one whose encoding lacks a character, as of an archive's path.
    """
    sys.stdout = sys.stdout or _null_stream()
    sys.stderr = sys.stderr or _null_stream()
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _null_stream() -> TextIO:
    return io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8")


def _discard(stream: TextIO) -> None:
    """Throw away what could not be written: Python would complain about it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _join_times(arguments: Sequence[str]) -> List[str]:
    """Join a time to its option: argparse would take the ``-24h`` of ``--start -24h`` for another option."""
    joined: List[str] = []
    for argument in arguments:
        if joined and joined[-1] in _TIME_FLAGS:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the arguments; what the subcommand does not know is refused with the usage of that subcommand."""
    options, unknown = build_parser(arguments).parse_known_args(arguments)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


def build_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the command that is called, or of all: most runs need one, and each takes its time to import."""
    called = arguments[:1] if arguments[:1] and arguments[0] in _COMMANDS else _COMMANDS
    parser = argparse.ArgumentParser(
        prog="cloudscale-audit",
        description="Keep the audit log of a cloudscale.ch project.",
        epilog=f"Exit status: {', '.join(f'{status} {meaning}' for status, meaning in MEANINGS.items())}.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in called:
        command = _load(name)
        description = f"{command.ABOUT[0].upper()}{command.ABOUT[1:]}."
        added = commands.add_parser(name, help=command.ABOUT, description=description, allow_abbrev=False)
        added.set_defaults(
            command=command, name=name, parser=added, json=False, dry_run=False, **_SINGLE_ARCHIVE_DEFAULTS
        )
        command.add_arguments(added)
        _add_archives(added, name)
    return parser


def _load(name: str) -> Command:
    command: Any = import_module(f"{__package__}.commands.{name}")
    loaded: Command = command
    return loaded


# What a command on one archive has; several.py sets them for each of several.
_SINGLE_ARCHIVE_DEFAULTS = {"access": FROM_ENVIRONMENT, "token_name": None}


def _add_archives(parser: argparse.ArgumentParser, name: str) -> None:
    several = name in (*_WITH_SEVERAL_ARCHIVES, *_MERGING)
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="ARCHIVE",
        help=f"path of {'one or more archives' if several else 'the archive'}, or s3://BUCKET/PREFIX"
        f"{'; or of an evidence package, FILE.zip' if name == 'verify' else ''}",
    )
    parser.add_argument(
        "--projects", metavar="FILE", help="instead of ARCHIVE: all projects of a projects file, in one process"
    )
    if name in _MERGING:
        return
    parser.add_argument("--jobs", type=_jobs, default=8, metavar="N", help="how many of them at once (default: 8)")
    parser.add_argument(
        "--time-limit", type=_time_limit, default="1h", metavar="DURATION", help="for each of them (default: 1h)"
    )


def _jobs(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= _MAX_JOBS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_MAX_JOBS}")
    return int(text)


def _time_limit(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except InvalidInput as exc:
        raise argparse.ArgumentTypeError(exc.message) from exc


_MAX_JOBS = 64
