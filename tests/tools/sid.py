# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs tests on the Python of Debian sid, with the libraries of Debian sid: sid.py [pytest's arguments]."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.machines import plain_tree, run

ROOT = Path(version.__file__).resolve().parents[2]
LIBRARIES = "aiohttp boto3 hypothesis pytest requests trustme"
PACKAGES = ["python3", *(f"python3-{name}" for name in LIBRARIES.split()), "openssh-client", "openssl", "tzdata", "git"]
COLLECTION = "usr/lib/python3/dist-packages/ansible_collections/auditops/cloudscale"
INSIDE = """set -eu
mkdir -p "$1/$2"
mount --bind "$3" "$1/$2"
mount -t proc proc "$1/proc"
mount -t tmpfs tmpfs "$1/tmp"
mount --bind /dev "$1/dev"
mount --bind /dev/pts "$1/dev/pts"
tree=$1
collection=$2
shift 3
exec chroot "$tree" sh -c 'cd "$0" && python3 -V && exec python3 -m pytest "$@"' "/$collection" "$@"
"""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="sid-") as tree:
        run("tar", "--extract", "--file", plain_tree("sid", ",".join(PACKAGES)), "--directory", tree)
        # Debian has no package of the server with buckets.
        shutil.copy(Path(sys.executable).with_name("weed"), Path(tree) / "usr/bin/weed")
        inside = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--propagation", "private"]
        variables = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [
            *inside,
            "sh",
            "-c",
            INSIDE,
            "sid",
            tree,
            COLLECTION,
            str(ROOT),
            "-o",
            "cache_dir=/tmp/cache",
            *sys.argv[1:],
        ]
        return subprocess.run(command, env=variables, stdin=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
