# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names in messages: known forms, and names that were chosen to mislead."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import canonical
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.resource import (
    RENAME_NEEDLE,
    needles,
    rename,
    resource,
    resources,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.selection import resource_matches

KNOWN = [
    ("Server 'web1' has been created", [("server", "web1")]),
    ("Server 'web 1' has been shut down", [("server", "web 1")]),
    ("Server 'web' has been scaled from flex-4-1 to flex-8-2", [("server", "web")]),
    ("Server 'db' has been renamed to 'database'", [("server", "db"), ("", "database")]),
    ("Server 'database' has been renamed from 'db' to 'database'", [("server", "database"), ("", "db")]),
    ("Volume 'data' has been attached to server 'web'", [("volume", "data"), ("server", "web")]),
    ("Volume 'data' has been detached from server 'web'.", [("volume", "data"), ("server", "web")]),
    ("Volume 'd' has been reverted to snapshot 'nightly'", [("volume", "d"), ("volume_snapshot", "nightly")]),
    ("Volume snapshot 'nightly' has been created", [("volume_snapshot", "nightly")]),
    ("Volume 'data' has been scaled from 50 GB to 100 GB", [("volume", "data")]),
    ("Floating IP '192.0.2.1/32' has been assigned to server 'x'", [("floating_ip", "192.0.2.1/32"), ("server", "x")]),
    ("Subnet '10.9.0.0/24' has been updated", [("subnet", "10.9.0.0/24")]),
    ("Server group 'spread' has been deleted", [("server_group", "spread")]),
    ("Objects user 'backup' has been created", [("objects_user", "backup")]),
    ("Custom image 'debian' has been imported", [("custom_image", "debian")]),
    ("Load balancer pool 'web' has been created", [("load_balancer_pool", "web")]),
    ("SSH key 'laptop' has been added", [("ssh_key", "laptop")]),
    ("The size of volume 'data' was changed", [("volume", "data")]),
    ("'nameless' has been changed", [("", "nameless")]),
    ("The quota of the project has been raised", []),
    ("The project's quota has been raised", []),
    ("", []),
]

# Hostile names. Each is the name of a server in every sentence below.
HOSTILE_NAMES = [
    "it's",
    "the boss' server",
    "'",
    "''",
    "'quoted'",
    "a'b'c",
    "x' has been deleted",
    "x' has been renamed to 'web1",
    "web1' has been attached to server 'y",
    "' has been ' has been '",
    "has been",
    "Server 'web1' has been created",
    'double " quote \\ and backslash',
    "new\nline\tand \x07 bell",
    "Zürich 🏔 \u202e",
    "half \ud83d of a pair",
    "{{ 7*7 }}",
    "*",
    "we?1*",
    " ",
]
SENTENCES = [
    "Server '{}' has been created",
    "Server '{}' has been scaled from flex-4-1 to flex-8-2",
    "Volume 'data' has been attached to server '{}'",
    "Server '{}' has been renamed to 'other'",
    "Server 'other' has been renamed to '{}'",
]


def entry(message: Any) -> dict[str, Any]:
    return {"action": "x", "message": message}


@pytest.mark.parametrize(("message", "expected"), KNOWN)
def test_known_forms(message: str, expected: list[tuple[str, str]]) -> None:
    found = resources(entry(message))
    assert set(expected) <= set(map(tuple, found))
    assert resource(entry(message)) == (expected[0] if expected else None)
    assert bool(found) == bool(expected)


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_whatever_a_name_contains_it_is_found(name: str, sentence: str) -> None:
    change = entry(sentence.format(name))
    assert name in {found.name for found in resources(change)}
    assert resource_matches(change, [name])
    assert resource_matches(change, ["*"])
    assert all(needle in canonical(change) for needle in needles([name, "*"]))


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_the_subject_is_the_whole_name(name: str) -> None:
    assert resource(entry(f"Server '{name}' has been created")) == ("server", name)


@pytest.mark.parametrize(
    "message", ["Server 'web1 has been created", "web1' has been created", "'", "it's", "''", "' '"]
)
def test_unbalanced_quotes_name_nothing_but_harm_nothing(message: str) -> None:
    assert "web1" not in {found.name for found in resources(entry(message))}


@pytest.mark.parametrize("message", [None, 7, ["Server 'web1' has been created"], {"a": "'web1'"}])
def test_messages_that_are_not_texts_name_nothing(message: Any) -> None:
    assert resources(entry(message)) == ()
    assert resource(entry(message)) is rename(entry(message)) is None
    assert not resource_matches(entry(message), ["*"])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Server 'db' has been renamed to 'database'", ("server", "db", "database")),
        ("Server 'db' has been renamed from 'db' to 'database'", ("server", "db", "database")),
        ("Objects user 'a' has been renamed to 'b'.", ("objects_user", "a", "b")),
        ("Server 'it's' has been renamed to 'the boss' one'", ("server", "it's", "the boss' one")),
        ("Server 'x' has been renamed to 'y' has been created", None),
        ("Volume 'renamed to' has been attached to server 'x'", None),
        ("Server 'renamed' has been created", None),
        ("Server 'x' has been renamed to", None),
    ],
)
def test_renames(message: str, expected: Any) -> None:
    assert rename(entry(message)) == expected
    assert expected is None or RENAME_NEEDLE in canonical(entry(message))


@pytest.mark.parametrize(
    ("glob", "is_meant"),
    [
        ("web1", True),
        ("web*", True),
        ("w?b1", True),
        ("*1", True),
        ("data", True),
        ("dat?", True),
        ("web", False),
        ("WEB1", False),
        ("eb1", False),
        ("Server", False),
        ("[w]eb1", False),
        ("", False),
    ],
)
def test_globs_match_whole_names(glob: str, is_meant: bool) -> None:
    change = entry("Volume 'data' has been attached to server 'web1'")
    assert resource_matches(change, [glob]) is is_meant
    assert resource_matches(change, ["nothing", glob]) is is_meant


def test_both_names_of_a_rename_count() -> None:
    change = entry("Server 'db' has been renamed to 'database'")
    assert resource_matches(change, ["db"])
    assert resource_matches(change, ["database"])


@pytest.mark.parametrize(("globs", "expected"), [(["web1"], (b"'web1'",)), (["web*-x?"], (b"'web",)), (["*"], (b"'",))])
def test_needles_are_the_longest_pieces(globs: list[str], expected: tuple[bytes, ...]) -> None:
    assert needles(globs) == expected


@pytest.mark.parametrize(
    "piece",
    ["'", "' '", "'a' ", "' has been ", "' has been renamed to '", "Server 'x' has been created. ", "x", "it's ", " "],
)
def test_a_megabyte_takes_no_longer_than_its_length(piece: str) -> None:
    def seconds(size: int) -> float:
        change = entry("Server '" + piece * (size // len(piece)))
        began = time.process_time()
        resources(change)
        rename(change)
        resource_matches(change, ["web1", "w*1"])
        return time.process_time() - began

    # Ten times the length takes about ten times as long; quadratic work would take a hundred times as long.
    least = max(min(seconds(100_000) for _again in range(3)), 0.001)
    assert seconds(1_000_000) < 40 * least
