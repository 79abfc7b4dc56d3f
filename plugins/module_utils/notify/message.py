# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What receivers of alerts get: values for programs and lines for people, of a bounded size.

Entries are hostile data. In a message they are text without control characters, cut where they are long; the archive
has the complete ones.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence

from ..counts import pluralize
from ..detections.detection import SEVERITIES, Detection
from ..detections.detector import ID_LENGTH, Alert
from ..project_log.entry import Entry, actor, to_builtin, visible
from ..times import format_time

MAX_ALERTS = 100
"""The most alerts in one message."""

_MAX_TEXT = 2_000
_MAX_ENTRY = 16_000
_MAX_DEPTH = 20
_MAX_LINE = 300
_MAX_CHAT_ALERTS = 20
_CUT = "\u2026"
_KNOWN = ("timestamp", "action", "message", "ip_address", "actor", "subject")
_CHAT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# Mentions, and the middle of links whose text could hide the address. E-mail addresses stay as they are.
_CHAT_CALLS = re.compile(r"(?<!\w)@(?=\w)|@(?=(?:channel|here|everyone|all)\b)|\](?=\()", re.IGNORECASE)
_INVISIBLE_SPACE = "\u200b"


class Message(NamedTuple):
    """Some alerts for one receiver. ``id`` is the alert's, or of several a hash of theirs: it never changes.

    ``text`` is for a chat, ``body`` for a mail, and ``alerts`` for programs.
    """

    id: str
    subject: str
    text: str
    body: str
    alerts: List[Dict[str, Any]]


def compose(alerts: Sequence[Alert], detections: Mapping[str, Detection]) -> Message:
    """The message about these alerts, at least one; ``detections``, by name, say what to do."""
    checks = {name: detection.check for name, detection in detections.items()}
    plain = [presentable(alert) for alert in alerts]
    subject = subject_of(alerts, pluralize(len(alerts), "alert", "alerts"))
    paragraphs = [[*describe([alert], checks), *_reviewer(alert)] for alert in alerts]
    signed = [[*lines, f"Detection {one.detection}, alert {one.id}"] for one, lines in zip(alerts, paragraphs)]
    body = "\n\n".join("\n".join(lines) for lines in signed)
    if len(alerts) == 1:
        return Message(alerts[0].id, subject, chat_text(paragraphs[0]), body, plain)
    identifier = digest_id([alert.id for alert in alerts])
    return Message(identifier, subject, chat_text([f"{subject}:", *listed(paragraphs)]), f"{subject}:\n\n{body}", plain)


def describe(alerts: Sequence[Alert], checks: Mapping[str, str]) -> List[str]:
    """Lines about the alerts of one entry, and what to do: the headline, what happened, and who did it."""
    entry, address = alerts[0].entry, alerts[0].entry.get("ip_address")
    moment = alerts[0].time
    when = (
        f"{format_time(moment.replace(microsecond=0))[:-1].replace('T', ' ')} UTC" if moment else "at an unknown time"
    )
    where = f" from {shown(address, 50)}" if address else ""
    what = list(dict.fromkeys(checks.get(alert.detection, "") for alert in alerts))
    return [
        subject_of(alerts, "; ".join(shown(alert.title, 150) for alert in alerts)),
        shown(entry.get("message"), _MAX_LINE) or "(no message)",
        f"By {shown(actor(entry), 100)}{where}, {when}",
        *(f"What to do: {shown(check, _MAX_LINE)}" for check in what if check),
    ]


def subject_of(alerts: Sequence[Alert], what: str) -> str:
    """Severity, what it is about, and the project; of several the most severe alert's severity counts."""
    severity = max((alert.severity for alert in alerts), key=SEVERITIES.index)
    project = shown(alerts[0].project, 100)
    text = shown(alerts[0].title, 150) if len(alerts) == 1 else what
    return f"[{severity}] {text}{f' in {project}' if project else ''}"


def listed(paragraphs: Sequence[Sequence[str]]) -> List[str]:
    """Paragraphs as items of a list for a chat, the first ones."""
    items = [f"- {headline}: {what}. {who}" for headline, what, who, *_rest in paragraphs[:_MAX_CHAT_ALERTS]]
    left = len(paragraphs) - len(items)
    return [*items, f"and {left} more"] if left else items


def chat_text(lines: Sequence[str]) -> str:
    """Lines in which a chat finds neither markup nor a mention of its own."""
    return _CHAT_CALLS.sub(rf"\g<0>{_INVISIBLE_SPACE}", "\n".join(lines).translate(_CHAT_ESCAPES))


def shown(value: Any, most: int) -> str:
    """A value as one line of text, cut where it is long."""
    text = str(value if value is not None else "")
    return visible(text if len(text) <= most else text[:most] + _CUT)


def digest_id(ids: Sequence[str]) -> str:
    """The id of a message about several things."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:ID_LENGTH]


def trial_message(now: datetime) -> Message:
    """A message without meaning, which shows that a receiver takes alerts."""
    text = "This is a test of cloudscale-audit doctor; nothing happened"
    identifier = hashlib.sha256(f"test\n{format_time(now)}".encode()).hexdigest()[:ID_LENGTH]
    entry = {"timestamp": format_time(now), "action": "test", "message": text, "actor": {"system": {}}}
    return compose([Alert(identifier, "test", SEVERITIES[0], text, now, "", entry)], {})


def presentable(alert: Alert) -> Dict[str, Any]:
    """The alert for programs: its entry without control characters, and cut where it is long."""
    plain = alert._replace(entry={}).to_json()
    values = {key: value if value is None else shown(value, _MAX_TEXT) for key, value in plain.items()}
    return {**values, "entry": _Cutter().entry(alert.entry)}


def _reviewer(alert: Alert) -> List[str]:
    return [f"Reviewer: {shown(alert.reviewer, 100)}"] if alert.reviewer else []


class _Cutter:
    """Makes the copy of one entry; all of its texts together have a limit."""

    def __init__(self) -> None:
        self._left = _MAX_ENTRY

    def entry(self, entry: Entry) -> Dict[str, Any]:
        """The keys that are known come first, so that no other key can displace them."""
        order = [*(key for key in _KNOWN if key in entry), *(key for key in entry if key not in _KNOWN)]
        return self._mapping({key: entry[key] for key in order}, 0)

    def _value(self, value: Any, depth: int) -> Any:
        if isinstance(value, (dict, list)) and depth >= _MAX_DEPTH:
            return _CUT
        if isinstance(value, dict):
            return self._mapping(value, depth)
        if isinstance(value, list):
            return self._sequence(value, depth)
        simple = to_builtin(value)
        text = self._text(str(simple))
        return simple if not isinstance(simple, str) and text == str(simple) else text

    def _mapping(self, value: Mapping[str, Any], depth: int) -> Dict[str, Any]:
        found: Dict[str, Any] = {}
        for key, item in value.items():
            if self._left <= 0:
                found[_CUT] = _CUT
                break
            found[self._text(str(key))] = self._value(item, depth + 1)
        return found

    def _sequence(self, value: Sequence[Any], depth: int) -> List[Any]:
        found: List[Any] = []
        for item in value:
            if self._left <= 0:
                found.append(_CUT)
                break
            found.append(self._value(item, depth + 1))
        return found

    def _text(self, text: str) -> str:
        most = max(0, min(_MAX_TEXT, self._left))
        self._left -= len(text) + 1
        return shown(text, most)
