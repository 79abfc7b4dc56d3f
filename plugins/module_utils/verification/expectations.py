# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Expectations of the log, and the comparison of its entries with them.

Each entry counts for one expectation only. A maximum matching assigns entries to rules, so neither the order of the
rules nor their overlap matters: if any assignment satisfies all rules, it is found.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any, Callable, Deque, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..errors import InvalidInput
from ..project_log.entry import Entry, actor
from ..project_log.resource import resource
from ..project_log.selection import (
    Selection,
    action_matches,
    actor_matches,
    address_matches,
    message_matches,
    parse_list,
    parse_network,
    parse_pattern,
    resource_matches,
)
from .matching import Matching, bit_positions

RULES = ("expect", "forbid", "ignore")
CONDITIONS = ("action", "resource", "message_pattern", "actor", "ip_network")
COUNTS = ("count", "min", "max")

_MAX_REMEMBERED = 1000
_MAX_COMPARED = 20
_MAX_COMPARED_LENGTH = 120
_MIN_SIMILARITY = 0.6


@dataclass(frozen=True)
class Rule:
    """One rule of ``expect``, ``forbid`` or ``ignore``: the entries that it matches, and their expected number.

    ``name`` is its position (``expect[0]``), ``given`` the user's keys. ``maximum`` None means no limit.
    """

    name: str
    given: Mapping[str, Any]
    selection: Selection
    minimum: int = 1
    maximum: Optional[int] = None

    @property
    def wanted(self) -> str:
        """The expected number of entries in words."""
        if self.maximum is None:
            return f"at least {self.minimum}"
        if self.minimum == self.maximum:
            return f"exactly {self.minimum}"
        return f"at most {self.maximum}" if not self.minimum else f"{self.minimum} to {self.maximum}"

    @property
    def condition_count(self) -> int:
        """The number of its conditions."""
        selection = self.selection
        conditions = (
            selection.actions,
            selection.resources,
            selection.message_pattern,
            selection.actors,
            selection.ip_networks,
        )
        return sum(map(bool, conditions))

    def differs(self, entry: Entry) -> List[str]:
        """The conditions that an entry does not meet, by name."""
        selection = self.selection
        met = {
            "action": not selection.actions or action_matches(entry, selection.actions),
            "resource": not selection.resources or resource_matches(entry, selection.resources),
            "message_pattern": selection.message_pattern is None or message_matches(entry, selection.message_pattern),
            "actor": not selection.actors or actor_matches(entry, selection.actors),
            "ip_network": not selection.ip_networks or address_matches(entry, selection.ip_networks),
        }
        return [name for name in CONDITIONS if not met[name]]


@dataclass(frozen=True)
class Expectations:
    """All rules. A forbidden entry is always unexpected. An ignored one never is, but can meet an expectation.

    With ``exclusive``, each entry must be expected or ignored. With ``own_actors``, only their changes meet an
    expectation that names no actor.
    """

    expect: Sequence[Rule] = ()
    forbid: Sequence[Rule] = ()
    ignore: Sequence[Rule] = ()
    exclusive: bool = False
    own_actors: Tuple[str, ...] = ()

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> Expectations:
        """Read the options ``expect``, ``forbid``, ``ignore``, ``exclusive`` and ``own_actors``.

        :raises InvalidInput: a rule is not valid; the message names the rule and its key.
        """
        own = _own_actors(options.get("own_actors"))
        return cls(
            expect=[_with_own_actors(rule, own) for rule in _rules(options, "expect", CONDITIONS + COUNTS)],
            forbid=_rules(options, "forbid", CONDITIONS),
            ignore=_rules(options, "ignore", CONDITIONS),
            exclusive=bool(options.get("exclusive")),
            own_actors=own,
        )


class Nearest(NamedTuple):
    """The entry most similar to a missing one: the conditions it does not meet, or the rule it already counts for."""

    entry: Entry
    differs: List[str]
    counted_for: Optional[str]


class Missing(NamedTuple):
    """An expectation that is not met, with the number of entries found and the entry nearest to a missing one."""

    rule: Rule
    found: int
    nearest: Optional[Nearest]


class Unexpected(NamedTuple):
    """An entry that is not allowed, and why."""

    entry: Entry
    reason: str


class Comparison:
    """Compares entries with expectations as they arrive, each entry once.

    An unexpected entry stays unexpected, and a met expectation stays met, regardless of later entries. The newest 1000
    entries are kept to find the nearest misses.
    """

    def __init__(self, expectations: Expectations) -> None:
        self._expectations = expectations
        self._expect, self._forbid, self._ignore = map(
            _RuleIndex, (expectations.expect, expectations.forbid, expectations.ignore)
        )
        self._matching = Matching(expectations.expect)
        self._counted: Dict[int, Entry] = {}
        self._recent: Deque[Tuple[int, Entry]] = deque(maxlen=_MAX_REMEMBERED)
        self.read = 0
        self.unexpected: List[Unexpected] = []

    def add(self, entry: Entry) -> None:
        number, self.read = self.read, self.read + 1
        self._recent.append((number, entry))
        forbidden = self._forbid.rules_for(entry)
        if forbidden:
            rule = self._expectations.forbid[next(bit_positions(forbidden))]
            self.unexpected.append(Unexpected(entry, f"forbidden by {rule.name}"))
            return
        expected = self._expect.rules_for(entry)
        ignored = bool(self._ignore.rules_for(entry))
        if expected:
            self._counted[number] = entry
            if not self._matching.add(number, expected, ignored):
                names = [self._expectations.expect[index].name for index in bit_positions(expected)]
                allow = "allows" if len(names) == 1 else "allow"
                self.unexpected.append(Unexpected(entry, f"more than {' and '.join(names)} {allow}"))
        elif self._expectations.exclusive and not ignored:
            self.unexpected.append(Unexpected(entry, self._why_unexpected(entry)))

    @property
    def met(self) -> bool:
        """True if every expectation has the entries it needs."""
        return self._matching.missing_count == 0

    @property
    def matched(self) -> List[Entry]:
        """The entries that count for an expectation, in the order of their arrival."""
        return [self._counted[number] for number in sorted(self._matching.assignments())]

    @property
    def found(self) -> List[int]:
        """The number of entries that count for each expectation."""
        return list(self._matching.counts)

    def missing(self) -> List[Missing]:
        """The expectations that are not met, each with its nearest miss."""
        assignments = self._matching.assignments()
        return [
            Missing(rule, found, self._nearest(rule, assignments))
            for rule, found in zip(self._expectations.expect, self._matching.counts)
            if found < rule.minimum
        ]

    def _why_unexpected(self, entry: Entry) -> str:
        own = self._expectations.own_actors
        if own and not actor_matches(entry, own):
            return "no rule expects it, and its actor is not in own_actors"
        return "no rule expects it"

    def _nearest(self, rule: Rule, assignments: Mapping[int, int]) -> Optional[Nearest]:
        """Of the recent entries that meet most conditions of a rule, the one whose texts are most similar to it."""
        candidates = [
            (len(rule.differs(entry)), number, entry)
            for number, entry in self._recent
            if assignments.get(number) is None or self._expectations.expect[assignments[number]] is not rule
        ]
        if not candidates:
            return None
        fewest = min(differences for differences, _number, _entry in candidates)
        closest = [(number, entry) for differences, number, entry in candidates if differences == fewest]
        similarity = _Similarity(rule)
        ranked = [(similarity.of(entry), number, entry) for number, entry in closest[-_MAX_COMPARED:]]
        degree, number, entry = max(ranked)
        if fewest >= rule.condition_count and degree < _MIN_SIMILARITY:
            return None
        assigned = assignments.get(number)
        counted_for = None if assigned is None else self._expectations.expect[assigned].name
        return Nearest(entry, rule.differs(entry), counted_for)


class _RuleIndex:
    """Finds the rules that match an entry, as a bit mask. Each action, actor and address is checked only once."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._selections = [rule.selection for rule in rules]
        self._with_message = sum(
            1 << index
            for index, selection in enumerate(self._selections)
            if selection.message_pattern is not None or selection.resources
        )
        self._actions: Dict[Any, int] = {}
        self._actors: Dict[Any, int] = {}
        self._addresses: Dict[Any, int] = {}

    def rules_for(self, entry: Entry) -> int:
        if not self._selections:
            return 0
        rules = (
            self._matching_rules(
                self._actions, _text(entry, "action"), lambda s: not s.actions or action_matches(entry, s.actions)
            )
            & self._matching_rules(self._actors, actor(entry), lambda s: not s.actors or actor_matches(entry, s.actors))
            & self._matching_rules(
                self._addresses,
                _text(entry, "ip_address"),
                lambda s: not s.ip_networks or address_matches(entry, s.ip_networks),
            )
        )
        for index in bit_positions(rules & self._with_message):
            if not _message_conditions_met(entry, self._selections[index]):
                rules ^= 1 << index
        return rules

    def _matching_rules(self, cache: Dict[Any, int], key: Any, matches: Callable[[Selection], bool]) -> int:
        rules = cache.get(key)
        if rules is None:
            rules = cache[key] = sum(1 << index for index, one in enumerate(self._selections) if matches(one))
        return rules


def _message_conditions_met(entry: Entry, selection: Selection) -> bool:
    if selection.message_pattern is not None and not message_matches(entry, selection.message_pattern):
        return False
    return not selection.resources or resource_matches(entry, selection.resources)


def _text(entry: Entry, key: str) -> Optional[str]:
    value = entry.get(key)
    return value if isinstance(value, str) else None


class _Similarity:
    """How similar the texts of entries are to a rule's, from 0 to 1."""

    def __init__(self, rule: Rule) -> None:
        self._matchers: Dict[str, SequenceMatcher[str]] = {}
        for key, condition in (("action", "action"), ("resource", "resource"), ("message", "message_pattern")):
            if condition in rule.given:
                # A matcher analyzes its second text once for all comparisons.
                self._matchers[key] = SequenceMatcher(
                    None, "", rule.given[condition][:_MAX_COMPARED_LENGTH], autojunk=False
                )

    def of(self, entry: Entry) -> float:
        ratios = []
        for key, matcher in self._matchers.items():
            text = resource(entry) if key == "resource" else entry.get(key)
            matcher.set_seq1(str(text)[:_MAX_COMPARED_LENGTH])
            ratios.append(matcher.ratio())
        return sum(ratios) / len(ratios) if ratios else 0.0


def _rules(options: Mapping[str, Any], option: str, keys: Tuple[str, ...]) -> List[Rule]:
    given = options.get(option)
    if given is None:
        return []
    if not isinstance(given, (list, tuple)):
        raise InvalidInput(f"{option}: {given!r} is not a list of rules.")
    return [_rule(f"{option}[{index}]", rule, keys) for index, rule in enumerate(given)]


def _rule(name: str, rule: Any, keys: Tuple[str, ...]) -> Rule:
    if not isinstance(rule, Mapping):
        raise InvalidInput(f"{name}: {rule!r} is not a mapping; a rule has the keys {', '.join(keys)}.")
    given = {str(key): value for key, value in rule.items() if value is not None}
    for key in given:
        if key not in keys:
            raise InvalidInput(f"{name}.{key}: unknown key; use {', '.join(keys)}.")
    conditions = {key: _condition(f"{name}.{key}", given[key]) for key in CONDITIONS if key in given}
    if not conditions:
        raise InvalidInput(f"{name}: set at least one of {', '.join(CONDITIONS)}; action: '*' means any change.")
    counts = {key: _whole_number(f"{name}.{key}", given[key]) for key in COUNTS if key in given}
    minimum, maximum = _bounds(name, counts)
    return Rule(name, given, _selection(name, conditions), minimum, maximum)


def _selection(name: str, conditions: Mapping[str, str]) -> Selection:
    network, pattern = conditions.get("ip_network"), conditions.get("message_pattern")
    return Selection(
        actions=(conditions["action"],) if "action" in conditions else (),
        actors=(conditions["actor"],) if "actor" in conditions else (),
        resources=(conditions["resource"],) if "resource" in conditions else (),
        ip_networks=() if network is None else (parse_network(network, f"{name}.ip_network"),),
        message_pattern=None if pattern is None else parse_pattern(pattern, f"{name}.message_pattern"),
    )


def _bounds(name: str, counts: Mapping[str, int]) -> Tuple[int, Optional[int]]:
    if "count" in counts:
        if len(counts) > 1:
            raise InvalidInput(f"{name}.count excludes min and max; remove it or them.")
        return counts["count"], counts["count"]
    maximum = counts.get("max")
    minimum = counts.get("min", 1 if maximum is None else 0)
    if maximum is not None and maximum < minimum:
        raise InvalidInput(f"{name}.max ({maximum}) is less than min ({minimum}); swap them.")
    return minimum, maximum


def _condition(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{name}: {value!r} is not a text.")
    if not value.strip():
        # Usually a variable that is not set. Without a condition, the rule would match every change.
        raise InvalidInput(f"{name} is empty; remove it or set a value.")
    return value


def _whole_number(name: str, value: Any) -> int:
    try:
        number = -1 if isinstance(value, (bool, float)) else int(value)
    except (TypeError, ValueError):
        number = -1
    if number < 0:
        raise InvalidInput(f"{name} must be a whole number of at least 0, not {value!r}.")
    return number


def _own_actors(given: Any) -> Tuple[str, ...]:
    names = parse_list(given, "own_actors")
    if given not in (None, [], ()) and not names:
        # As in a rule: without a name, changes of any actor would match.
        raise InvalidInput("own_actors is empty; remove it, or name the actors of your changes.")
    return names


def _with_own_actors(rule: Rule, own: Tuple[str, ...]) -> Rule:
    if not own or rule.selection.actors:
        return rule
    return replace(rule, selection=replace(rule.selection, actors=own))
