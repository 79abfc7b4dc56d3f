# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hands entries of the archive out as a file, with a manifest that tells what it is an extract of."""

from __future__ import annotations

import argparse
import threading

from ...times import utc_now
from ..archive import archive_of
from ..exit_status import OK
from ..output import add_json, pluralize, print_json, say
from ..selection import add_selection, selected
from ..signals import end_at_once

ABOUT = "write entries of the archive to a .jsonl or .csv file, and beside it a manifest of where they come from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dest", required=True, metavar="FILE", help="the file to write; its manifest is FILE.manifest.json"
    )
    add_json(parser)
    add_selection(parser)


def run(options: argparse.Namespace, _stop: threading.Event) -> int:
    end_at_once()
    from ...archive.export import export

    span, selection = selected(options)
    manifest = export(archive_of(options), options.dest, span, selection, utc_now())
    if options.json:
        print_json(manifest)
    else:
        say(f"{pluralize(manifest['entries'], 'entry', 'entries')} written to {options.dest}.")
        say(f"SHA-256: {manifest['sha256']}")
    return OK
