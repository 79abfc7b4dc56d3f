# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Counts in sentences: never "1 entries"."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.counts import pluralize

ROOT = Path(version.__file__).parents[2]
PYTHON = sorted([*ROOT.glob("plugins/**/*.py"), *ROOT.glob("extensions/**/*.py")])
YAML = sorted([*ROOT.glob("playbooks/**/*.yml"), *ROOT.glob("extensions/**/*.yml"), *ROOT.glob("roles/**/*.yml")])
_THINGS = (
    "actions actors addresses alerts archives bytes changes commits conditions days differences entries expectations "
    "files findings gaps hosts items keys lines objects pages parts projects records requests reviews rows rules runs "
    "signatures tasks times warnings years"
)
_NOUN = "|".join(_THINGS.split())
COUNTED = re.compile(rf"\s(?:(?:missing|more|new|other|unexpected) )?(?:{_NOUN})\b")


def counted(file: Path) -> list[str]:
    """The expressions before a plural noun in the f-strings of a file, except constants and words."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        parts = node.values if isinstance(node, ast.JoinedStr) else []
        for value, text in zip(parts, parts[1:]):
            if isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant):
                number = ast.unparse(value.value)
                if COUNTED.match(str(text.value)) and not re.match(r"(_?[A-Z_]+(\.\w+)?|\w+\.kind)$", number):
                    found.append(f"{{{number}}}{text.value}")
    return found


def test_one_and_many() -> None:
    texts = [pluralize(count, "entry", "entries") for count in (0, 1, 2)]
    assert texts == ["0 entries", "1 entry", "2 entries"]


@pytest.mark.parametrize("file", PYTHON, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_noun_behind_a_number_is_always_plural(file: Path) -> None:
    assert counted(file) == []


@pytest.mark.parametrize("file", YAML, ids=lambda file: str(file.relative_to(ROOT)))
def test_nor_is_one_in_a_template(file: Path) -> None:
    # "0 of 1 changes" is correct: the noun belongs to the total.
    always = re.findall(rf".*\}}\}}{COUNTED.pattern}.*", file.read_text())
    assert [line for line in always if " of {{" not in line] == []
