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
from ..detections.detector import Alert
from ..project_log.entry import Entry, actor, to_builtin, visible
from ..times import format_time

MAX_ALERTS = 100
"""The most alerts in one message."""

_ID_LENGTH = 32
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
    plain = [presentable(alert) for alert in alerts]
    subject = _subject(plain)
    paragraphs = [_paragraph(alert, detections) for alert in alerts]
    signed = [[*lines, f"Detection {one.detection}, alert {one.id}"] for one, lines in zip(alerts, paragraphs)]
    body = "\n\n".join("\n".join(lines) for lines in signed)
    if len(alerts) == 1:
        return Message(alerts[0].id, subject, _chat(paragraphs[0]), body, plain)
    listed = [f"- {lines[0]}: {lines[1]}" for lines in paragraphs[:_MAX_CHAT_ALERTS]]
    left = len(alerts) - len(listed)
    more = [f"and {pluralize(left, 'more alert', 'more alerts')}"] if left else []
    return Message(_digest_id(alerts), subject, _chat([f"{subject}:", *listed, *more]), f"{subject}:\n\n{body}", plain)


def trial_message(now: datetime) -> Message:
    """A message without meaning, which shows that a receiver takes alerts."""
    text = "This is a test of cloudscale-audit doctor; nothing happened"
    identifier = hashlib.sha256(f"test\n{format_time(now)}".encode()).hexdigest()[:_ID_LENGTH]
    entry = {"timestamp": format_time(now), "action": "test", "message": text, "actor": {"system": {}}}
    return compose([Alert(identifier, "test", SEVERITIES[0], text, now, "", entry)], {})


def presentable(alert: Alert) -> Dict[str, Any]:
    """The alert for programs: its entry without control characters, and cut where it is long."""
    shown = alert._replace(entry={}).to_json()
    values = {key: value if value is None else _shown(value, _MAX_TEXT) for key, value in shown.items()}
    return {**values, "entry": _Cutter().entry(alert.entry)}


def _digest_id(alerts: Sequence[Alert]) -> str:
    ids = "\n".join(alert.id for alert in alerts)
    return hashlib.sha256(ids.encode()).hexdigest()[:_ID_LENGTH]


def _subject(plain: Sequence[Mapping[str, Any]]) -> str:
    """Severity, count and project; the most severe alert's severity counts."""
    severity = max((str(alert["severity"]) for alert in plain), key=SEVERITIES.index)
    project = _shown(plain[0]["project"], 100)
    where = f" in {project}" if project else ""
    if len(plain) == 1:
        return f"[{severity}] {_shown(plain[0]['title'], 150)}{where}"
    return f"[{severity}] {pluralize(len(plain), 'alert', 'alerts')}{where}"


def _paragraph(alert: Alert, detections: Mapping[str, Detection]) -> List[str]:
    plain = alert._replace(entry={}).to_json()
    detection = detections.get(alert.detection)
    address = alert.entry.get("ip_address")
    where = f" from {_shown(address, 50)}" if address else ""
    project = f" in {_shown(alert.project, 100)}" if alert.project else ""
    lines = [
        f"[{alert.severity}] {_shown(alert.title, 150)}{project}",
        f"{plain['time'] or 'unknown time'} {_shown(actor(alert.entry), 100)}{where}: "
        f"{_shown(alert.entry.get('message'), _MAX_LINE)}",
    ]
    if detection is not None and detection.check:
        lines.append(f"What to do: {_shown(detection.check, _MAX_LINE)}")
    if alert.reviewer:
        lines.append(f"Reviewer: {_shown(alert.reviewer, 100)}")
    return lines


def _chat(lines: Sequence[str]) -> str:
    """Lines in which a chat finds neither markup nor a mention of its own."""
    return _CHAT_CALLS.sub(rf"\g<0>{_INVISIBLE_SPACE}", "\n".join(lines).translate(_CHAT_ESCAPES))


def _shown(value: Any, most: int) -> str:
    text = str(value if value is not None else "")
    return visible(text if len(text) <= most else text[:most] + _CUT)


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
        shown = self._text(str(simple))
        return simple if not isinstance(simple, str) and shown == str(simple) else shown

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
        return _shown(text, most)
