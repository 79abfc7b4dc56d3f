# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The figures in the guide to thousands of projects are those that its commands print."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

from ansible_collections.auditops.cloudscale.plugins.module_utils import version

ROOT = Path(version.__file__).parents[2]


def test_the_commands_print_what_the_guide_shows() -> None:
    guide = (ROOT / "docs/docsite/rst/scale_out_guide.rst").read_text()
    shown = re.findall(r"^    \$ python3 (tests/benchmarks/fleet\.py.*)\n((?:    .*\n|\n)+)", guide, re.MULTILINE)
    assert len(shown) == 2
    for command, output in shown:
        printed = subprocess.run(
            [sys.executable, *shlex.split(command)], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        assert printed.startswith(textwrap.dedent(output).rstrip("\n"))
