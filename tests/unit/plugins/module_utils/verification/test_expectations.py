# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
from itertools import product
from typing import Any, Dict, List, Optional, Tuple

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import InvalidInput
from ansible_collections.auditops.cloudscale.plugins.module_utils.verification.expectations import (
    Comparison,
    Expectations,
)
from hypothesis import given, settings
from hypothesis import strategies as st

ANNA = {"user": {"email": "anna@example.com"}}
CI = {"api_token": {"uuid": "0a1b", "description": "ci deploy"}}


def entry(action: str = "server_create", message: str = "m", actor: Any = None, address: str = "192.0.2.7") -> Any:
    return {
        "timestamp": "2026-11-22T12:00:00Z",
        "action": action,
        "message": message,
        "actor": CI if actor is None else actor,
        "ip_address": address,
    }


def compare(entries: List[Any], **options: Any) -> Comparison:
    comparison = Comparison(Expectations.from_mapping(options))
    for item in entries:
        comparison.add(item)
    return comparison


def reasons(comparison: Comparison) -> List[str]:
    return [found.reason for found in comparison.unexpected]


# --- Rules


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"expect": {"action": "x"}}, "expect: .* is not a list of rules"),
        ({"expect": ["server_create"]}, r"expect\[0\]: 'server_create' is not a mapping"),
        ({"expect": [{"action": "x"}, {"actoin": "x"}]}, r"expect\[1\].actoin: unknown key"),
        ({"expect": [{}]}, r"expect\[0\]: set at least one of action"),
        ({"expect": [{"count": 3}]}, r"expect\[0\]: set at least one of action"),
        ({"expect": [{"action": ""}]}, r"expect\[0\].action is empty"),
        ({"own_actors": ""}, "own_actors is empty"),
        ({"own_actors": [""]}, "own_actors is empty"),
        ({"own_actors": " "}, "own_actors is empty"),
        ({"own_actors": ["ci deploy", ""]}, "own_actors: item 2 of 2 is empty; remove it or set a value"),
        ({"expect": [{"message_pattern": 42}]}, r"expect\[0\].message_pattern: 42 is not a text"),
        (
            {"expect": [{"message_pattern": "("}]},
            r"expect\[0\].message_pattern: '\(' is not a valid regular expression",
        ),
        ({"ignore": [{"ip_network": "192.0.2.300"}]}, r"ignore\[0\].ip_network: '192.0.2.300' is not a valid network"),
        ({"forbid": [{"action": "x", "count": 1}]}, r"forbid\[0\].count: unknown key"),
        ({"expect": [{"action": "x", "count": 1, "max": 2}]}, r"expect\[0\].count excludes min and max"),
        ({"expect": [{"action": "x", "min": 3, "max": 2}]}, r"expect\[0\].max \(2\) is less than min \(3\)"),
        ({"expect": [{"action": "x", "min": -1}]}, r"expect\[0\].min must be a whole number"),
        ({"expect": [{"action": "x", "min": 1.5}]}, r"expect\[0\].min must be a whole number"),
        ({"expect": [{"action": "x", "count": True}]}, r"expect\[0\].count must be a whole number"),
        ({"expect": [{"action": "x", "count": "many"}]}, r"expect\[0\].count must be a whole number"),
    ],
)
def test_a_rule_that_cannot_be_used_is_named(options: Dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Expectations.from_mapping(options)


def test_keys_without_a_value_are_not_there() -> None:
    rule = Expectations.from_mapping({"expect": [{"action": "x", "actor": None, "count": None, "max": "2"}]}).expect[0]
    assert (rule.given, rule.minimum, rule.maximum) == ({"action": "x", "max": "2"}, 0, 2)


@pytest.mark.parametrize(
    ("counts", "number", "met", "unexpected"),
    [
        ({}, 0, False, 0),
        ({}, 3, True, 0),
        ({"min": 2}, 1, False, 0),
        ({"min": 2}, 2, True, 0),
        ({"max": 2}, 0, True, 0),
        ({"max": 2}, 3, True, 1),
        ({"min": 1, "max": 2}, 0, False, 0),
        ({"count": 2}, 1, False, 0),
        ({"count": 2}, 2, True, 0),
        ({"count": 2}, 4, True, 2),
        ({"count": 0}, 1, True, 1),
    ],
)
def test_counts_say_how_many(counts: Any, number: int, met: bool, unexpected: int) -> None:
    comparison = compare([entry() for _number in range(number)], expect=[{"action": "server_*", **counts}])
    assert (comparison.met, len(comparison.unexpected)) == (met, unexpected)


# --- Which entries count


@pytest.mark.parametrize(
    "rule",
    [
        {"action": "server_*"},
        {"message_pattern": "'web-[0-9]' has been"},
        {"resource": "web-?"},
        {"actor": "ci deploy"},
        {"actor": "0a1b"},
        {"ip_network": "192.0.2.0/24"},
        {"action": "*", "message_pattern": "created$", "actor": "ci deploy", "ip_network": "192.0.2.7"},
    ],
)
def test_all_conditions_of_a_rule_must_hold(rule: Dict[str, str]) -> None:
    good = entry(message="Server 'web-1' has been created")
    bad = entry("volume_delete", "Volume 'data' has been deleted", ANNA, "203.0.113.9")
    assert compare([good], expect=[rule]).met
    assert not compare([bad], expect=[{**rule, "action": rule.get("action", "*") + "_create"}]).met
    assert compare([good, bad], forbid=[{**rule, "actor": "ci deploy"}]).unexpected[0].entry is good


def test_entries_of_odd_form_are_compared_too() -> None:
    odd: Any = [{}, {"action": ["x"], "message": 3, "ip_address": {}, "actor": [1]}]
    comparison = compare(odd, expect=[{"action": "*"}], exclusive=True)
    assert not comparison.met
    assert len(comparison.unexpected) == 2


def test_equal_entries_count_one_by_one() -> None:
    assert compare([entry(), entry()], expect=[{"action": "server_create", "count": 2}]).met
    assert len(compare([entry(), entry()], expect=[{"action": "server_create", "count": 1}]).unexpected) == 1


def test_an_entry_counts_for_one_expectation_only() -> None:
    rules = [{"action": "server_create"}, {"action": "server_*"}]
    assert not compare([entry()], expect=rules).met
    assert compare([entry(), entry("server_stop")], expect=rules).met
    assert compare([entry("server_stop"), entry()], expect=rules[::-1]).met


def test_exclusive_takes_only_what_is_expected_or_ignored() -> None:
    entries = [entry(), entry("server_pause", actor={"system": {}}), entry("server_delete", actor=ANNA)]
    rules: Any = {"expect": [{"action": "server_create"}], "ignore": [{"actor": "system"}]}
    assert compare(entries, **rules).unexpected == []
    comparison = compare(entries, exclusive=True, **rules)
    assert [found.entry for found in comparison.unexpected] == entries[2:]
    assert comparison.matched == entries[:1]


def test_what_is_forbidden_is_so_even_if_it_is_expected_or_ignored() -> None:
    rule = {"action": "server_delete"}
    comparison = compare([entry("server_delete")], expect=[rule], ignore=[rule], forbid=[{"action": "x"}, rule])
    assert reasons(comparison) == ["forbidden by forbid[1]"]
    assert not comparison.met


def test_what_is_ignored_may_be_too_many_but_makes_room_for_what_is_not() -> None:
    rules: Any = {"expect": [{"action": "server_*", "count": 1}], "ignore": [{"actor": "system"}]}
    system = entry("server_stop", actor={"system": {}})
    assert compare([system, system], **rules).met
    comparison = compare([system, entry(), system], exclusive=True, **rules)
    assert (comparison.matched, comparison.unexpected) == ([entry()], [])
    assert reasons(compare([system, entry(), entry()], **rules)) == ["more than expect[0] allows"]


def test_own_actors_alone_meet_expectations_that_name_no_actor() -> None:
    rules: Any = {"expect": [{"action": "server_create"}], "own_actors": ["ci deploy"], "exclusive": True}
    comparison = compare([entry(actor=ANNA)], **rules)
    assert not comparison.met
    assert reasons(comparison) == ["no rule expects it, and its actor is not in own_actors"]
    assert compare([entry()], **rules).met
    assert compare([entry(actor=ANNA)], **{**rules, "expect": [{"action": "*", "actor": "anna@example.com"}]}).met


# --- The nearest miss


def nearest(entries: List[Any], rule: Dict[str, Any], **options: Any) -> Optional[Tuple[Any, List[str], Optional[str]]]:
    found = compare(entries, expect=[rule], **options).missing()[0].nearest
    return None if found is None else tuple(found)  # type: ignore[return-value]


def test_the_nearest_miss_meets_most_conditions() -> None:
    other = entry("volume_create", "Volume 'data' has been created")
    near = entry("server_create", "Server 'web-2' has been created")
    rule = {"action": "server_create", "message_pattern": "web-1"}
    assert nearest([near, other], rule) == (near, ["message_pattern"], None)


def test_a_resource_is_a_condition_of_its_own() -> None:
    near = entry("server_create", "Server 'web-11' has been created")
    far = entry("server_create", "Server 'db' has been created")
    rule = {"action": "server_create", "resource": "web-1"}
    assert nearest([near, far], rule) == (near, ["resource"], None)
    renamed = entry("server_update", "Server 'old' has been renamed to 'new'")
    assert all(compare([renamed], expect=[{"resource": name}]).met for name in ("old", "new", "n?w"))
    both = {"resource": "web-11", "message_pattern": "deleted$"}
    assert not compare([near], expect=[both]).met


def test_the_most_similar_of_equally_near_entries_is_reported() -> None:
    near = entry("server_create", "Server 'web-11' has been created")
    far = entry("server_create", "Something else")
    assert nearest(
        [near, far, far], {"action": "server_create", "message_pattern": "Server 'web-1' has been created"}
    ) == (
        near,
        ["message_pattern"],
        None,
    )


def test_a_misspelt_action_finds_what_was_meant() -> None:
    near = entry("server_create")
    assert nearest([entry("volume_attach"), near], {"action": "server_created"}) == (near, ["action"], None)


def test_an_entry_that_counts_for_a_rule_is_not_its_nearest_miss() -> None:
    rule = {"action": "server_create", "count": 2}
    near = entry("server_created")
    assert nearest([entry("server_create")], rule) is None
    assert nearest([entry("server_create"), near], rule) == (near, ["action"], None)


def test_without_anything_alike_there_is_no_nearest_miss() -> None:
    assert nearest([], {"action": "server_create"}) is None
    assert nearest([entry("network_update")], {"action": "server_delete"}) is None


def test_a_miss_may_be_by_somebody_else_counted_already_or_forbidden() -> None:
    rule = {"action": "server_create"}
    assert nearest([entry(actor=ANNA)], rule, own_actors=["ci deploy"]) == (entry(actor=ANNA), ["actor"], None)
    assert nearest([entry()], rule, forbid=[rule]) == (entry(), [], None)
    twice = compare([entry()], expect=[rule, rule]).missing()[0]
    assert (twice.rule.name, twice.nearest and twice.nearest.counted_for) == ("expect[1]", "expect[0]")


# --- The matching, compared with an exhaustive search

ACTIONS = "abc"
masks = st.sets(st.sampled_from(ACTIONS), min_size=1).map(lambda chosen: "[" + "".join(sorted(chosen)) + "]")


@st.composite
def rules(draw: st.DrawFn) -> Dict[str, Any]:
    rule: Dict[str, Any] = {"message_pattern": draw(masks)}
    low, high = sorted((draw(st.integers(0, 2)), draw(st.integers(0, 3))))
    kind = draw(st.sampled_from(("default", "count", "min", "max", "both")))
    counts = {"default": {}, "count": {"count": high}, "min": {"min": low}, "max": {"max": high}}
    return {**rule, **counts.get(kind, {"min": low, "max": high})}


cases = st.tuples(
    st.lists(rules(), max_size=3),
    st.lists(st.tuples(st.sampled_from(ACTIONS), st.booleans()), max_size=6),
)


def best(rules: List[Any], entries: List[Tuple[str, bool]]) -> Tuple[int, int]:
    """The maximum number of needed entries that can be assigned, and of entries not ignored that can be."""
    choices = [
        [None, *(n for n, rule in enumerate(rules) if action in rule.given["message_pattern"])]
        for action, _ignored in entries
    ]
    filled = counted = 0
    for choice in product(*choices):
        counts = [choice.count(n) for n in range(len(rules))]
        if all(rule.maximum is None or count <= rule.maximum for rule, count in zip(rules, counts)):
            filled = max(filled, sum(min(rule.minimum, count) for rule, count in zip(rules, counts)))
            counted = max(
                counted, sum(1 for n, (_action, ignored) in zip(choice, entries) if n is not None and not ignored)
            )
    return filled, counted


@given(cases)
@settings(max_examples=400, deadline=None)
def test_no_other_way_to_deal_out_the_entries_is_better(case: Any) -> None:
    given_rules, given_entries = case
    expectations = Expectations.from_mapping({"expect": given_rules})
    entries = [
        entry(action, f"{action}{number}", {"system": {}} if ignored else CI)
        for number, (action, ignored) in enumerate(given_entries)
    ]
    comparison = compare(entries, expect=given_rules, ignore=[{"actor": "system"}])
    filled, counted = best(list(expectations.expect), given_entries)
    needed = sum(rule.minimum for rule in expectations.expect)
    matching = [
        item
        for item, (action, ignored) in zip(entries, given_entries)
        if not ignored and any(action in rule["message_pattern"] for rule in given_rules)
    ]
    assert (
        sum(max(0, rule.minimum - found) for rule, found in zip(expectations.expect, comparison.found))
        == needed - filled
    )
    assert comparison.met is (filled == needed)
    assert len(comparison.unexpected) == len(matching) - counted
    assert all(
        rule.maximum is None or found <= rule.maximum for rule, found in zip(expectations.expect, comparison.found)
    )
    assert sum(comparison.found) == len(comparison.matched)
    left_out = [found.entry for found in comparison.unexpected]
    assert [item for item in matching if item not in comparison.matched] == left_out


@given(cases, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_the_order_of_rules_and_entries_does_not_matter(case: Any, random: Any) -> None:
    given_rules, given_entries = case
    entries = [entry(action, action, {"system": {}} if ignored else CI) for action, ignored in given_entries]

    def outcome() -> Tuple[bool, int, int]:
        comparison = compare(entries, expect=given_rules, ignore=[{"actor": "system"}], exclusive=True)
        missing_count = sum(missing.rule.minimum - missing.found for missing in comparison.missing())
        return comparison.met, missing_count, len(comparison.unexpected)

    before = outcome()
    random.shuffle(given_rules)
    random.shuffle(entries)
    assert outcome() == before


def many(number: int) -> List[Any]:
    return [entry("server_create", f"Server 'web-{n % 200}-{n}' has been created") for n in range(number)]


@pytest.mark.parametrize(
    "expect",
    [
        [{"action": "server_*", "message_pattern": f"'web-{n}-"} for n in range(200)],
        [{"action": "server_*", "message_pattern": f"'web-{n}-", "count": 10} for n in range(200)],
        [{"action": "*", "message_pattern": f"'web-[0-9]*{n % 10}-", "max": 10} for n in range(200)],
        [{"action": "*", "min": 51} for _rule in range(200)],
    ],
    ids=["each its own", "too many for each", "full and overlapping", "all the same, not enough"],
)
def test_time_grows_with_the_entries_not_with_their_square(expect: List[Any]) -> None:
    def seconds(number: int) -> float:
        entries = many(number)
        began = time.process_time()
        compare(entries, expect=expect).missing()
        return time.process_time() - began

    small, large = seconds(1000), seconds(10_000)
    print(f"1,000 entries: {small:.2f} s, 10,000 entries: {large:.2f} s")
    assert large < 10 * small * 3 + 1
