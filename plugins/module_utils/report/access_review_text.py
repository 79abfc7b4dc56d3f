# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An access review as Markdown and as CSV, and the texts that the page uses as well."""

from __future__ import annotations

from typing import Dict, Iterator, List, Optional, Sequence

from ..project_log.markup import code, text
from ..project_log.rows import truncate
from .access_review import Account, Review
from .markdown import coverage_lines, heading_lines, missing_lines
from .report_data import ValueCount
from .tabular import write_table
from .translations import Translator, format_count, reason

COLUMNS = (
    *("project", "kind", "name", "uuid", "former_names", "comparison", "no_data_because"),
    *("first", "last", "changes", "sensitive", "actions", "networks", "addresses", "changes_before", "last_before"),
    *("decision", "reviewer", "date", "signature"),
)

MAX_ACCOUNTS = 100
"""Maximum number of accounts in one table of Markdown, in the order of attention."""

_MAX_VALUES = 5
_MAX_NAMES = 3
_MAX_LENGTH = 200
_MAX_CELL = 30_000
"""A spreadsheet's cell holds 32,767 characters."""


def shorten(value: str) -> str:
    """A name, truncated if it is very long."""
    return truncate(value, _MAX_LENGTH)


def formerly(names: Sequence[str]) -> str:
    """The newest former names."""
    return ", ".join([*map(shorten, names[:_MAX_NAMES]), *(["..."] if len(names) > _MAX_NAMES else [])])


def figure(review: Review, name: str, say: Translator) -> str:
    """The number of ``new`` or ``dormant`` accounts. If data is missing, none found is not zero."""
    number: Optional[int] = review.new if name == "new" else review.dormant
    if number is not None:
        return format_count(number)
    found = review.count(name)
    return say("at_least", n=found) if found else say("no_data")


def count_before(account: Account, say: Translator) -> str:
    """Number of changes in the period before; a lower bound if data is missing."""
    if account.entries_before is None:
        return say("no_data")
    if account.is_before_partial:
        return say("at_least", n=account.entries_before)
    return format_count(account.entries_before)


def access_review_markdown(review: Review) -> str:
    """The text for a ticket. Names are in code spans, so that they stay text."""
    return "\n".join(_lines(review, Translator(review.heading.language)))


def write_access_review_csv(path: str, review: Review) -> None:
    """Write a row for each account, with empty cells for the decision."""
    say = Translator(review.heading.language)
    write_table(path, COLUMNS, (_cells(account, say) for account in review.accounts))


def _lines(review: Review, say: Translator) -> Iterator[str]:
    yield from heading_lines(review.heading, review.projects, review.coverage, say)
    for name in ("people", "tokens"):
        yield f"- {say(f'active_{name}')}: {format_count(review.active(name))}"
    for name in ("new", "dormant"):
        yield f"- {say(name)}: {figure(review, name, say)}"
    yield f"- {say('changes')}: {format_count(review.entries)}"
    yield f"- {say('sensitive')}: {format_count(review.sensitive_entries)}"
    yield ""
    yield from _comparison(review, say)
    for name, accounts in review.groups.items():
        if accounts or name != "others":
            yield from _table(name, accounts, review, say)
    yield f"## {say('unlisted')}"
    yield ""
    yield say("unlisted_hint")
    yield ""
    yield from coverage_lines(review.coverage, say)


def _comparison(review: Review, say: Translator) -> Iterator[str]:
    heading = say("comparison")
    if review.preceding is not None:
        heading = say("compared_with", range=review.preceding.name)
    yield f"## {heading}"
    yield ""
    yield say("comparison_hint")
    yield ""
    if review.is_compared:
        yield say("comparison_complete")
    else:
        yield say("comparison_missing")
        yield ""
        yield from _missing(review, say)
    yield ""
    if review.filters:
        yield say("filtered")
        yield ""
        for name, values in review.filters.items():
            yield f"- {code(name)}: {', '.join(map(code, values))}"
        yield ""


def _missing(review: Review, say: Translator) -> Iterator[str]:
    if review.preceding is None:
        yield f"- {reason('no_period', say)}"
        return
    for source in review.preceding.coverage:
        if source.missing:
            yield f"- **{code(source.origin.project) or say('unnamed')}**"
            yield from missing_lines(source, say)


def _table(name: str, accounts: Sequence[Account], review: Review, say: Translator) -> Iterator[str]:
    yield f"## {say(name)} ({format_count(len(accounts))})"
    yield ""
    if not accounts:
        yield say("nobody")
        yield ""
        return
    if len(accounts) > MAX_ACCOUNTS:
        yield say("accounts_of", n=MAX_ACCOUNTS, all=len(accounts))
        yield ""
    has_projects = len(review.projects) > 1
    columns = [say("who"), *([say("project")] if has_projects else []), say("comparison"), say("changes")]
    columns += [say("sensitive"), say("first_activity"), say("last_activity"), say("actions"), say("networks")]
    columns += [say("decision"), say("reviewer"), say("date"), say("signature")]
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for account in accounts[:MAX_ACCOUNTS]:
        yield f"| {' | '.join(_row(account, has_projects, say))} |"
    yield ""


def _row(account: Account, has_projects: bool, say: Translator) -> List[str]:
    changes = say("no_data") if account.entries is None else format_count(account.entries)
    before = say("before", n=count_before(account, say))
    last = account.last or (account.last_before and say("last_before", time=account.last_before))
    return [
        _who(account, say),
        *([code(shorten(account.project)) or say("unnamed")] if has_projects else []),
        ", ".join([say(f"standing_{account.standing}"), *(text(reason(why, say)) for why in account.reasons)]),
        f"{changes} ({before})",
        format_count(account.sensitive),
        account.first,
        last,
        _values(account.actions, say, with_entries=True),
        _values(account.networks, say, with_entries=False),
        f"{say('keep')} / {say('remove')}" if account.needs_decision else say("no_decision"),
        *("", "", ""),
    ]


def _who(account: Account, say: Translator) -> str:
    shown = code(shorten(account.name))
    if account.uuid and account.uuid != account.name:
        shown += f" {code(shorten(account.uuid))}"
    if account.former_names:
        names = [code(shorten(name)) for name in account.former_names[:_MAX_NAMES]]
        shown += f" ({say('former_names', names=', '.join(names))})"
    return shown


def _values(counts: Sequence[ValueCount], say: Translator, with_entries: bool) -> str:
    shown = [
        code(shorten(count.name)) + (f" {count.entries}" if with_entries else "") for count in counts[:_MAX_VALUES]
    ]
    if len(counts) > _MAX_VALUES:
        shown.append(say("more", n=len(counts) - _MAX_VALUES))
    return ", ".join(shown)


def _cells(account: Account, say: Translator) -> Dict[str, Optional[str]]:
    no_data = say("no_data")
    before = no_data if account.entries_before is None else str(account.entries_before)
    if account.is_before_partial and account.entries_before is not None:
        before = say("at_least", n=account.entries_before)
    return {
        "project": truncate(account.project, _MAX_CELL),
        "kind": account.kind,
        "name": truncate(account.name, _MAX_CELL),
        "uuid": truncate(account.uuid, _MAX_CELL),
        "former_names": _joined(account.former_names),
        "comparison": account.standing.replace("_", " "),
        "no_data_because": _joined([reason(why, say) for why in account.reasons]),
        "first": account.first,
        "last": account.last,
        "changes": no_data if account.entries is None else str(account.entries),
        "sensitive": no_data if account.entries is None else str(account.sensitive),
        "actions": _joined([f"{count.name} {count.entries}" for count in account.actions]),
        "networks": _joined([count.name for count in account.networks]),
        "addresses": _joined([count.name for count in account.addresses]),
        "changes_before": before,
        "last_before": account.last_before,
        **dict.fromkeys(("decision", "reviewer", "date", "signature"), ""),
    }


def _joined(values: Sequence[str]) -> str:
    return truncate(", ".join(values), _MAX_CELL)
