# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A socket that receives messages as journald does."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Dict, List, Optional, Type

_END = b"END\n"


class Journald:
    """Receives messages at ``path`` until the context ends; then ``messages`` has all of them, by field."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.bodies: List[bytes] = []
        self.files = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._take, daemon=True)

    @property
    def messages(self) -> List[Dict[str, str]]:
        fields = [body.decode("ascii").splitlines() for body in self.bodies]
        return [dict(field.split("=", 1) for field in message) for message in fields]

    def __enter__(self) -> Journald:
        self._socket.bind(self.path)
        self._thread.start()
        return self

    def __exit__(
        self, _kind: Optional[Type[BaseException]], _error: Optional[BaseException], _where: Optional[TracebackType]
    ) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(_END, self.path)
        self._thread.join(10)
        self._socket.close()

    def _take(self) -> None:
        while True:
            body, files, _flags, _address = socket.recv_fds(self._socket, 1 << 20, 1)
            if body == _END:
                return
            for file in files:
                self.files += 1
                # As journald: from the start, regardless of the offset, and only up to the sealed size.
                body = os.pread(file, os.fstat(file).st_size, 0)
                os.close(file)
            self.bodies.append(body)
