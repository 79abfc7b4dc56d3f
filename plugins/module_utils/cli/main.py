# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command ``cloudscale-audit``: collects, verifies and reads archives without Ansible.

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
    """One command, a module of this package.

    Modules that a run does not always need are imported where they are used, so that frequent short runs start fast.
    """

    ABOUT: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments of the command, except the archive's path."""

    def run(self, options: argparse.Namespace, stop: threading.Event) -> int:
        """Run the command, and return the exit status. ``stop`` is set to end the command early.

        Commands that only read call :func:`end_on_signal` instead.
        """


_COMMANDS = (
    *("collect", "status", "verify", "reconcile", "cat", "history"),
    *("detect", "notify", "export", "prune", "compact", "journal", "doctor"),
)


# Without an archive, these use the projects file of an archiver host.
_WITH_HOST_PROJECTS = ("status", "verify", "reconcile", "cat", "history", "detect")
_WITH_SEVERAL_ARCHIVES = ("status", "verify", "detect", "notify", "export")
# These read several archives as one log.
_MERGING = ("cat", "history")

_TIME_FLAGS = ("--start", "--end", "--older-than")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run one command, and return the exit status. Errors are one sentence on stderr."""
    _prepare_output()
    options = _parse(_join_times(sys.argv[1:] if arguments is None else arguments))
    stop = threading.Event()
    set_on_signal(stop)
    try:
        code = _run(options, stop)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of the output has closed the pipe.
        _discard(sys.stdout)
        return OK
    except OSError as error:
        # All other operating system errors are raised as AuditError.
        _discard(sys.stdout)
        _print_error(StorageError(f"Standard output cannot be written: {error.strerror or error}."), as_json=False)
        return STORAGE
    except AuditError as error:
        _print_error(error, as_json=getattr(options, "json", False))
        return exit_status(error)
    except Exception:  # noqa: BLE001 - Python would exit with status 1, which means findings
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
        from .several import run_several  # slow to import, and one archive needs no threads

        return run_several(options.name, options, projects, stop)
    (options.path,) = options.paths
    options.state = state_at(options.path)
    command: Command = options.command
    return command.run(options, stop)


def _is_merging(options: argparse.Namespace) -> bool:
    """True if the command combines all archives into one output."""
    merges = getattr(options.command, "merges", None)
    return options.name in _MERGING or (merges is not None and merges(options))


def _projects_of(options: argparse.Namespace) -> Optional[List[ProjectSettings]]:
    """The projects of a command on several archives; None if it is on one archive.

    :raises InvalidInput: the projects file is not valid.
    """
    paths, file = options.paths, options.projects
    if paths and file:
        options.parser.error("pass ARCHIVE or --projects FILE, not both")
    if not paths and not file and options.name in _WITH_HOST_PROJECTS and os.path.exists(HOST_PROJECTS_FILE):
        file = HOST_PROJECTS_FILE
    if file:
        return read_projects(file)
    if not paths and options.name != "history":
        options.parser.error("pass ARCHIVE or --projects FILE")
    if _is_merging(options):
        return [archive_at(path) for path in paths]
    if len(paths) == 1:
        return None
    if options.name not in _WITH_SEVERAL_ARCHIVES:
        options.parser.error(f"{options.name} takes one archive; for several, use --projects FILE")
    return [archive_at(path) for path in paths]


def _print_error(error: AuditError, as_json: bool) -> None:
    """Print an error on stderr and, with --json, on stdout; ignore outputs that are closed."""
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
    """Replace closed outputs, and escape characters that the encoding of stdout lacks, so that printing never fails."""
    sys.stdout = sys.stdout or _null_stream()
    sys.stderr = sys.stderr or _null_stream()
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _null_stream() -> TextIO:
    return io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8")


def _discard(stream: TextIO) -> None:
    """Discard what could not be written; otherwise Python would print an error at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _join_times(arguments: Sequence[str]) -> List[str]:
    """Join times to their flags, because argparse reads the ``-24h`` of ``--start -24h`` as another flag."""
    joined: List[str] = []
    for argument in arguments:
        if joined and joined[-1] in _TIME_FLAGS:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments. Unknown arguments are an error with the usage of the subcommand."""
    options, unknown = build_parser(arguments).parse_known_args(arguments)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


def build_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser with the given subcommand, or with all. Most runs need one, and each is slow to import."""
    names = arguments[:1] if arguments[:1] and arguments[0] in _COMMANDS else _COMMANDS
    parser = argparse.ArgumentParser(
        prog="cloudscale-audit",
        description="Archive, verify and read the audit log of cloudscale.ch projects.",
        epilog=f"Exit status: {', '.join(f'{status} {meaning}' for status, meaning in MEANINGS.items())}.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in names:
        command = _load(name)
        description = f"{command.ABOUT[0].upper()}{command.ABOUT[1:]}."
        subparser = commands.add_parser(name, help=command.ABOUT, description=description, allow_abbrev=False)
        subparser.set_defaults(
            command=command, name=name, parser=subparser, json=False, dry_run=False, **_SINGLE_ARCHIVE_DEFAULTS
        )
        command.add_arguments(subparser)
        _add_archives(subparser, name)
    return parser


def _load(name: str) -> Command:
    command: Any = import_module(f"{__package__}.commands.{name}")
    loaded: Command = command
    return loaded


# Options of a command on one archive; several.py sets them for each of several archives.
_SINGLE_ARCHIVE_DEFAULTS = {"access": FROM_ENVIRONMENT, "token_name": None}


def _add_archives(parser: argparse.ArgumentParser, name: str) -> None:
    several = name in (*_WITH_SEVERAL_ARCHIVES, *_MERGING)
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="ARCHIVE",
        help=f"path to {'one or more archives' if several else 'the archive'}, or s3://BUCKET/PREFIX"
        f"{'; or to an evidence package, FILE.zip' if name == 'verify' else ''}",
    )
    parser.add_argument(
        "--projects",
        metavar="FILE",
        help="path to a projects file; run on the archives of all its projects instead of ARCHIVE"
        f"{f' (default on an archiver host: {HOST_PROJECTS_FILE})' if name in _WITH_HOST_PROJECTS else ''}",
    )
    if name in _MERGING:
        return
    parser.add_argument(
        "--jobs",
        type=_jobs,
        default=8,
        metavar="N",
        help=f"maximum number of archives at once, from 1 to {_MAX_JOBS}, if there are several (default: 8)",
    )
    parser.add_argument(
        "--time-limit",
        type=_time_limit,
        default="1h",
        metavar="DURATION",
        help="maximum duration for each of several archives, such as 15m or 1h (default: 1h)",
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
