# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SeaweedFS, a real S3 server that checks credentials, in its own process."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import List

from ansible_collections.auditops.cloudscale.tests.storage.buckets import Buckets, Keys

WRITER = Keys("writerskey", "writers-secret")
READER = Keys("readerskey", "readers-secret")

_IDENTITIES = {
    "identities": [
        {
            "name": keys.access,
            "credentials": [{"accessKey": keys.access, "secretKey": keys.secret}],
            "actions": actions,
        }
        for keys, actions in ((WRITER, ["Admin", "Read", "Write", "List"]), (READER, ["Read", "List"]))
    ]
}


class SeaweedFS:
    """A context manager that runs the server."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self._ports = _free_ports(8, host)
        self.buckets = Buckets(f"http://{host}:{self._ports[0]}", WRITER)

    def __enter__(self) -> SeaweedFS:
        self._folder = Path(tempfile.mkdtemp(prefix="seaweed-"))
        self._log = open(self._folder / "log", "wb")
        (self._folder / "identities.json").write_text(json.dumps(_IDENTITIES))
        self._process = subprocess.Popen(
            self._command(), stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, cwd=self._folder
        )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        # A clean shutdown takes half a minute, and nothing of the data is needed.
        self._process.kill()
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        for port in self._ports:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()

    def _command(self) -> List[str]:
        s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = map(str, self._ports)
        options = {
            "dir": str(self._folder),
            "ip": self._host,
            "ip.bind": self._host,
            "master.port": master,
            "master.port.grpc": master_grpc,
            "master.volumeSizeLimitMB": "64",
            "master.volumePreallocate": "false",
            "volume.port": volume,
            "volume.port.grpc": volume_grpc,
            "volume.max": "100",
            "filer.port": filer,
            "filer.port.grpc": filer_grpc,
            "s3.port": s3,
            "s3.port.grpc": s3_grpc,
            "s3.autoCreateBucket": "false",
            "s3.port.iceberg": "0",
            "s3.port.lance": "0",
            "s3.localSocket": str(self._folder / "s3.sock"),
            "s3.config": str(self._folder / "identities.json"),
        }
        weed = Path(sys.executable).with_name("weed")
        given = [f"-{name}={value}" for name, value in options.items()]
        return [str(weed), "-logtostderr", "server", "-filer", "-s3", *given]

    def _wait(self) -> None:
        """Wait until an object can be stored: the gateway listens before the other services are ready."""
        deadline = time.monotonic() + 60
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise OSError(f"SeaweedFS does not start:\n{(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)
        self.buckets.create()

    def _is_ready(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        client = self.buckets.client()
        with suppress(BotoCoreError, ClientError):
            client.create_bucket(Bucket="ready")
        with suppress(BotoCoreError, ClientError):
            client.put_object(Bucket="ready", Key="ready", Body=b"ready")
            return True
        return False


def _free_ports(count: int, host: str) -> List[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _number in range(count)]
        for one in sockets:
            one.bind((host, 0))
        return [one.getsockname()[1] for one in sockets]
