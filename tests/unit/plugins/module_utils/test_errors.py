# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The codes of failures, which the documentation lists."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import AuditError

PAGE = Path(version.__file__).parents[2] / "docs/docsite/rst/troubleshooting_guide.rst"
# Codes of base classes, which are never raised.
GROUPS = {"error", "not_as_expected"}


def kinds(root: type[AuditError]) -> list[type[AuditError]]:
    return [root, *(kind for below in root.__subclasses__() for kind in kinds(below))]


def test_each_code_is_listed_with_whether_a_retry_may_help() -> None:
    rows = re.findall(r"   \* - ``(\w+)``\n     - (yes|no)\n", PAGE.read_text())
    # Of the classes that share a code, the first represents it.
    expected: dict[str, str] = {}
    for kind in kinds(AuditError):
        expected.setdefault(kind.code, "yes" if kind.retryable else "no")
    assert rows == sorted((code, answer) for code, answer in expected.items() if code not in GROUPS)
