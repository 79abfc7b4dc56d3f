# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exports entries of archives: to a file with a manifest, or to an evidence package."""

from __future__ import annotations

import argparse
import threading
from typing import TYPE_CHECKING, List

from ...counts import pluralize
from ...errors import InvalidInput
from ...files import check_not_existing
from ...project_log.entry import to_printable
from ...settings import Range
from ...times import utc_now
from ..archive import archive_from_options, archives_from_options, bucket_access
from ..completeness import warn_of_missing_parts
from ..exit_status import FINDINGS, worst
from ..flags import flag
from ..output import add_json, print_json, print_line, warn
from ..selection import add_selection, range_and_selection
from ..signals import end_on_signal
from ..time_zone import zone_from_options

if TYPE_CHECKING:
    from ...archive.package import PackedArchive, Source

ABOUT = (
    "write entries to a .jsonl or .csv file with a manifest, or entries and evidence of one or more archives to a .zip "
    "file"
)

_CONDITIONS = ("actions", "actors", "ip_networks", "message_pattern", "resources", "limit")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dest",
        required=True,
        metavar="FILE",
        help="path to the file to write: FILE.jsonl or FILE.csv, with a manifest in FILE.manifest.json next to it, or "
        "FILE.zip for an evidence package",
    )
    parser.add_argument(
        "--format",
        choices=("ecs", "ocsf"),
        help="for a .jsonl file: write events of the Elastic Common Schema or OCSF (default: entries as received)",
    )
    parser.add_argument("--force", action="store_true", help="replace the file and its manifest if they exist")
    parser.add_argument(
        "--allowed-signers",
        dest="signers",
        metavar="FILE",
        help="for a .zip file: path to a file with the keys that must have signed the archives; it is added to the "
        "package",
    )
    add_json(parser)
    add_selection(parser)


def merges(options: argparse.Namespace) -> bool:
    """True if all archives are exported to one file."""
    return str(options.dest).endswith(".zip")


def run(options: argparse.Namespace, _stop: threading.Event) -> int:
    end_on_signal()
    if merges(options):
        return _pack(options)
    from ...archive.export import export

    if options.signers:
        raise InvalidInput("--allowed-signers requires an evidence package; pass a .zip file as --dest.")
    time_range, selection = range_and_selection(options)
    if not options.force:
        check_not_existing(options.dest, "--dest")
        check_not_existing(f"{options.dest}.manifest.json", "--dest")
    done = export(archive_from_options(options), options.dest, time_range, selection, utc_now(), options.format)
    manifest = done.manifest
    if options.json:
        print_json(manifest)
    else:
        print_line(f"{pluralize(manifest['entries'], 'entry', 'entries')} written to {options.dest}.")
        print_line(f"SHA-256: {manifest['sha256']}")
    return warn_of_missing_parts(time_range, done.missing, zone_from_options(options))


def _pack(options: argparse.Namespace) -> int:
    from ...archive.package import make_package

    if options.format:
        raise InvalidInput("An evidence package contains the entries as received; remove --format.")
    conditions = [flag(name) for name in _CONDITIONS if getattr(options, name)]
    if conditions:
        raise InvalidInput(f"An evidence package contains all entries of its range; remove {conditions[0]}.")
    time_range, _selection = range_and_selection(options)
    if not options.force:
        check_not_existing(options.dest, "--dest")
    done = make_package(_sources(options), options.dest, time_range)
    if options.json:
        print_json(
            {
                "file": options.dest,
                "sha256": done.sha256,
                "bytes": done.bytes,
                "archives": [
                    {**packed.facts, "directory": packed.directory, "intact": not packed.problems}
                    for packed in done.archives
                ],
            }
        )
    else:
        for packed in done.archives:
            print_line(f"{packed.directory}: {pluralize(packed.facts['entries'], 'entry', 'entries')}.")
        print_line(f"Evidence of {pluralize(len(done.archives), 'archive', 'archives')} written to {options.dest}.")
        print_line(f"SHA-256: {done.sha256}")
    several = len(done.archives) > 1
    return worst([_report_archive(options, time_range, packed, several) for packed in done.archives])


def _sources(options: argparse.Namespace) -> List[Source]:
    from ...archive.package import Source
    from ...archive.storage.open import open_store

    stores = [store for _name, store in archives_from_options(options)]
    if not stores:
        raise InvalidInput("No archive to export: no project has been collected yet; run collect first.")
    signers = {
        str(open_store(project.path, bucket_access(project))): project.allowed_signers
        for project in options.archives
        if project.allowed_signers
    }
    return [Source(store, options.signers or signers.get(str(store))) for store in stores]


def _report_archive(options: argparse.Namespace, time_range: Range, packed: PackedArchive, several: bool) -> int:
    """Warn if parts are missing or the archive is not intact, and return the exit status of the archive."""
    project = f"{to_printable(packed.directory)}: " if several else ""
    status = warn_of_missing_parts(time_range, packed.missing, zone_from_options(options), project)
    if not packed.problems:
        return status
    count = pluralize(len(packed.problems), "finding", "findings")
    warn(f"{project}The archive is not intact: {count}, which the package lists. Verify the archive.")
    return FINDINGS
