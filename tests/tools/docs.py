# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the documentation's site, guides and plugins, below .work/docs; what Sphinx warns of is an error.

Runs in the repository's root, without a network.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

WORK = Path(".work/docs")
NAME = "auditops.cloudscale"
PICTURE = Path("docs/images/architecture.svg").resolve()
# The first page is written by antsibull-docs, which takes no picture for it.
FIRST_PAGE = f"""
import shutil

def add_picture(app, docname, source):
    if docname == "index":
        author = "**Author:**\\n"
        assert author in source[0]
        picture = ".. image:: {PICTURE.name}\\n   :alt: From the API to modules, the archive and rulebooks\\n"
        source[0] = source[0].replace(author, picture + "\\n" + author)


def setup(app):
    shutil.copy({str(PICTURE)!r}, app.srcdir)
    app.connect("source-read", add_picture)
"""
# References into Ansible's own documentation lead there only with a network; the statements of DuckDB are beyond what
# Pygments knows of SQL.
OFFLINE = r"""
intersphinx_mapping = {}
nitpick_ignore_regex = [
    ("std:ref", r"ansible_collections\.ansible\..*"),
    ("std:ref", "ansible_configuration_settings|callback_plugins|common_return_values"),
]
suppress_warnings = ["misc.highlighting_failure"]
"""


def main() -> int:
    shutil.rmtree(WORK, ignore_errors=True)
    # antsibull-docs wants a directory that nobody else may write to.
    WORK.mkdir(mode=0o700, parents=True)
    options = ("--use-current", "--squash-hierarchy", "--fail-on-error", "--project", NAME, "--title", NAME)
    subprocess.check_call(["antsibull-docs", "sphinx-init", *options, "--dest-dir", str(WORK), NAME])
    with (WORK / "conf.py").open("a") as configuration:
        configuration.write(OFFLINE + FIRST_PAGE)
    return subprocess.call([str(WORK / "build.sh")])


if __name__ == "__main__":
    sys.exit(main())
