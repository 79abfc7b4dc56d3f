# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.tests.tools.phrases import (
    DOUBTFUL,
    EXEMPT,
    REFUSED,
    hits,
    prose,
)


def found(text: str, suffix: str = ".rst") -> list[tuple[int, str]]:
    return [(hit.line, hit.found) for hit in hits(prose(text, suffix), REFUSED)]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("- Use it in\n  place of a list.", "in place of"),
        ("The next run goes on.", "goes on"),
        ("Whoever has the key can sign.", "Whoever"),
        ("The size has to be larger.", "has to"),
        ("30 is no age.", "is no"),
        ("It is told in the guide.", "is told in"),
        ("How to let old entries go", "let old entries go"),
        ("The directory lies in a folder.", "folder"),
    ],
)
def test_a_phrase_is_refused(text: str, phrase: str) -> None:
    assert phrase in [words for _line, words in found(text)]


@pytest.mark.parametrize(
    "text",
    [
        "There is no commit yet, and there\n  are no files.",
        "The token is no longer valid.",
        "The copy is no older than 90 days.",
        "An alert for good reason.",
        "All receivers get the alert, but a failed one gets it again.",
        "Let it go to the log server.",
    ],
)
def test_a_right_phrase_passes(text: str) -> None:
    assert found(text) == []


def test_code_and_literals_are_left_out_and_lines_are_counted() -> None:
    rst = "Use ``folder``:\n\n.. code-block:: console\n\n    $ cd folder\n\n    folder\n\nThe folder.\n"
    assert found(rst) == [(9, "folder")]
    table = ".. list-table::\n   :header-rows: 1\n\n   * - The folder\n     - ``folder``\n"
    assert found(table) == [(4, "folder")]
    markdown = "See [it](https://folder.example/).\n\n```shell\ncd folder\n```\n\n`folder`, and the folder.\n"
    assert found(markdown, ".md") == [(7, "folder")]


PYTHON = '''
def test_it_is_told_twice(folder):
    """A folder, and f"{folder}"."""
    key = "folder"  # A folder.
    return f"The {folder} and {key!r} of the folder has " "to be new" + " a" + "new entry"
'''


def test_comments_strings_and_names_of_tests_are_checked_in_python() -> None:
    lines = [(2, "is told"), (3, "folder"), (4, "folder"), (5, "folder"), (5, "has to")]
    assert sorted(set(found(PYTHON, ".py"))) == lines


def test_no_phrase_spans_code() -> None:
    assert found('["The option has ", "to many values"]\n', ".py") == []
    assert found('f"It goes {where} on"\n', ".py") == []
    assert found('f"It {is_it} no time: {x:{width}} is no time {{x}}."\n', ".py") == [(1, "is no")]


def test_a_comment_or_a_docstring_of_several_lines_is_one_text() -> None:
    assert found("# It has\n# to be new.\n", ".py") == [(1, "has to")]
    assert found('"""It goes\n\non."""\n', ".py") == [(1, "goes on")]


def test_names_comments_and_descriptions_are_checked_in_yaml() -> None:
    yaml = '- name: Make the folder\n  path: "{{ folder }}"\n  # Whoever uses C(folder), V(anew) or O(at hand).\n'
    assert sorted(found(yaml, ".yml")) == [(1, "folder"), (3, "Whoever")]


def test_only_comments_are_checked_in_shell_scripts() -> None:
    assert found("# A folder.\nfolder=x\n", ".sh") == [(1, "folder")]


def test_exempt_files_exist() -> None:
    root = Path(version.__file__).parents[2]
    missing = [name for name in EXEMPT if not (root / name).exists()]
    assert missing == []


def test_each_phrase_is_a_pattern_with_a_replacement() -> None:
    for phrase in (*REFUSED, *DOUBTFUL):
        re.compile(phrase.pattern)
        assert phrase.replacement
        assert phrase.reason
