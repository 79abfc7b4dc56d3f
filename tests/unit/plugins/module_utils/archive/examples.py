# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets the number of examples of a property: few fixed ones, or ARCHIVE_EXAMPLES random ones."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, Phase, settings

MANY = int(os.environ.get("ARCHIVE_EXAMPLES", "0"))


def examples(few: int, **more: Any) -> settings:
    """Return settings for a property that is checked with ``few`` examples in an ordinary run."""
    return settings(
        max_examples=MANY or few,
        derandomize=not MANY,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # to shrink a failure by hand: add Phase.shrink
        print_blob=False,
        suppress_health_check=list(HealthCheck),
        **more,
    )
