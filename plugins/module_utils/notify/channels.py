# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Channels that send messages: a webhook, mail, systemd's journal, or a command of the site."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from email.message import EmailMessage
from typing import Any, Callable, Mapping, NamedTuple, Optional, Protocol, Sequence, Tuple
from urllib.parse import urljoin, urlsplit

from ..errors import Cancelled, InvalidInput, NotDelivered
from ..journal import Journal
from ..programs import ProgramFailed, run_program
from ..project_log.entry import to_printable
from ..sessions import new_session, origin, requests_library, retry_after, root_cause
from ..tls import is_certificate_error
from .message import Message

SENDMAIL = "/usr/sbin/sendmail"

_TIMEOUT = 60.0
"""Maximum number of seconds to send one message, including all attempts."""

_CONNECT_TIMEOUT = 10.0
_RESPONSE_TIMEOUT = 30.0
_MAX_RETRIES = 3
_MIN_BACKOFF = 0.5
_RETRYABLE_STATUSES = (408, 425, 429, 500, 502, 503, 504)
_REDIRECTS_KEEPING_METHOD = (307, 308)
_REDIRECTS = (301, 302, 303, *_REDIRECTS_KEEPING_METHOD)
_MAX_REDIRECTS = 3
_MAX_PROGRAM_OUTPUT = 200
# Priorities of syslog: critical, error, warning, notice, informational.
_PRIORITIES = {"critical": 2, "high": 3, "medium": 4, "low": 5, "info": 6}


class Channel(Protocol):
    """Sends messages to one receiver."""

    def send(self, message: Message, stop: threading.Event) -> None:
        """Send a message, and return when the receiver has accepted the message.

        :raises AuditError: the receiver did not accept the message; the error contains no secret.
        """


class Webhook(NamedTuple):
    """A URL that accepts JSON. ``clock`` and ``jitter`` are seams for tests."""

    url: str
    token_file: Optional[str] = None
    ca_path: Optional[str] = None
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random

    @property
    def host(self) -> str:
        """The host, which names the receiver in texts. The rest of the URL can be a secret."""
        return to_printable(urlsplit(self.url).netloc)

    def send(self, message: Message, stop: threading.Event) -> None:
        body = json.dumps({"text": message.text, "alerts": message.alerts}).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": message.id}
        deadline = self.clock() + _TIMEOUT
        with new_session(self.url, self._token()) as session:
            for attempt in range(_MAX_RETRIES + 1):
                try:
                    self._post(session, body, headers)
                    return
                except _TransientError as error:
                    pause = error.delay or _MIN_BACKOFF * 2**attempt * (1 + self.jitter())
                    if attempt == _MAX_RETRIES or self.clock() + pause > deadline:
                        raise NotDelivered(error.message, error.status) from error.__cause__
                if stop.wait(pause):
                    raise Cancelled("The command was stopped while waiting for a receiver; the next run continues.")

    def _post(self, session: Any, body: bytes, headers: Mapping[str, str]) -> None:
        url = self.url
        for _redirect in range(_MAX_REDIRECTS + 1):
            status, response_headers = self._request(session, url, body, headers)
            if status not in _REDIRECTS:
                break
            url = self._redirect_target(url, status, response_headers.get("Location", ""))
        if 200 <= status < 300:
            return
        message = f"{self.host} did not accept an alert (HTTP {status})"
        if status in _RETRYABLE_STATUSES:
            raise _TransientError(message, status, retry_after(response_headers))
        raise NotDelivered(message, status)

    def _request(self, session: Any, url: str, body: bytes, headers: Mapping[str, str]) -> Tuple[int, Any]:
        exceptions = requests_library().exceptions
        try:
            with session.post(
                url,
                data=body,
                headers=headers,
                timeout=(_CONNECT_TIMEOUT, _RESPONSE_TIMEOUT),
                allow_redirects=False,
                stream=True,
                verify=self.ca_path or True,
            ) as response:
                return response.status_code, response.headers
        except exceptions.SSLError as exc:
            if not is_certificate_error(exc):
                raise _TransientError(f"No TLS connection to {self.host}: {root_cause(exc)}") from exc
            raise NotDelivered(f"The TLS certificate of {self.host} cannot be verified; check its ca_path") from exc
        except exceptions.Timeout as exc:
            raise _TransientError(f"{self.host} did not respond in time") from exc
        except exceptions.RequestException as exc:
            raise _TransientError(f"No connection to {self.host}: {root_cause(exc)}") from exc
        except (OSError, ValueError) as exc:  # requests reports a missing ca_path and a malformed redirect this way
            raise NotDelivered(f"No request to {self.host} is possible; check its url and ca_path") from exc

    def _redirect_target(self, url: str, status: int, location: str) -> str:
        """The next URL. Alerts and the token are never sent to another origin, and the method stays POST."""
        try:
            target = urljoin(url, location)
            same = origin(urlsplit(target)) == origin(urlsplit(self.url)) and "@" not in urlsplit(target).netloc
        except ValueError:
            same = False
        if not location or not same or status not in _REDIRECTS_KEEPING_METHOD:
            raise NotDelivered(f"{self.host} redirects to another URL (HTTP {status}); set the final url", status)
        return target

    def _token(self) -> Optional[str]:
        if self.token_file is None:
            return None
        try:
            with open(self.token_file, encoding="ascii") as file:
                token = file.read(1 << 16).strip()
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is not text"
            raise InvalidInput(f"The token_file {self.token_file} cannot be read: {reason}") from None
        if not token or not token.isprintable() or " " in token:
            raise InvalidInput(f"The token_file {self.token_file} does not contain a valid token")
        return token


class _TransientError(Exception):
    """A failure that can be retried, with the number of seconds that the server asks to wait, if any."""

    def __init__(self, message: str, status: Optional[int] = None, delay: Optional[float] = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.delay = delay


class Mail(NamedTuple):
    """Mail, sent with the host's sendmail."""

    recipients: Tuple[str, ...]
    sender: str
    sendmail: str = SENDMAIL

    def send(self, message: Message, _stop: threading.Event) -> None:
        mail = EmailMessage()
        mail["From"] = self.sender
        mail["To"] = ", ".join(self.recipients)
        # Prevent encoded words (=?...?=): mail clients decode them, and the decoded text can contain a line break.
        mail["Subject"] = message.subject.replace("=?", "= ?")
        mail["Message-ID"] = f"<{message.id}@{self.sender.partition('@')[2] or 'localhost'}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.body + "\n")
        _run_program([self.sendmail, "-t", "-i"], mail.as_bytes(), self.sendmail)


class Command(NamedTuple):
    """A program of the site that reads JSON from standard input; exit status 0 means that it accepted the message."""

    arguments: Tuple[str, ...]

    def send(self, message: Message, _stop: threading.Event) -> None:
        body = json.dumps({"text": message.text, "alerts": message.alerts}).encode()
        _run_program(self.arguments, body + b"\n", os.path.basename(self.arguments[0]))


class JournalChannel(NamedTuple):
    """systemd's journal, at this socket."""

    socket: str

    def send(self, message: Message, _stop: threading.Event) -> None:
        with Journal(self.socket) as journal:
            for alert in message.alerts:
                journal.send_alert(str(alert["id"]), _PRIORITIES[str(alert["severity"])], alert)


def _run_program(command: Sequence[str], text: bytes, name: str) -> None:
    printable_name = to_printable(name)
    try:
        done = run_program(list(command), text, _TIMEOUT)
    except ProgramFailed as exc:
        raise NotDelivered(f"{printable_name} failed: {exc}") from exc
    if done.returncode != 0:
        message = f"{printable_name} did not accept an alert (exit status {done.returncode})"
        if done.last_error_line:
            message += f": {to_printable(done.last_error_line)[:_MAX_PROGRAM_OUTPUT]}"
        raise NotDelivered(message)
