# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the receivers of alerts: the key ``notify`` of the configuration file."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple
from urllib.parse import urlsplit

from ..detections.detection import SEVERITIES, is_at_least, parse_severity
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
    """One receiver. ``key`` identifies it in a bookmark; it is a hash of the address alone, so it contains no secret.

    ``min_severity`` is the minimum severity of its alerts. With ``digest``, all alerts of a run are one message.
    """

    label: str
    key: str
    channel: Channel
    min_severity: str = SEVERITIES[0]
    digest: bool = False

    @property
    def loses_recent_on_reboot(self) -> bool:
        """True if a power failure can lose alerts that the receiver accepted recently, as with journald."""
        return isinstance(self.channel, JournalChannel)

    def accepts(self, alert_severity: str) -> bool:
        return is_at_least(alert_severity, self.min_severity)


def parse_receivers(value: Any, socket: Optional[str] = None) -> List[Receiver]:
    """Read the list of receivers; ``socket`` is that of another journald.

    :raises InvalidInput: a key is missing, unknown or not valid; the message names the receiver and the key.
    """
    if value is None:
        raise InvalidInput("--config: the file has no receivers; add them under notify.")
    if not isinstance(value, list) or not value:
        raise InvalidInput("notify must be a list of receivers, each with one of webhook, mail, journal and command.")
    receivers = [_parse_receiver(item, number, socket or SOCKET) for number, item in enumerate(value, 1)]
    keys = [receiver.key for receiver in receivers]
    for receiver in receivers:
        if keys.count(receiver.key) > 1:
            raise InvalidInput(
                f"notify: {receiver.label} has the same address as another receiver; remove one of them."
            )
    return receivers


def _parse_receiver(value: Any, number: int, socket: str) -> Receiver:
    name = f"receiver {number}"
    if not isinstance(value, dict):
        raise InvalidInput(f"notify: {name} must be an object with one of {', '.join(_KINDS)}.")
    _reject_unknown_keys(value, _KEYS, name)
    kinds = [kind for kind in _KINDS if kind in value]
    if len(kinds) != 1:
        raise InvalidInput(f"notify: {name} must have exactly one of {', '.join(_KINDS)}.")
    (kind,) = kinds
    channel, address, label = _PARSERS[kind](value[kind], name, socket)
    min_severity = parse_severity(value.get("severity", SEVERITIES[0]), f"notify: severity of {name}")
    digest = _parse_flag(value.get("digest", False), f"notify: digest of {name}")
    if digest and kind == "journal":
        raise InvalidInput(f"notify: {name} is the journal, which stores each alert separately; remove digest.")
    address_hash = hashlib.sha256(json.dumps([kind, *address]).encode()).hexdigest()
    key = f"{kind}-{address_hash[:16]}"
    return Receiver(f"{name} ({' '.join([kind, label]).strip()})", key, channel, min_severity, digest)


_ParsedChannel = Tuple[Channel, Sequence[str], str]
"""A channel, the parts of its address, and its name for people."""


def _parse_webhook(value: Any, name: str, _socket: str) -> _ParsedChannel:
    if not isinstance(value, dict):
        raise InvalidInput(f"notify: webhook of {name} must be an object with url.")
    _reject_unknown_keys(value, ("url", "token_file", "ca_path"), f"webhook of {name}")
    url = parse_url(value.get("url"), f"notify: url of {name}")
    token_file = _parse_path(value, "token_file", name)
    webhook = Webhook(url, token_file, _parse_path(value, "ca_path", name))
    return webhook, [url], webhook.host


def _parse_mail(value: Any, name: str, _socket: str) -> _ParsedChannel:
    if not isinstance(value, dict):
        raise InvalidInput(f"notify: mail of {name} must be an object with to and from.")
    _reject_unknown_keys(value, ("to", "from", "sendmail"), f"mail of {name}")
    given = value.get("to")
    recipients = [given] if isinstance(given, str) else given
    if not isinstance(recipients, list) or not 1 <= len(recipients) <= _MAX_RECIPIENTS:
        raise InvalidInput(f"notify: to of {name} must be an e-mail address or a list of at most {_MAX_RECIPIENTS}.")
    to = tuple(parse_address(item, f"notify: to of {name}") for item in recipients)
    sender = parse_address(value.get("from"), f"notify: from of {name}")
    mail = Mail(to, sender, _parse_path(value, "sendmail", name) or SENDMAIL)
    return mail, sorted(to), ", ".join(to)


def _parse_journal(value: Any, name: str, socket: str) -> _ParsedChannel:
    if value is not True:
        raise InvalidInput(f"notify: journal of {name} must be true.")
    return JournalChannel(socket), [], ""


def _parse_command(value: Any, name: str, _socket: str) -> _ParsedChannel:
    arguments = value if isinstance(value, list) else []
    if not arguments or not all(isinstance(word, str) and "\0" not in word for word in arguments) or not arguments[0]:
        raise InvalidInput(f"notify: command of {name} must be a list of words: a program and its arguments.")
    return Command(tuple(arguments)), arguments, to_printable(os.path.basename(arguments[0]))


_PARSERS: Dict[str, Callable[[Any, str, str], _ParsedChannel]] = {
    "webhook": _parse_webhook,
    "mail": _parse_mail,
    "journal": _parse_journal,
    "command": _parse_command,
}


def _reject_unknown_keys(value: Mapping[str, Any], known: Sequence[str], name: str) -> None:
    unknown = describe_unknown(value, known)
    if unknown:
        raise InvalidInput(f"notify: {name} has unknown keys: {', '.join(map(to_printable, unknown))}.")


def parse_url(value: Any, option: str) -> str:
    """Read a URL. Errors show at most its host, since the path can contain a secret.

    :raises InvalidInput: the URL is not valid, or would send alerts unencrypted; the message names the option.
    """
    url = value.strip() if isinstance(value, str) else ""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0) and url.isprintable()
    except ValueError:
        usable = False
    if not usable or parts.scheme not in ("http", "https") or " " in url:
        raise InvalidInput(f"{option} is not a valid URL; use a URL such as https://chat.example.com/hooks/ID.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise InvalidInput(f"{option} must not have a user, a password or a fragment; use token_file.")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise InvalidInput(f"{option} would send alerts to {to_printable(parts.hostname)} unencrypted; use https://.")
    return url


def _parse_path(value: Mapping[str, Any], key: str, name: str) -> Optional[str]:
    """Read an absolute path; ``$CREDENTIALS_DIRECTORY`` of a systemd service is expanded."""
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
    """Read an e-mail address.

    :raises InvalidInput: the address is not valid; the message names the option.
    """

    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise InvalidInput(f"{option} must be an e-mail address such as audit@example.com.")
    return value


def _parse_flag(value: Any, option: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(f"{option} must be true or false.")
    return value
