# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Python libraries of reports. They are checked before anything is read."""

from __future__ import annotations

from typing import Mapping

from ...errors import MissingDependency


def require(libraries: Mapping[str, str]) -> None:
    """Check that modules can be imported. ``libraries`` names the library that provides each module.

    :raises MissingDependency: modules are missing; the error names all their libraries.
    """
    missing = []
    for module, library in libraries.items():
        try:
            __import__(module)
        except ImportError:
            missing.append(library)
    if missing:
        raise MissingDependency(", ".join(dict.fromkeys(missing)))
