# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the log should tell, and how that compares with what it tells.

Each entry counts for one expectation only. Which one is settled by a maximum matching, so that neither the order of the
rules nor their overlap matters: whenever the entries can be dealt out so that all rules are satisfied, they are.
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
    """One rule of ``expect``, ``forbid`` or ``ignore``: which entries it means, and how many of them there should be.

    ``name`` tells which one it is (``expect[0]``), ``given`` is what the user wrote. ``most`` None means no limit.
    """

    name: str
    given: Mapping[str, Any]
    selection: Selection
    minimum: int = 1
    maximum: Optional[int] = None

    @property
    def wanted(self) -> str:
        """How many entries it asks for, in words."""
        if self.maximum is None:
            return f"at least {self.minimum}"
        if self.minimum == self.maximum:
            return f"exactly {self.minimum}"
        return f"at most {self.maximum}" if not self.minimum else f"{self.minimum} to {self.maximum}"

    @property
    def condition_count(self) -> int:
        """How many conditions it has."""
        chosen = self.selection
        return sum(
            map(bool, (chosen.actions, chosen.resources, chosen.message_pattern, chosen.actors, chosen.ip_networks))
        )

    def differs(self, entry: Entry) -> List[str]:
        """The conditions that an entry does not meet, by name."""
        chosen = self.selection
        met = {
            "action": not chosen.actions or action_matches(entry, chosen.actions),
            "resource": not chosen.resources or resource_matches(entry, chosen.resources),
            "message_pattern": chosen.message_pattern is None or message_matches(entry, chosen.message_pattern),
            "actor": not chosen.actors or actor_matches(entry, chosen.actors),
            "ip_network": not chosen.ip_networks or address_matches(entry, chosen.ip_networks),
        }
        return [name for name in CONDITIONS if not met[name]]


@dataclass(frozen=True)
class Expectations:
    """All rules. A forbidden entry is always unexpected; one that is ignored never is, but may meet an expectation.

    With ``exclusive`` each entry must be expected or ignored. Where ``own_actors`` are named, an expectation that names
    no actor is met by their changes only.
    """

    expect: Sequence[Rule] = ()
    forbid: Sequence[Rule] = ()
    ignore: Sequence[Rule] = ()
    exclusive: bool = False
    own_actors: Tuple[str, ...] = ()

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> Expectations:
        """Build them from the options ``expect``, ``forbid``, ``ignore``, ``exclusive`` and ``own_actors``.

        :raises InvalidInput: a rule cannot be used; the sentence names it and its key.
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
    """The entry that comes nearest to a missing one: what differs, or else for which rule it already counts."""

    entry: Entry
    differs: List[str]
    counted_for: Optional[str]


class Missing(NamedTuple):
    """An expectation that is not met: how many entries count for it, and what came nearest to another one."""

    rule: Rule
    found: int
    nearest: Optional[Nearest]


class Unexpected(NamedTuple):
    """An entry that should not be there, and why not."""

    entry: Entry
    reason: str


class Comparison:
    """Compares entries with expectations, each once, as they come in.

    What is unexpected stays so whatever comes later, and what is met stays met. Of the entries that no rule is about
    only the newest thousand are remembered, to find the nearest miss among them.
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
        """Whether every expectation has the entries it needs."""
        return self._matching.missing_count == 0

    @property
    def matched(self) -> List[Entry]:
        """The entries that count for an expectation, in the order in which they came."""
        return [self._counted[number] for number in sorted(self._matching.assignments())]

    @property
    def found(self) -> List[int]:
        """How many entries count for each expectation."""
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
            return "expected by no rule, and not by own_actors"
        return "expected by no rule"

    def _nearest(self, rule: Rule, assignments: Mapping[int, int]) -> Optional[Nearest]:
        """The remembered entry that meets most of a rule's conditions; of several the one that reads most like it."""
        looked_at = [
            (len(rule.differs(entry)), number, entry)
            for number, entry in self._recent
            if assignments.get(number) is None or self._expectations.expect[assignments[number]] is not rule
        ]
        fewest = min((item[0] for item in looked_at), default=0)
        best = [(number, entry) for differing, number, entry in looked_at if differing == fewest][-_MAX_COMPARED:]
        if not best:
            return None
        likeness = _Similarity(rule)
        degree, number, entry = max((likeness.of(entry), number, entry) for number, entry in best)
        if fewest >= rule.condition_count and degree < _MIN_SIMILARITY:
            return None
        holder = assignments.get(number)
        return Nearest(entry, rule.differs(entry), None if holder is None else self._expectations.expect[holder].name)


class _RuleIndex:
    """Which of many rules mean an entry, as bits of a number. Each action, actor and address is looked at once."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._chosen = [rule.selection for rule in rules]
        self._with_message = sum(
            1 << index for index, rule in enumerate(self._chosen) if rule.message_pattern is not None or rule.resources
        )
        self._actions: Dict[Any, int] = {}
        self._actors: Dict[Any, int] = {}
        self._addresses: Dict[Any, int] = {}

    def rules_for(self, entry: Entry) -> int:
        if not self._chosen:
            return 0
        found = (
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
        for index in bit_positions(found & self._with_message):
            if not _message_conditions_met(entry, self._chosen[index]):
                found ^= 1 << index
        return found

    def _matching_rules(self, known: Dict[Any, int], key: Any, matches: Callable[[Selection], bool]) -> int:
        found = known.get(key)
        if found is None:
            found = known[key] = sum(1 << index for index, chosen in enumerate(self._chosen) if matches(chosen))
        return found


def _message_conditions_met(entry: Entry, chosen: Selection) -> bool:
    if chosen.message_pattern is not None and not message_matches(entry, chosen.message_pattern):
        return False
    return not chosen.resources or resource_matches(entry, chosen.resources)


def _text(entry: Entry, key: str) -> Optional[str]:
    value = entry.get(key)
    return value if isinstance(value, str) else None


class _Similarity:
    """How much entries read like what a rule says, from 0 to 1."""

    def __init__(self, rule: Rule) -> None:
        self._compare: Dict[str, SequenceMatcher[str]] = {}
        for key, condition in (("action", "action"), ("resource", "resource"), ("message", "message_pattern")):
            if condition in rule.given:
                # The matcher prepares its second text for many comparisons.
                self._compare[key] = SequenceMatcher(
                    None, "", rule.given[condition][:_MAX_COMPARED_LENGTH], autojunk=False
                )

    def of(self, entry: Entry) -> float:
        degrees = []
        for key, matcher in self._compare.items():
            text = resource(entry) if key == "resource" else entry.get(key)
            matcher.set_seq1(str(text)[:_MAX_COMPARED_LENGTH])
            degrees.append(matcher.ratio())
        return sum(degrees) / len(degrees) if degrees else 0.0


def _rules(options: Mapping[str, Any], option: str, keys: Tuple[str, ...]) -> List[Rule]:
    given = options.get(option)
    if given is None:
        return []
    if not isinstance(given, (list, tuple)):
        raise InvalidInput(f"{option}: give a list of rules, not {given!r}.")
    return [_rule(f"{option}[{index}]", rule, keys) for index, rule in enumerate(given)]


def _rule(name: str, rule: Any, keys: Tuple[str, ...]) -> Rule:
    if not isinstance(rule, Mapping):
        raise InvalidInput(f"{name}: a rule is a mapping with {', '.join(keys)}, not {rule!r}.")
    given = {str(key): value for key, value in rule.items() if value is not None}
    for key in given:
        if key not in keys:
            raise InvalidInput(f"{name}.{key}: there is no such key; a rule of this kind has {', '.join(keys)}.")
    parse_list = {key: _condition(f"{name}.{key}", given[key]) for key in CONDITIONS if key in given}
    if not parse_list:
        raise InvalidInput(f"{name}: give at least one of {', '.join(CONDITIONS)}; action: '*' means any change.")
    minimum, maximum = _bounds(
        name, {key: _whole_number(f"{name}.{key}", given[key]) for key in COUNTS if key in given}
    )
    return Rule(name, given, _selection(name, parse_list), minimum, maximum)


def _selection(name: str, parse_list: Mapping[str, str]) -> Selection:
    return Selection(
        actions=(parse_list["action"],) if "action" in parse_list else (),
        actors=(parse_list["actor"],) if "actor" in parse_list else (),
        resources=(parse_list["resource"],) if "resource" in parse_list else (),
        ip_networks=(parse_network(parse_list["ip_network"], f"{name}.ip_network"),)
        if "ip_network" in parse_list
        else (),
        message_pattern=(
            parse_pattern(parse_list["message_pattern"], f"{name}.message_pattern")
            if "message_pattern" in parse_list
            else None
        ),
    )


def _bounds(name: str, counts: Mapping[str, int]) -> Tuple[int, Optional[int]]:
    if "count" in counts:
        if len(counts) > 1:
            raise InvalidInput(f"{name}.count excludes min and max: it is both at once.")
        return counts["count"], counts["count"]
    maximum = counts.get("max")
    minimum = counts.get("min", 1 if maximum is None else 0)
    if maximum is not None and maximum < minimum:
        raise InvalidInput(f"{name}.max ({maximum}) is less than min ({minimum}); swap them.")
    return minimum, maximum


def _condition(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{name}: give a text, not {value!r}.")
    if not value.strip():
        # Most often a variable that is not set, and no condition at all would mean every change.
        raise InvalidInput(f"{name} is empty; leave it out, or say what it should be.")
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
    named = parse_list(given, "own_actors")
    if given not in (None, [], ()) and not named:
        # As in a rule: with nobody named, anybody's change would do.
        raise InvalidInput("own_actors is empty; remove it, or name who makes your changes.")
    return named


def _with_own_actors(rule: Rule, own: Tuple[str, ...]) -> Rule:
    if not own or rule.selection.actors:
        return rule
    return replace(rule, selection=replace(rule.selection, actors=own))
