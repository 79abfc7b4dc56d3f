# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: archiver_program
short_description: Build the command cloudscale-audit as one file
version_added: 1.0.0
description:
  - Builds the command C(cloudscale-audit) as one executable file for hosts with Python 3.9 or later, which do not need
    Ansible. The role P(auditops.cloudscale.archiver#role) copies the file to hosts.
  - The file is temporary; it is removed at the end of the playbook. Its name ends with a hash of its content. Builds
    are reproducible, so each version of the collection always produces the same bytes.
author:
  - auditops.cloudscale contributors (@auditops)
options:
  python:
    description: Path to the Python interpreter that runs the command on the host.
    type: str
    default: /usr/bin/python3
"""

EXAMPLES = r"""
- name: Copy the command to the host
  ansible.builtin.copy:
    src: "{{ lookup('auditops.cloudscale.archiver_program') }}"
    dest: /usr/local/bin/cloudscale-audit
    mode: "0755"
"""

RETURN = r"""
_raw:
  description: List with the path of the file.
  type: list
  elements: path
"""

import hashlib
import io
import os
import tempfile
import zipfile
from pathlib import Path

from ansible import constants
from ansible.plugins.lookup import LookupBase

CORE = Path(__file__).resolve().parents[1] / "module_utils"
# The files that the command imports. Ansible, and code for modules only, are excluded.
PATTERNS = ("*.py", "project_log/*.py", "detections/**/*.py", "notify/**/*.py", "archive/**/*.py", "cli/**/*.py")
EXCLUDED = ("ansible_module.py",)
PACKAGE = "auditops_cloudscale_core"
MAIN = f"""\
import os
import sys

# The link to this file can be switched to the next version while this version runs.
sys.path[0] = os.path.realpath(sys.path[0])

from {PACKAGE}.cli.main import main

raise SystemExit(main())
"""


def core_files():
    """The files of the core that the command needs, in a fixed order."""
    found = {file for pattern in PATTERNS for file in CORE.glob(pattern)}
    return sorted(file for file in found if file.name not in EXCLUDED)


def build_program(python):
    """The command as one file that Python can run: a shebang and an uncompressed zip archive with fixed times."""
    packed = io.BytesIO()
    packed.write(f"#!{python} -IB\n".encode())
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(_zip_member("__main__.py"), MAIN)
        for file in core_files():
            archive.writestr(_zip_member(f"{PACKAGE}/{file.relative_to(CORE).as_posix()}"), file.read_bytes())
    return packed.getvalue()


def _zip_member(name):
    member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.create_system = 3
    member.external_attr = 0o644 << 16
    return member


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):  # noqa: ARG002 - Ansible's signature
        self.set_options(var_options=variables, direct=kwargs)
        content = build_program(self.get_option("python"))
        name = f"cloudscale-audit-{hashlib.sha256(content).hexdigest()[:12]}.pyz"
        path = os.path.join(constants.DEFAULT_LOCAL_TMP, name)
        if not os.path.exists(path):
            handle, draft = tempfile.mkstemp(dir=constants.DEFAULT_LOCAL_TMP)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(draft, path)
        return [path]
