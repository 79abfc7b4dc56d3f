# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What reports need beside the core, looked for before anything is read."""

from __future__ import annotations

from typing import Mapping

from ...errors import MissingDependency


def require(libraries: Mapping[str, str]) -> None:
    """See that modules can be imported; ``libraries`` has the name of the library that brings each.

    :raises MissingDependency: some cannot; it names all their libraries.
    """
    missing = []
    for module, library in libraries.items():
        try:
            __import__(module)
        except ImportError:
            missing.append(library)
    if missing:
        raise MissingDependency(", ".join(dict.fromkeys(missing)))
