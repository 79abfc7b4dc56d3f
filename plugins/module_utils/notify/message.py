# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Composes messages about alerts: values for programs and lines for people, of limited size.

Entries are hostile data. A message has them without control characters and truncates long texts; the archive has the
complete entries.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from itertools import groupby
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence

from ..counts import pluralize
from ..detections.detection import SEVERITIES, Detection
from ..detections.detector import ID_LENGTH, Alert
from ..project_log.entry import Entry, actor, subject, to_builtin, to_printable
from ..times import format_time

MAX_ALERTS = 100
"""Maximum number of alerts in one message."""

_MAX_TEXT = 2_000
_MAX_ENTRY = 16_000
_MAX_DEPTH = 20
_MAX_LINE = 300
_MAX_CHAT_ITEMS = 20
_PROVIDER_ACTORS = {
    "system": "the provider's system",
    "admin": "the provider's staff (admin)",
    "unknown": "an unknown actor",
}
_ELLIPSIS = "\u2026"
_KNOWN_KEYS = ("timestamp", "action", "message", "ip_address", "actor", "subject")
_CHAT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# Mentions, and the middle of Markdown links, whose text could hide the URL. E-mail addresses do not match.
_CHAT_MENTIONS = re.compile(r"(?<!\w)@(?=\w)|@(?=(?:channel|here|everyone|all)\b)|\](?=\()", re.IGNORECASE)
_INVISIBLE_SPACE = "\u200b"


class Message(NamedTuple):
    """A message about alerts. Its ``id`` is that of the alert, or a hash of the ids of several, and never changes.

    ``text`` is for a chat, ``body`` for a mail, and ``alerts`` for programs.
    """

    id: str
    subject: str
    text: str
    body: str
    alerts: List[Dict[str, Any]]


def compose(alerts: Sequence[Alert], detections: Mapping[str, Detection]) -> Message:
    """The message about one or more alerts; ``detections``, by name, have the checks to do."""
    checks = {name: detection.check for name, detection in detections.items()}
    changes = [list(group) for _entry, group in groupby(alerts, key=lambda alert: id(alert.entry))]
    descriptions = [describe(change, checks) for change in changes]
    if len(changes) == 1:
        subject, text = descriptions[0].headline, descriptions[0].lines()
    else:
        subject = headline(alerts, pluralize(len(alerts), "alert", "alerts"))
        text = [f"{subject}:", *format_list(descriptions)]
    paragraphs = [
        "\n".join([*description.lines(), *map(_reference_line, change)])
        for description, change in zip(descriptions, changes)
    ]
    body = "\n\n".join(paragraphs if len(changes) == 1 else [f"{subject}:", *paragraphs])
    identifier = alerts[0].id if len(alerts) == 1 else combined_id([alert.id for alert in alerts])
    return Message(identifier, subject, chat_text(text), body, [alert_payload(alert) for alert in alerts])


class ChangeDescription(NamedTuple):
    """The text about an entry with alerts: ``what`` happened, ``who`` did it, from where and when, and the checks."""

    severity: str
    titles: str
    project: str
    what: str
    who: str
    to_do: List[str]
    reviewer: str

    @property
    def headline(self) -> str:
        return f"[{self.severity}] {self.titles}{self.project}"

    def lines(self) -> List[str]:
        """The complete description, line by line."""
        reviewer = [f"Reviewer: {self.reviewer}"] if self.reviewer else []
        return [self.headline, self.what, self.who, *self.to_do, *reviewer]


def describe(alerts: Sequence[Alert], checks: Mapping[str, str]) -> ChangeDescription:
    """Describe the alerts of one entry; the reviewer is that of the most severe alert."""
    first = max(alerts, key=lambda alert: SEVERITIES.index(alert.severity))
    address, moment = first.entry.get("ip_address"), first.time
    when = (
        f"{format_time(moment.replace(microsecond=0))[:-1].replace('T', ' ')} UTC" if moment else "at an unknown time"
    )
    where = f" from {one_line(address, 50)}" if address else ""
    to_do = dict.fromkeys(checks.get(alert.detection, "") for alert in alerts)
    title, *others = (one_line(alert.title, 150) for alert in alerts)
    return ChangeDescription(
        first.severity,
        "; ".join([title, *map(_lowercase_first, others)]),
        _project(first),
        one_line(first.entry.get("message"), _MAX_LINE) or "(no message)",
        f"By {_actor_text(first.entry)}{where}, {when}",
        [f"What to do: {one_line(check, _MAX_LINE)}" for check in to_do if check],
        one_line(first.reviewer, 100),
    )


def headline(alerts: Sequence[Alert], what: str) -> str:
    """A headline for several alerts, with the highest severity and the project."""
    severity = max((alert.severity for alert in alerts), key=SEVERITIES.index)
    return f"[{severity}] {what}{_project(alerts[0])}"


def format_list(descriptions: Sequence[ChangeDescription]) -> List[str]:
    """The lines of a list for a chat, with the first changes."""
    lines = []
    for change in descriptions[:_MAX_CHAT_ITEMS]:
        reviewer = f". Reviewer: {change.reviewer}" if change.reviewer else ""
        lines += [f"- [{change.severity}] {change.titles}: {change.what}", f"  {change.who}{reviewer}"]
    others = len(descriptions) - _MAX_CHAT_ITEMS
    return [*lines, f"and {others} more"] if others > 0 else lines


def chat_text(lines: Sequence[str]) -> str:
    """Escape lines for a chat, so that they contain neither markup nor mentions."""
    return _CHAT_MENTIONS.sub(rf"\g<0>{_INVISIBLE_SPACE}", "\n".join(lines).translate(_CHAT_ESCAPES))


def one_line(value: Any, max_length: int) -> str:
    """A value as one line of text, truncated to a maximum length."""
    text = str(value if value is not None else "")
    return to_printable(text if len(text) <= max_length else text[:max_length] + _ELLIPSIS)


def combined_id(ids: Sequence[str]) -> str:
    """The id of a message about several alerts or reviews."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:ID_LENGTH]


def sample_message(now: datetime) -> Message:
    """A message that tests whether a receiver accepts alerts."""
    title, text = "Test message", "This is a test. Nothing happened; alerts look like this message"
    identifier = hashlib.sha256(f"test\n{format_time(now)}".encode()).hexdigest()[:ID_LENGTH]
    entry = {"timestamp": format_time(now), "action": "test", "message": text, "actor": {"cloudscale-audit doctor": {}}}
    return compose([Alert(identifier, "test", SEVERITIES[0], title, now, "", entry)], {})


def alert_payload(alert: Alert) -> Dict[str, Any]:
    """The alert for programs, with an entry without control characters, truncated if long."""
    facts = alert._replace(entry={}).to_json()
    values = {key: value if value is None else one_line(value, _MAX_TEXT) for key, value in facts.items()}
    return {**values, "entry": _Truncator().entry(alert.entry)}


def _reference_line(alert: Alert) -> str:
    return f"Detection {alert.detection}, alert {alert.id}"


def _project(alert: Alert) -> str:
    """The project by the name that was given to it, else by its name in the entry."""
    owner = subject(alert.entry)
    name = one_line(alert.project or (owner.name if owner.kind == "project" else ""), 100)
    return f" in {name}" if name else ""


def _actor_text(entry: Entry) -> str:
    """The actor. A token's description can be any text, so tokens are marked to distinguish them from people."""
    label = actor(entry)
    if label.kind in _PROVIDER_ACTORS:
        return _PROVIDER_ACTORS[label.kind]
    kind = {"api_token": "API token"}.get(label.kind) or one_line(label.kind, 50)
    name = one_line(label.name or label.uuid, 100)
    if not name:
        return kind
    return name if label.kind == "user" else f"{kind} '{name}'"


def _lowercase_first(title: str) -> str:
    """A title for the middle of a sentence: the first letter in lower case, unless it begins an abbreviation."""
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]


class _Truncator:
    """Copies one entry and limits the total length of its texts."""

    def __init__(self) -> None:
        self._remaining = _MAX_ENTRY

    def entry(self, entry: Entry) -> Dict[str, Any]:
        """The copy, with known keys first, so that unknown keys cannot use up the limit before them."""
        order = [*(key for key in _KNOWN_KEYS if key in entry), *(key for key in entry if key not in _KNOWN_KEYS)]
        return self._mapping({key: entry[key] for key in order}, 0)

    def _value(self, value: Any, depth: int) -> Any:
        if isinstance(value, (dict, list)) and depth >= _MAX_DEPTH:
            return _ELLIPSIS
        if isinstance(value, dict):
            return self._mapping(value, depth)
        if isinstance(value, list):
            return self._sequence(value, depth)
        builtin = to_builtin(value)
        text = self._text(str(builtin))
        return builtin if not isinstance(builtin, str) and text == str(builtin) else text

    def _mapping(self, value: Mapping[str, Any], depth: int) -> Dict[str, Any]:
        copy: Dict[str, Any] = {}
        for key, item in value.items():
            if self._remaining <= 0:
                copy[_ELLIPSIS] = _ELLIPSIS
                break
            copy[self._text(str(key))] = self._value(item, depth + 1)
        return copy

    def _sequence(self, value: Sequence[Any], depth: int) -> List[Any]:
        copy: List[Any] = []
        for item in value:
            if self._remaining <= 0:
                copy.append(_ELLIPSIS)
                break
            copy.append(self._value(item, depth + 1))
        return copy

    def _text(self, text: str) -> str:
        max_length = max(0, min(_MAX_TEXT, self._remaining))
        self._remaining -= len(text) + 1
        return one_line(text, max_length)
