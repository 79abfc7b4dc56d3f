# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who gets alerts: the key ``notify`` of the file of detections, read and checked."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple
from urllib.parse import urlsplit

from ..detections.detection import SEVERITIES, is_at_least, severity
from ..errors import InvalidInput
from ..journal import SOCKET
from ..project_log.entry import to_printable
from ..settings import describe_unknown, is_loopback
from .channels import SENDMAIL, Channel, Command, JournalChannel, Mail, Webhook

_KINDS = ("webhook", "mail", "journal", "command")
_KEYS = (*_KINDS, "severity", "digest")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_{|}~][A-Za-z0-9.!#$%&'*+/=?^_{|}~-]*(@[A-Za-z0-9.-]+)?", re.ASCII)
_MAX_RECIPIENTS = 100


@dataclass(frozen=True)
class Receiver:
    """One receiver. ``key`` is what a bookmark knows it by: it depends on its address alone, and shows no secret.

    ``least`` is the least severity of its alerts; ``digest``: all alerts of a run are one message.
    """

    label: str
    key: str
    channel: Channel
    min_severity: str = SEVERITIES[0]
    digest: bool = False

    @property
    def loses_recent_on_reboot(self) -> bool:
        """Whether it keeps what it took in memory for a while, as journald does, and loses that in a power failure."""
        return isinstance(self.channel, JournalChannel)

    def accepts(self, alert_severity: str) -> bool:
        return is_at_least(alert_severity, self.min_severity)


def parse_receivers(value: Any, socket: Optional[str] = None) -> List[Receiver]:
    """The receivers that the key ``notify`` lists; ``socket`` is another journald's.

    :raises InvalidInput: a key is missing, unknown or not valid; the sentence names the receiver and the key.
    """
    if value is None:
        raise InvalidInput("--config: the file has no receivers; list them under notify.")
    if not isinstance(value, list) or not value:
        raise InvalidInput("notify must be a list of receivers, each with one of webhook, mail, journal and command.")
    receivers = [_receiver(item, number, socket or SOCKET) for number, item in enumerate(value, 1)]
    keys = [receiver.key for receiver in receivers]
    for receiver in receivers:
        if keys.count(receiver.key) > 1:
            raise InvalidInput(
                f"notify: {receiver.label} has the same address as another receiver; remove one of them."
            )
    return receivers


def _receiver(value: Any, number: int, socket: str) -> Receiver:
    name = f"receiver {number}"
    if not isinstance(value, dict):
        raise InvalidInput(f"notify: {name} must be an object with one of {', '.join(_KINDS)}.")
    _reject_unknown_keys(value, _KEYS, name)
    kinds = [kind for kind in _KINDS if kind in value]
    if len(kinds) != 1:
        raise InvalidInput(f"notify: {name} must have exactly one of {', '.join(_KINDS)}.")
    (kind,) = kinds
    channel, address, shown = _PARSERS[kind](value[kind], name, socket)
    min_severity = severity(value.get("severity", SEVERITIES[0]), f"notify: severity of {name}")
    digest = _flag(value.get("digest", False), f"notify: digest of {name}")
    if digest and kind == "journal":
        raise InvalidInput(f"notify: {name} is the journal, which takes each alert by itself; remove digest.")
    hashed = hashlib.sha256(json.dumps([kind, *address]).encode()).hexdigest()
    return Receiver(
        f"{name} ({' '.join([kind, shown]).strip()})", f"{kind}-{hashed[:16]}", channel, min_severity, digest
    )


_ParsedChannel = Tuple[Channel, Sequence[str], str]


def _webhook(value: Any, name: str, _socket: str) -> _ParsedChannel:
    if not isinstance(value, dict):
        raise InvalidInput(f"notify: webhook of {name} must be an object with url.")
    _reject_unknown_keys(value, ("url", "token_file", "ca_path"), f"webhook of {name}")
    url = parse_url(value.get("url"), f"notify: url of {name}")
    token_file = _path(value, "token_file", name)
    webhook = Webhook(url, token_file, _path(value, "ca_path", name))
    return webhook, [url], webhook.host


def _mail(value: Any, name: str, _socket: str) -> _ParsedChannel:
    if not isinstance(value, dict):
        raise InvalidInput(f"notify: mail of {name} must be an object with to and from.")
    _reject_unknown_keys(value, ("to", "from", "sendmail"), f"mail of {name}")
    given = value.get("to")
    recipients = [given] if isinstance(given, str) else given
    if not isinstance(recipients, list) or not 1 <= len(recipients) <= _MAX_RECIPIENTS:
        raise InvalidInput(f"notify: to of {name} must be an e-mail address or a list of at most {_MAX_RECIPIENTS}.")
    to = tuple(parse_address(item, f"notify: to of {name}") for item in recipients)
    sender = parse_address(value.get("from"), f"notify: from of {name}")
    mail = Mail(to, sender, _path(value, "sendmail", name) or SENDMAIL)
    return mail, sorted(to), ", ".join(to)


def _journal(value: Any, name: str, socket: str) -> _ParsedChannel:
    if value is not True:
        raise InvalidInput(f"notify: journal of {name} must be true.")
    return JournalChannel(socket), [], ""


def _command(value: Any, name: str, _socket: str) -> _ParsedChannel:
    arguments = value if isinstance(value, list) else []
    if not arguments or not all(isinstance(word, str) and "\0" not in word for word in arguments) or not arguments[0]:
        raise InvalidInput(f"notify: command of {name} must be a list of words: a program and its arguments.")
    return Command(tuple(arguments)), arguments, to_printable(os.path.basename(arguments[0]))


_PARSERS: Dict[str, Callable[[Any, str, str], _ParsedChannel]] = {
    "webhook": _webhook,
    "mail": _mail,
    "journal": _journal,
    "command": _command,
}


def _reject_unknown_keys(value: Mapping[str, Any], known: Sequence[str], name: str) -> None:
    unknown = describe_unknown(value, known)
    if unknown:
        raise InvalidInput(f"notify: {name} has unknown keys: {', '.join(map(to_printable, unknown))}.")


def parse_url(value: Any, option: str) -> str:
    """A URL, of which no error shows more than the host: chats put secrets into the path.

    :raises InvalidInput: it is not one, or would send alerts unencrypted; the sentence names the option.
    """
    url = value.strip() if isinstance(value, str) else ""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0) and url.isprintable()
    except ValueError:
        usable = False
    if not usable or parts.scheme not in ("http", "https") or " " in url:
        raise InvalidInput(f"{option} is not a valid URL; it looks like https://chat.example.com/hooks/ID.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise InvalidInput(f"{option} must not have a user, a password or a fragment; use token_file.")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise InvalidInput(f"{option} would send alerts to {to_printable(parts.hostname)} unencrypted; use https://.")
    return url


def _path(value: Mapping[str, Any], key: str, name: str) -> Optional[str]:
    """An absolute path; ``$CREDENTIALS_DIRECTORY`` of a systemd service is expanded in it."""
    path = value.get(key)
    if path is None:
        return None
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if isinstance(path, str) and directory:
        path = path.replace("$CREDENTIALS_DIRECTORY", directory)
    if not isinstance(path, str) or not os.path.isabs(path) or "\0" in path:
        raise InvalidInput(f"notify: {key} of {name} must be an absolute path.")
    return path


def parse_address(value: Any, option: str) -> str:
    """An e-mail address that a user wrote.

    :raises InvalidInput: it is not one; the sentence names the option.
    """
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise InvalidInput(f"{option} must be an e-mail address such as audit@example.com.")
    return value


def _flag(value: Any, option: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(f"{option} must be true or false.")
    return value
