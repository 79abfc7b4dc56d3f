# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command ``cloudscale-audit``: collects, verifies and reads archives on a host, without Ansible.

Exit status: 0 fine, 1 findings (an archive is not what it was), 2 usage, 3 API, 4 storage, 5 gap.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from .api import Api, Page
from .archive.chain import Hint, find_head
from .archive.collector import CollectSettings, collect
from .archive.coverage import Status
from .archive.format import Gap, Head
from .archive.store import LocalStore, existing_archive
from .entry import canonical, subject, visible
from .errors import (
    ArchiveDamaged,
    AuditError,
    InvalidInput,
    MissingLibrary,
    StorageError,
    Unauthorized,
)
from .settings import Connection, Range
from .timespan import format_time
from .version import VERSION

if TYPE_CHECKING:
    from .archive.verifier import Finding

FINE, FINDINGS, USAGE, API, STORAGE, GAP = range(6)

_SKEW_TOLERATED = 5.0
_SPACE_WANTED = 1 << 30


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run one command and return the exit status; errors are one sentence on stderr."""
    options = _parser().parse_args(_with_times_joined(sys.argv[1:] if arguments is None else arguments))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_signal: stop.set())
    try:
        code: int = options.command(options, stop)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader has seen enough. Python would complain about the rest at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except AuditError as error:
        sys.stderr.write(f"cloudscale-audit: {error.message}\n")
        if getattr(options, "json", False):
            _print_json({"msg": error.message, "failure": error.failure})
        return _exit_status(error)


def _exit_status(error: AuditError) -> int:
    if isinstance(error, ArchiveDamaged):
        return FINDINGS
    if isinstance(error, (InvalidInput, MissingLibrary)):
        return USAGE
    return STORAGE if isinstance(error, StorageError) else API


# Commands. A collection that finds nothing new is what runs most: what it does not need is imported where it is used.


def _collect(options: argparse.Namespace, stop: threading.Event) -> int:
    settings = CollectSettings(
        project=options.project,
        start=Range.from_mapping({"start": options.start}, _now()).start,
        accept_identity=options.accept_identity,
    )
    done = _with_token(options, lambda connection: _collect_once(options, connection, settings, stop))
    if options.json:
        _print_json(done.to_json())
    else:
        _tell_collected(done, options.dry_run)
    return GAP if done.gaps else FINE


def _collect_once(
    options: argparse.Namespace, connection: Connection, settings: CollectSettings, stop: threading.Event
) -> Status:
    hint = Hint(options.pin) if options.pin else None
    with _Watched(connection, stop=stop) as api:
        return collect(LocalStore(options.path), api, settings, hint=hint, stop=stop, dry_run=options.dry_run)


def _status(options: argparse.Namespace, _stop: threading.Event) -> int:
    from .archive.verifier import status

    found = status(existing_archive(options.path), _now())
    if options.json:
        _print_json(found.to_json())
    else:
        _tell_status(options.path, found)
    return GAP if found.state == "expired" else FINE


def _verify(options: argparse.Namespace, _stop: threading.Event) -> int:
    from .archive.verifier import status, verify

    store = existing_archive(options.path)
    findings = verify(store, options.expected_head)
    problems = [finding for finding in findings if not finding.is_warning]
    if options.json:
        _print_json({"sound": not problems, "findings": [finding._asdict() for finding in findings]})
    else:
        _tell_findings(findings)
        if not problems:
            _tell_sound(status(store, _now()))
    return FINDINGS if problems else FINE


def _cat(options: argparse.Namespace, _stop: threading.Event) -> int:
    from .archive.reading import cat
    from .selector import Selection, newest

    span = Range.from_mapping({"start": options.start, "end": options.end}, _now())
    selection = Selection.from_mapping(vars(options))
    matches = filter(selection.matches, cat(existing_archive(options.path), span.start, span.end))
    for entry in newest(matches, selection.limit):
        sys.stdout.buffer.write(canonical(entry) + b"\n")
    sys.stdout.buffer.flush()
    return FINE


class Check(NamedTuple):
    """What ``doctor`` found out about one thing that a collection needs."""

    name: str
    failed: bool
    detail: str


def _doctor(options: argparse.Namespace, stop: threading.Event) -> int:
    checks = list(_checks(options, stop))
    failed = any(check.failed for check in checks)
    if options.json:
        _print_json({"healthy": not failed, "checks": [check._asdict() for check in checks]})
    else:
        for check in checks:
            _say(f"{'FAILED' if check.failed else 'ok':<7} {check.name:<8} {check.detail}")
    return _worst(checks)


def _worst(checks: List[Check]) -> int:
    failed = {check.name for check in checks if check.failed}
    if not failed:
        return FINE
    return STORAGE if failed & {"folder", "space", "archive"} else API


def _checks(options: argparse.Namespace, stop: threading.Event) -> Iterator[Check]:
    yield _checked("folder", lambda: _probe_folder(options.path))
    yield _checked("space", lambda: _probe_space(options.path))
    yield _checked("archive", lambda: _probe_archive(options.path))
    pages: List[Page] = []
    yield _checked("api", lambda: _probe_api(options, stop, pages))
    if pages:
        yield _checked("project", lambda: _probe_project(options.path, pages[0]))
        yield _checked("clock", lambda: _probe_clock(pages[0]))


def _checked(name: str, probe: Callable[[], str]) -> Check:
    try:
        return Check(name, False, probe())
    except AuditError as error:
        return Check(name, True, error.message)
    except OSError as error:
        return Check(name, True, f"{error.filename or name}: {error.strerror or error}")


def _probe_folder(path: str) -> str:
    """Prove on a throw-away archive beside the real one that exclusive creation and fsync work there."""
    above = _existing(path)
    folder = tempfile.mkdtemp(prefix=".cloudscale-audit-doctor-", dir=above)
    try:
        store = LocalStore(folder)
        store.prepare(None)
        name = "commits/000000000001.json"
        if not store.decide(name, b"one") or store.decide(name, b"two"):
            raise StorageError(f"{above} lets two collectors create the same file; use another file system.")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return f"{above} creates files exclusively and makes them durable"


def _probe_space(path: str) -> str:
    free = shutil.disk_usage(_existing(path)).free
    told = f"{free / (1 << 30):.1f} GiB free"
    if free < _SPACE_WANTED:
        raise StorageError(f"Only {told} for {path}; make room.")
    return told


def _probe_archive(path: str) -> str:
    head = find_head(LocalStore(path))
    return "none yet" if head is None else f"{head.commit.sequence} commits, {head.commit.total_entries} entries"


def _probe_api(options: argparse.Namespace, stop: threading.Event, pages: List[Page]) -> str:
    def ask(connection: Connection) -> Page:
        with Api(connection, stop=stop) as api:
            return api.page(api.first_url())

    pages.append(_with_token(options, ask))
    return "the token may read a project's log"


def _probe_project(path: str, page: Page) -> str:
    labels = {label.uuid: label for label in map(subject, page.entries) if label.kind == "project" and label.uuid}
    head = find_head(LocalStore(path))
    archived = head.commit.project.uuid if head else None
    if archived is not None and labels and archived not in labels:
        raise StorageError(f"The token is of another project than the archive in {path} ({archived}).")
    return ", ".join(f"{label} ({uuid})" for uuid, label in labels.items()) or "no entry names it yet"


def _probe_clock(page: Page) -> str:
    if page.server_date is None:
        raise StorageError("The API tells no time, so an archive could not tell what it covers.")
    skew = (_now() - page.server_date).total_seconds()
    if abs(skew) > _SKEW_TOLERATED:
        raise StorageError(f"This host's clock differs from the API's by {skew:.0f} s; correct it.")
    return f"within {_SKEW_TOLERATED:.0f} s of the API's"


def _existing(path: str) -> str:
    path = os.path.abspath(os.path.expanduser(path))
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


# The API


class _Watched(Api):
    """An API whose pages are counted on the terminal, if there is one to watch."""

    _entries = 0

    def page(self, url: str) -> Page:
        page = super().page(url)
        self._entries += len(page.entries)
        if sys.stderr.isatty():
            end = "\r" if page.next else "\n"
            sys.stderr.write(f"{self._entries} entries read{end}")
        return page


def _with_token(options: argparse.Namespace, ask: Callable[[Connection], Any]) -> Any:
    """Ask with the token of now; once more when it was refused and its file holds another one since."""
    token = _token(options)
    try:
        return ask(_connection(options, token))
    except Unauthorized:
        renewed = _token(options)
        if renewed == token:
            raise
        return ask(_connection(options, renewed))


def _token(options: argparse.Namespace) -> Optional[str]:
    path = options.token_file or _credential()
    if path is None:
        return os.environ.get("CLOUDSCALE_API_TOKEN")
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except (OSError, ValueError) as exc:
        raise InvalidInput(f"The token file {path} cannot be read: {getattr(exc, 'strerror', None) or exc}.") from exc


def _credential() -> Optional[str]:
    """The file that systemd's LoadCredential= made of the token, if this is such a service."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = os.path.join(folder, "api_token") if folder else ""
    return path if os.path.exists(path) else None


def _connection(options: argparse.Namespace, token: Optional[str]) -> Connection:
    given: Dict[str, Any] = {
        "api_token": token,
        "api_url": options.api_url or os.environ.get("CLOUDSCALE_API_URL"),
        "api_timeout": options.api_timeout or os.environ.get("CLOUDSCALE_API_TIMEOUT"),
        "api_retry_budget": options.api_retry_budget,
        "ca_path": options.ca_path,
    }
    return Connection.from_mapping(given)


# What people read


def _tell_collected(done: Status, dry_run: bool) -> None:
    verb = "would be added" if dry_run else "added"
    _say(f"{_number(done.added, 'entry', 'entries')} {verb} in {_number(done.commits, 'commit', 'commits')}.")
    if done.rerendered:
        _say(f"{done.rerendered} were there already and look different now: a name was changed.")
    _say(f"State: {done.state}. Covered until {_time(done.covered_until)}.")
    _tell_gaps(done.gaps)


def _tell_status(path: str, found: Status) -> None:
    if found.head is None:
        return
    rows: List[Tuple[str, str]] = [
        ("archive", path),
        ("state", found.state),
        ("covered from", _time(found.covered_from)),
        ("covered until", f"{_time(found.covered_until)} ({_ago(found.covered_until)})"),
        ("deadline", f"{_time(found.retention_deadline)}: then the provider deletes what is not archived"),
        ("entries", str(found.added)),
        ("commits", str(found.commits)),
        ("head", f"{found.head.sequence}:{found.head.sha256}"),
        ("gaps", str(len(found.gaps)) if found.gaps else "none"),
    ]
    for name, value in rows:
        _say(f"{name:<14} {value}")
    _tell_gaps(found.gaps)


def _tell_gaps(gaps: List[Gap]) -> None:
    for gap in gaps:
        _say(f"GAP from {_time(gap.start)} to {_time(gap.end)} ({gap.why}): entries of this time may be missing.")


def _tell_findings(findings: List[Finding]) -> None:
    for finding in findings:
        mark = "warning" if finding.is_warning else "FINDING"
        _say(f"{mark} {finding.type}: {visible(finding.path)}: {visible(finding.detail)}")


def _tell_sound(found: Status) -> None:
    if found.head is None:
        return
    gaps = f"with {_number(len(found.gaps), 'gap', 'gaps')} on record" if found.gaps else "without a gap"
    _say(
        f"Sound: {_number(found.added, 'entry', 'entries')} in {_number(found.commits, 'commit', 'commits')}, "
        f"covering {_time(found.covered_from)} to {_time(found.covered_until)} {gaps}."
    )
    _tell_gaps(found.gaps)
    _say(f"Head: {found.head.sequence}:{found.head.sha256}")


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _time(moment: Optional[datetime]) -> str:
    return "never" if moment is None else format_time(moment.replace(microsecond=0))


def _ago(moment: Optional[datetime]) -> str:
    if moment is None:
        return "never"
    minutes = int((_now() - moment).total_seconds() // 60)
    days, hours = divmod(minutes // 60, 24)
    return f"{days} d {hours} h ago" if days else f"{hours} h {minutes % 60} min ago"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _print_json(value: Any) -> None:
    _say(json.dumps(value, sort_keys=True))


def _now() -> datetime:
    return datetime.now(timezone.utc)


# Arguments


@dataclass(frozen=True)
class _Command:
    run: Callable[[argparse.Namespace, threading.Event], int]
    about: str


_COMMANDS = {
    "collect": _Command(_collect, "read what is new in a project's log into the archive"),
    "status": _Command(_status, "tell where the archive stands; needs no token and no network"),
    "verify": _Command(_verify, "prove that the archive is whole; needs no token and no network"),
    "cat": _Command(_cat, "print entries of the archive as JSON lines; needs no token and no network"),
    "doctor": _Command(_doctor, "check all that a collection needs, before the first one"),
}


def _with_times_joined(arguments: Sequence[str]) -> List[str]:
    """Join a time to its option: argparse would take the ``-24h`` of ``--start -24h`` for another option."""
    joined: List[str] = []
    for argument in arguments:
        if joined and joined[-1] in ("--start", "--end"):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cloudscale-audit",
        description="Keep the audit log of a cloudscale.ch project.",
        epilog="Exit status: 0 fine, 1 findings, 2 usage, 3 API, 4 storage, 5 gap.",
    )
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in _COMMANDS.items():
        added = commands.add_parser(name, help=command.about, description=f"{command.about.capitalize()}.")
        added.set_defaults(command=command.run)
        added.add_argument("path", help="the archive's folder")
        _ARGUMENTS[name](added)
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def _add_connection(parser: argparse.ArgumentParser) -> None:
    _add_json(parser)
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="holds the API token; else systemd's credential api_token, or the "
        "environment variable CLOUDSCALE_API_TOKEN",
    )
    parser.add_argument("--api-url", metavar="URL", help="default: CLOUDSCALE_API_URL, or the provider's")
    parser.add_argument("--api-timeout", metavar="SECONDS", help="for one answer (default: 45)")
    parser.add_argument("--api-retry-budget", metavar="SECONDS", help="for the retries of a page (default: 600)")
    parser.add_argument("--ca-path", metavar="FILE", help="certificate authorities to trust instead of the system's")


def _add_collect(parser: argparse.ArgumentParser) -> None:
    _add_connection(parser)
    parser.add_argument("--project", default="", metavar="NAME", help="a label for the archive")
    parser.add_argument("--start", metavar="TIME", help="where a new archive begins (default: the oldest entry kept)")
    parser.add_argument("--pin", metavar="FILE", help="remembers the head outside the archive, so that a cut is seen")
    parser.add_argument(
        "--accept-identity",
        action="store_true",
        help="go on although another token or api_url can no longer be compared with what the archive holds",
    )
    parser.add_argument("--dry-run", action="store_true", help="write nothing, tell what would come")


def _add_verify(parser: argparse.ArgumentParser) -> None:
    _add_json(parser)
    parser.add_argument(
        "--expected-head", type=_head, metavar="SEQUENCE:SHA256", help="a head noted earlier, which must still be there"
    )


def _add_cat(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--start", metavar="TIME", help="only entries of this moment or later")
    parser.add_argument("--end", metavar="TIME", help="only entries before this moment")
    parser.add_argument("--action", dest="actions", action="append", metavar="GLOB", help="only these actions")
    parser.add_argument("--actor", dest="actors", action="append", metavar="NAME", help="only changes by these")
    parser.add_argument("--ip-network", dest="ip_networks", action="append", metavar="NETWORK", help="only from these")
    parser.add_argument("--message", metavar="REGEX", help="only entries in whose message this is found")
    parser.add_argument("--limit", metavar="N", help="only the newest N matches")


_ARGUMENTS: Dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "collect": _add_collect,
    "status": _add_json,
    "verify": _add_verify,
    "cat": _add_cat,
    "doctor": _add_connection,
}


def _head(text: str) -> Head:
    sequence, _colon, digest = text.partition(":")
    if not sequence.isdigit() or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"{text!r} is no head; it looks like 42:SHA256 and is told by status")
    return Head(int(sequence), digest)
