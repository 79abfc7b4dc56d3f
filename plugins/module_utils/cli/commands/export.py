# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hands entries of archives out: as a file with a manifest, or as a zip file with all evidence."""

from __future__ import annotations

import argparse
import threading
from typing import TYPE_CHECKING, List

from ...counts import pluralize
from ...errors import InvalidInput
from ...files import check_new
from ...project_log.entry import visible
from ...settings import Range
from ...times import utc_now
from ..archive import access_of, archive_of, archives_of
from ..completeness import warn_of_missing
from ..exit_status import FINDINGS, worst
from ..flags import flag
from ..output import add_json, print_json, say, warn
from ..selection import add_selection, selected
from ..signals import end_at_once
from ..time_zone import zone_of

if TYPE_CHECKING:
    from ...archive.package import Packed, Source

ABOUT = (
    "write entries to a .jsonl or .csv file with a manifest, or entries and all evidence of one or more archives to a "
    ".zip file"
)

_SELECTING = ("actions", "actors", "ip_networks", "message_pattern", "resources", "limit")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dest",
        required=True,
        metavar="FILE",
        help="the file to write; the manifest of FILE.jsonl or FILE.csv is FILE.manifest.json; FILE.zip is an evidence "
        "package",
    )
    parser.add_argument(
        "--format",
        choices=("ecs", "ocsf"),
        help="of a .jsonl file: write events of the Elastic Common Schema or of OCSF (default: entries as received)",
    )
    parser.add_argument("--force", action="store_true", help="replace the file and its manifest if they exist")
    parser.add_argument(
        "--allowed-signers",
        dest="signers",
        metavar="FILE",
        help="of a .zip file: check that these signed the archives, and add FILE to the package",
    )
    add_json(parser)
    add_selection(parser)


def merges(options: argparse.Namespace) -> bool:
    """Whether one file is made of all archives."""
    return str(options.dest).endswith(".zip")


def run(options: argparse.Namespace, _stop: threading.Event) -> int:
    end_at_once()
    if merges(options):
        return _pack(options)
    from ...archive.export import export

    if options.signers:
        raise InvalidInput("--allowed-signers goes with an evidence package; name a .zip file as --dest.")
    span, selection = selected(options)
    if not options.force:
        check_new(options.dest, "--dest")
        check_new(f"{options.dest}.manifest.json", "--dest")
    done = export(archive_of(options), options.dest, span, selection, utc_now(), options.format)
    manifest = done.manifest
    if options.json:
        print_json(manifest)
    else:
        say(f"{pluralize(manifest['entries'], 'entry', 'entries')} written to {options.dest}.")
        say(f"SHA-256: {manifest['sha256']}")
    return warn_of_missing(span, done.missing, zone_of(options))


def _pack(options: argparse.Namespace) -> int:
    from ...archive.package import make_package

    if options.format:
        raise InvalidInput("An evidence package has the entries as they were received; leave --format out.")
    given = [flag(name) for name in _SELECTING if getattr(options, name)]
    if given:
        raise InvalidInput(f"An evidence package has all entries of its range; leave {given[0]} out.")
    span, _selection = selected(options)
    if not options.force:
        check_new(options.dest, "--dest")
    done = make_package(_sources(options), options.dest, span)
    if options.json:
        print_json(
            {
                "file": options.dest,
                "sha256": done.sha256,
                "bytes": done.bytes,
                "archives": [
                    {**one.facts, "directory": one.directory, "intact": not one.problems} for one in done.archives
                ],
            }
        )
    else:
        for one in done.archives:
            say(f"{one.directory}: {pluralize(one.facts['entries'], 'entry', 'entries')}.")
        say(f"Evidence of {pluralize(len(done.archives), 'archive', 'archives')} written to {options.dest}.")
        say(f"SHA-256: {done.sha256}")
    return worst([_judge(options, span, one, len(done.archives) > 1) for one in done.archives])


def _sources(options: argparse.Namespace) -> List[Source]:
    from ...archive.package import Source
    from ...archive.storage.open import store_at

    stores = [store for _name, store in archives_of(options)]
    if not stores:
        raise InvalidInput("There is no archive to pack: no project has been collected yet.")
    of_projects = {
        str(store_at(project.path, access_of(project))): project.allowed_signers
        for project in options.archives
        if project.allowed_signers
    }
    return [Source(store, options.signers or of_projects.get(str(store))) for store in stores]


def _judge(options: argparse.Namespace, span: Range, packed: Packed, several: bool) -> int:
    """Warn of what is missing or not intact, and return the exit status of the archive."""
    project = f"{visible(packed.directory)}: " if several else ""
    status = warn_of_missing(span, packed.missing, zone_of(options), project)
    if not packed.problems:
        return status
    count = pluralize(len(packed.problems), "finding", "findings")
    warn(f"{project}The archive is not intact: {count}; the package says so. Verify the archive.")
    return FINDINGS
