# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.tests.tools import catalogue


def test_the_reference_is_made_of_the_catalogue() -> None:
    """If this fails: python3 dev.py run -- python tests/tools/catalogue.py."""
    assert (Path(version.__file__).parents[2] / catalogue.PAGE).read_text() == catalogue.page()
