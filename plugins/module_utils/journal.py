# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes to systemd's journal in its native protocol.

The output of a service also reaches the journal, but truncated at journald's LineMax= (48 KiB) and without fields. The
syslog socket accepts no more than a datagram.
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

# The facility is authpriv, which distributions do not make readable for everybody.
_COMMON_FIELDS = {"PRIORITY": "6", "SYSLOG_FACILITY": "10", "SYSLOG_IDENTIFIER": "cloudscale-audit"}
_TIMEOUT = 60.0
_TOO_BIG_ERRORS = (errno.EMSGSIZE, errno.ENOBUFS)
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
_UNPRINTABLE = re.compile("[^ -~]")


class Journal:
    """A connection to journald, as a context manager.

    :raises StorageError: journald does not accept messages at the path.
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
        """Write an entry, given as JSON, together with its name; errors as of :meth:`send`."""
        self.send_event(name, f'{{"id":"{name}","entry":{ascii_json(line)}}}')

    def send_event(self, name: str, message: str) -> None:
        """Write an event of an entry, on one line; errors as of :meth:`send`."""
        self.send({**_COMMON_FIELDS, "CLOUDSCALE_AUDIT_ID": name, "MESSAGE": message})

    def send_head(self, record: Mapping[str, Any]) -> None:
        """Write a head of an archive, with an identifier that no entry has; errors as of :meth:`send`."""
        message = ascii_json(json.dumps(record, sort_keys=True).encode())
        self.send({**_COMMON_FIELDS, "SYSLOG_IDENTIFIER": HEAD_IDENTIFIER, "MESSAGE": message})

    def send_alert(self, name: str, priority: int, alert: Mapping[str, Any]) -> None:
        """Write an alert, with its own identifier and a syslog priority; errors as of :meth:`send`."""
        message = ascii_json(json.dumps(alert, sort_keys=True).encode())
        more = {"SYSLOG_IDENTIFIER": ALERT_IDENTIFIER, "PRIORITY": str(priority)}
        self.send({**_COMMON_FIELDS, **more, "CLOUDSCALE_AUDIT_ID": name, "MESSAGE": message})

    def send(self, fields: Mapping[str, str]) -> None:
        """Write one message of these fields, whose values must not contain line breaks; wait while journald is busy.

        :raises StorageError: journald does not accept the message.
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
        """Send a message that is too large for a datagram, as a sealed file in memory."""
        file = os.memfd_create("cloudscale-audit", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with os.fdopen(file, "wb") as stream:
            stream.write(body)
            stream.flush()
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
            self._socket.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))])

    def _storage_error(self, exc: OSError) -> StorageError:
        return StorageError(
            f"The journal at {self._path} does not accept messages: {exc.strerror or exc}; "
            "run this on a host with systemd-journald."
        )


def ascii_json(text: bytes) -> str:
    """Escape everything in JSON that is not printable ASCII; numbers are not changed.

    Programs on the way to a log server, which replace control characters and guess encodings, cannot change the result.
    """
    return _UNPRINTABLE.sub(lambda character: json.dumps(character[0])[1:-1], text.decode())
