# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run ansible-test sanity with the Python and the ansible-core that run this, and with the options given.

ansible-test follows no links and wants to find itself in ansible_collections/NAMESPACE/NAME: it gets a copy of what
git would commit. Runs in the repository's root, with HOME a directory that may be written to; works below .work/tree.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

# What the versions of ansible-test call the script that installs pip, where they keep it once downloaded.
GET_PIP = ("get_pip_23_1_2.py", "get_pip_24_2.py", "get_pip_25_2.py")


def copy_collection(copy: Path) -> None:
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    listed = subprocess.check_output(["git", "ls-files", "-z", "-co", "--exclude-standard"], text=True)
    for path in map(Path, filter(None, listed.split("\0"))):
        if path.is_file():
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy / path)
    subprocess.check_call(["git", "init", "--quiet"], cwd=copy)


def place_get_pip() -> None:
    cache = Path.home() / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    for name in GET_PIP:
        shutil.copy2(Path(__file__).with_name("get_pip.py"), cache / name)


def main() -> int:
    environment = Path(sys.prefix).name
    copy = Path(".work/tree", environment, "ansible_collections/auditops/cloudscale")
    copy_collection(copy)
    place_get_pip()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    options = ["--local", "--color", "no", "--python", python, *sys.argv[1:]]
    return subprocess.call(["ansible-test", "sanity", *options], cwd=copy)


if __name__ == "__main__":
    sys.exit(main())
