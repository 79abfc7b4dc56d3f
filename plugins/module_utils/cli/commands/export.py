# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hands entries of the archive out as a file, with a manifest that tells what it is an extract of."""

from __future__ import annotations

import argparse
import threading

from ...counts import pluralize
from ...files import check_new
from ...times import utc_now
from ..archive import archive_of
from ..completeness import warn_of_missing
from ..output import add_json, print_json, say
from ..selection import add_selection, selected
from ..signals import end_at_once
from ..time_zone import zone_of

ABOUT = "write entries of the archive to a .jsonl or .csv file, and beside it a manifest of where they come from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dest", required=True, metavar="FILE", help="the file to write; its manifest is FILE.manifest.json"
    )
    parser.add_argument("--force", action="store_true", help="replace the file and its manifest if they exist")
    add_json(parser)
    add_selection(parser)


def run(options: argparse.Namespace, _stop: threading.Event) -> int:
    end_at_once()
    from ...archive.export import export

    span, selection = selected(options)
    if not options.force:
        check_new(options.dest, "--dest")
        check_new(f"{options.dest}.manifest.json", "--dest")
    done = export(archive_of(options), options.dest, span, selection, utc_now())
    manifest = done.manifest
    if options.json:
        print_json(manifest)
    else:
        say(f"{pluralize(manifest['entries'], 'entry', 'entries')} written to {options.dest}.")
        say(f"SHA-256: {manifest['sha256']}")
    return warn_of_missing(span, done.missing, zone_of(options))
