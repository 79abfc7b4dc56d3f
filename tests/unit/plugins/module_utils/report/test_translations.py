# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Translations of reports: each is used somewhere."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.auditops.cloudscale.plugins.module_utils.report import translations

# Keys that are put together of a fixed part and a name.
COMPOSED = re.compile("(kind|severity|gap|active|standing)_.*|.*_page|(people|tokens|others)_hint")


def test_each_translation_is_used() -> None:
    sources = "\n".join(
        path.read_text() for path in Path(translations.__file__).parent.rglob("*.py") if path.name != "translations.py"
    )
    used = set(re.findall(r"\w+", sources))
    assert [key for key in translations._TEXTS if key not in used and not COMPOSED.fullmatch(key)] == []
