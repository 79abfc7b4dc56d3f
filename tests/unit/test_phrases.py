# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest
from ansible_collections.auditops.cloudscale.tests.tools.phrases import DOUBTFUL, REFUSED, hits, prose


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


def test_each_phrase_is_a_pattern_with_a_replacement() -> None:
    for phrase in (*REFUSED, *DOUBTFUL):
        re.compile(phrase.pattern)
        assert phrase.replacement
        assert phrase.reason
