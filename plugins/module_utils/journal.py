# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes to systemd's journal in its own protocol.

What a service prints would get there, too, but cut at journald's LineMax= (48 KiB) and without fields; syslog's socket
takes no more than a datagram holds.
"""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import re
import socket
from types import TracebackType
from typing import Any, Mapping, Optional, Type

from .errors import StorageError

SOCKET = "/run/systemd/journal/socket"
HEAD_IDENTIFIER = "cloudscale-audit-head"
ALERT_IDENTIFIER = "cloudscale-audit-alert"

# Of the facility authpriv, which distributions do not let everybody read.
_COMMON_FIELDS = {"PRIORITY": "6", "SYSLOG_FACILITY": "10", "SYSLOG_IDENTIFIER": "cloudscale-audit"}
_TIMEOUT = 60.0
_TOO_BIG_ERRORS = (errno.EMSGSIZE, errno.ENOBUFS)
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
_UNPRINTABLE = re.compile("[^ -~]")


class Journal:
    """An open socket of journald, as a context.

    :raises StorageError: nothing takes messages there.
    """

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(_TIMEOUT)
        try:
            self._socket.connect(path)
        except OSError as exc:
            self._socket.close()
            raise self._storage_error(exc) from exc

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, _kind: Optional[Type[BaseException]], _error: Optional[BaseException], _where: Optional[TracebackType]
    ) -> None:
        self._socket.close()

    def send_entry(self, name: str, line: bytes) -> None:
        """Write an entry, of which this is the JSON, as JSON with its name in it; errors as of :meth:`send`."""
        self.send_event(name, f'{{"id":"{name}","entry":{ascii_json(line)}}}')

    def send_event(self, name: str, message: str) -> None:
        """Write what was made of an entry, on one line; errors as of :meth:`send`."""
        self.send({**_COMMON_FIELDS, "CLOUDSCALE_AUDIT_ID": name, "MESSAGE": message})

    def send_head(self, record: Mapping[str, Any]) -> None:
        """Write a head of an archive, under an identifier that no entry has; errors as of :meth:`send`."""
        message = ascii_json(json.dumps(record, sort_keys=True).encode())
        self.send({**_COMMON_FIELDS, "SYSLOG_IDENTIFIER": HEAD_IDENTIFIER, "MESSAGE": message})

    def send_alert(self, name: str, priority: int, alert: Mapping[str, Any]) -> None:
        """Write an alert, under an identifier of its own and with a priority of syslog; errors as of :meth:`send`."""
        message = ascii_json(json.dumps(alert, sort_keys=True).encode())
        more = {"SYSLOG_IDENTIFIER": ALERT_IDENTIFIER, "PRIORITY": str(priority)}
        self.send({**_COMMON_FIELDS, **more, "CLOUDSCALE_AUDIT_ID": name, "MESSAGE": message})

    def send(self, fields: Mapping[str, str]) -> None:
        """Write one message of these fields; no value may have a line break. It waits while journald is behind.

        :raises StorageError: journald does not take it.
        """
        body = "".join(f"{name}={value}\n" for name, value in fields.items()).encode()
        try:
            try:
                self._socket.send(body)
            except OSError as exc:
                if exc.errno not in _TOO_BIG_ERRORS:
                    raise
                self._send_file(body)
        except OSError as exc:
            raise self._storage_error(exc) from exc

    def _send_file(self, body: bytes) -> None:
        """Hand over a message that no datagram can hold: as a file in memory that cannot change any more."""
        file = os.memfd_create("cloudscale-audit", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with os.fdopen(file, "wb") as stream:
            stream.write(body)
            stream.flush()
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
            self._socket.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))])

    def _storage_error(self, exc: OSError) -> StorageError:
        return StorageError(f"The journal at {self._path} takes no message: {exc.strerror or exc}.")


def ascii_json(text: bytes) -> str:
    """The same JSON with everything escaped that is not printable ASCII: nothing on the way to a log server, where
    control characters are replaced and encodings guessed, can change it. Numbers keep the form they have.
    """
    return _UNPRINTABLE.sub(lambda character: json.dumps(character[0])[1:-1], text.decode())
