# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why the log is not as expected, in words: expected, found, nearest miss."""

from __future__ import annotations

from typing import List, Sequence

from ..counts import pluralize
from ..project_log.entry import Entry, actor, to_printable
from ..project_log.rows import row, truncate
from .expectations import CONDITIONS, Missing, Nearest, Unexpected

_MAX_SHOWN = 10
_MAX_LENGTH = 200
_FIELDS = {
    "action": "action",
    "message_pattern": "message",
    "resource": "resource",
    "actor": "actor",
    "ip_network": "address",
}


def explain(missing: Sequence[Missing], unexpected: Sequence[Unexpected], expectations: int, waited: float) -> str:
    """A sentence that counts, then a few lines for each finding; the first ten of each kind."""
    lines = [f"The project log is not as expected after {waited:.0f} s: {_counts(missing, unexpected, expectations)}."]
    for finding in unexpected[:_MAX_SHOWN]:
        lines += _about_unexpected(finding)
    lines += _more(unexpected, "unexpected changes")
    for gap in missing[:_MAX_SHOWN]:
        lines += _about_missing(gap)
    return "\n".join([*lines, *_more(missing, "missing changes")])


def _counts(missing: Sequence[Missing], unexpected: Sequence[Unexpected], expectations: int) -> str:
    found = []
    if unexpected:
        found.append(f"{pluralize(len(unexpected), 'change is', 'changes are')} unexpected")
    if missing:
        wanted = pluralize(expectations, "expectation", "expectations")
        found.append(f"{len(missing)} of {wanted} {'is' if len(missing) == 1 else 'are'} not met")
    return ", ".join(found)


def _about_unexpected(found: Unexpected) -> List[str]:
    return [f"Unexpected: {_line(found.entry)}", f"  {found.reason}"]


def _about_missing(missing: Missing) -> List[str]:
    rule = missing.rule
    conditions = ", ".join(_condition(key, rule.given[key]) for key in CONDITIONS if key in rule.given)
    lines = [f"Missing: {rule.name}: {conditions}", f"  expected {rule.wanted}, found {missing.found}"]
    if missing.nearest is not None:
        lines += [f"  nearest: {_line(missing.nearest.entry)},", f"  but {_difference(missing.nearest)}"]
    return lines


def _condition(key: str, value: object) -> str:
    text = truncate(to_printable(value), _MAX_LENGTH)
    return f"message /{text}/" if key == "message_pattern" else f"{key} {text}"


def _difference(nearest: Nearest) -> str:
    if nearest.differs == ["actor"]:
        return f"it was made by {actor(nearest.entry)}"
    if nearest.differs:
        names = " and ".join(_FIELDS[name] for name in nearest.differs)
        return f"its {names} {'differs' if len(nearest.differs) == 1 else 'differ'}"
    return f"it counts for {nearest.counted_for} already" if nearest.counted_for else "it is forbidden"


def _more(findings: Sequence[object], what: str) -> List[str]:
    more = len(findings) - _MAX_SHOWN
    return [f"... and {more} more {what}."] if more > 0 else []


def _line(entry: Entry) -> str:
    told = row(entry)
    address = f" from {told['ip_address']}" if told["ip_address"] else ""
    return f"{told['time']} {told['actor']}{address}: {truncate(told['message'], _MAX_LENGTH)} ({told['action']})"
