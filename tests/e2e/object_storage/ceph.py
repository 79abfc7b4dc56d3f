# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Ceph object gateway on loopback, from the packages of a Debian release."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Optional

from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts import machines
from ansible_collections.auditops.cloudscale.tests.storage.buckets import Buckets, Keys

HERE = Path(__file__).resolve().parent
OWNER = Keys("testkey", "testsecret")
COLLECTOR = Keys("collectorkey", "collectorsecret")
PORT = 17480
_PACKAGES = "ceph-mon,ceph-osd,ceph-mgr,radosgw"


class Ceph:
    """A context manager that runs a gateway with its daemons. ``release`` is 18, 20, ..."""

    def __init__(self, suite: str) -> None:
        self._suite = suite
        self.buckets = Buckets(f"http://127.0.0.1:{PORT}", OWNER)

    def __enter__(self) -> Ceph:
        self._directory = Path(tempfile.mkdtemp(prefix="ceph-"))
        root = self._directory / "root"
        root.mkdir()
        machines.run("tar", "--extract", "--file", machines.plain_tree(self._suite, _PACKAGES), "--directory", root)
        self.release = int(machines.run("chroot", root, "radosgw", "--version").split()[2].split(".")[0])
        inside = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--propagation", "private"]
        with open(self._directory / "log", "wb") as log:
            self._process = subprocess.Popen(
                [*inside, str(HERE / "ceph.sh"), str(root), str(PORT)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait()
            self.buckets.create()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _wait(self) -> None:
        deadline = time.monotonic() + 120
        refusal: Optional[Exception] = None
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.buckets.client().list_buckets()
                return
            except Exception as exc:  # noqa: BLE001 - any error while the gateway starts
                refusal = exc
            time.sleep(0.2)
        raise OSError(f"Ceph does not start: {refusal}\n{(self._directory / 'log').read_text()[-3000:]}")
