# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the documentation page of the command from its own help; with --check, only check that it is up to date.

Runs in the repository's root.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from ansible_collections.auditops.cloudscale.plugins.module_utils.cli.main import build_parser

PAGE = Path("docs/docsite/rst/command_reference.rst")
OPENING = """\
..
  Copyright (c) 2026, the auditops.cloudscale contributors
  GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
  SPDX-License-Identifier: GPL-3.0-or-later
  Written by tests/tools/reference.py.

.. _ansible_collections.auditops.cloudscale.docsite.command_reference:

The command cloudscale-audit
============================

All subcommands and their options, as ``--help`` shows them. :ref:`The guide to archives
<ansible_collections.auditops.cloudscale.docsite.archive_guide>` shows how they are used together.

Exit status
-----------

.. list-table::
   :header-rows: 1

   * - Status
     - Meaning
   * - 0
     - Success.
   * - 1
     - There are findings of severity error, or alerts of the severity of ``--fail-on`` or higher.
   * - 2
     - An argument, or a file that an argument names, is not valid.
   * - 3
     - The API failed, or rejected the request.
   * - 4
     - The storage failed, such as a full disk, an unwritable file, or a bucket that does not respond.
   * - 5
     - Entries are missing: a gap, or a range that the archive does not contain completely.
   * - 6
     - An archive is not current.
   * - 70
     - Internal error. Please report it.

A command on several archives ends with the first of these that occurs among them: 70, 1, 4, 5, 3, 2, 6.

What --json prints
------------------

A command that fails prints ``msg``, one sentence, and ``failure`` with ``code``, ``http_status`` and ``retryable``.

``status`` prints the following keys. ``collect`` adds ``added`` and ``commits_added``. For several archives, the values
are a list under ``archives``, next to ``exit_status``. Times are in UTC.

.. list-table:: Keys of a status
   :header-rows: 1

   * - Key
     - Meaning
   * - project
     - ``name`` and ``uuid`` of the project; each may be null.
   * - path
     - The archive's path, or its address in a bucket.
   * - state
     - ``new``, ``current``, ``backlog``, ``stale`` or ``expired``.
   * - entries
     - Number of entries in the archive.
   * - commits
     - Number of commits in the archive.
   * - head
     - The newest commit: ``archive_id``, ``sequence`` and ``sha256``; null in a new archive.
   * - covered_from
     - The archive contains all entries since this time.
   * - covered_until
     - The archive contains all entries before this time.
   * - pruned_until
     - Entries before this time were deleted by ``prune``; null if none were.
   * - retention_deadline
     - Time at which the provider begins to delete entries that are not archived.
   * - gaps
     - Time ranges with missing entries: ``from``, ``to`` and ``why``.
   * - last_verified
     - Time at which ``verify`` last succeeded on this host.
   * - timestamp
     - The newest time stamp, unchecked, as ``sequence``, ``sha256`` and ``time``; null without one.
   * - failure
     - Failure of the last run; null if it succeeded.

.. list-table:: Keys of what verify prints
   :header-rows: 1

   * - Key
     - Meaning
   * - intact
     - True if there is no finding of severity error.
   * - findings
     - ``type``, ``path``, ``detail`` and ``severity`` (``error`` or ``warning``) of each.
   * - signed_from
     - The first commit that names a signer; null without signatures.
   * - signed_up_to
     - The newest commit whose signature was checked; null without signatures.
   * - heads
     - Result of the check of ``--heads``; null without it.
   * - timestamps
     - The valid time stamps (``heads``), the ``longest_wait`` for one, and the number of newer commits without one
       (``unstamped``); null without ``--timestamp-ca``.
   * - signer_allowed
     - True if the signatures were checked against ``--allowed-signers``; null without signatures.
   * - every_signature
     - True if all signatures were checked; null without signatures.
   * - current
     - True if the archive is as recent as ``--max-lag`` requires; null without it.
   * - status
     - The status above; null if the newest commit cannot be read.
"""


def page() -> str:
    (commands,) = (action for action in build_parser(())._actions if isinstance(action, argparse._SubParsersAction))
    return "\n".join([OPENING, *(section(name, parser) for name, parser in commands.choices.items())])


def section(name: str, parser: argparse.ArgumentParser) -> str:
    archives = next(action for action in parser._actions if not action.option_strings)
    lines = [
        *(name, "-" * len(name), "", code(parser.description or ""), ""),
        *(".. code-block:: text", "", f"   cloudscale-audit {name} [OPTIONS] [{archives.metavar} ...]", ""),
        *(line for action in parser._actions if action.help for line in described(action)),
    ]
    return "\n".join(lines)


def described(action: argparse.Action) -> list[str]:
    """An option as an item of a definition list."""
    if isinstance(action, argparse._HelpAction):
        return []
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    choices = "{%s}" % ",".join(map(str, action.choices)) if action.choices else ""
    value = metavar or choices or (action.dest.upper() if action.nargs != 0 else "")
    names = ", ".join(f"``{name} {value}``".replace(" ``", "``") for name in action.option_strings) or f"``{value}``"
    help_text = (action.help or "").replace("%%", "%")
    return [names, f"  {code(help_text[0].upper() + help_text[1:])}.", ""]


def code(text: str) -> str:
    """Mark what somebody types: options, and names in capitals with a path or an address around them."""
    return re.sub(r"(?<![\w`-])(--[a-z][a-z-]*(?: [A-Z_]+)?|s3://[A-Z/]+|[A-Z_]*\.[a-z]+(?=[ ,)]))", r"``\1``", text)


def main() -> int:
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(page())
        return 0
    if PAGE.read_text() == page():
        return 0
    print(f"{PAGE} differs from --help; run python3 dev.py run -- python tests/tools/reference.py.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
