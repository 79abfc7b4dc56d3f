# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the reference of the built-in detections, from the catalogue and from the cases of its tests.

Runs in the repository's root: python3 dev.py run -- python tests/tools/catalogue.py
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.catalogue import BUILT_IN
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.detection import Detection, SiteFacts
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import actor, timestamp
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.detections.test_detections import CASES

PAGE = Path("docs/docsite/rst/detections_reference.rst")
_TOLD = ("name", "title", "severity", "why", "check")
_HEAD = """\
.. Copyright (c) 2026, the auditops.cloudscale contributors
   GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
   SPDX-License-Identifier: GPL-3.0-or-later

.. Made from the catalogue by tests/tools/catalogue.py; change it there.

.. _ansible_collections.auditops.cloudscale.docsite.detections_reference:

Built-in detections
===================

``cloudscale-audit detect`` and ``notify``, the module :ansplugin:`auditops.cloudscale.project_logs_detect#module` and
the event source ``auditops.cloudscale.project_logs`` apply these detections. Their keys are those of your own
detections; see :ref:`ansible_collections.auditops.cloudscale.docsite.detections_guide`.

The entries below each detection are cases of the collection's tests. They are made on Monday, 2026-11-23, at a site
that works ``Mon-Fri 07:00-19:00 Europe/Zurich`` in the network ``192.0.2.0/24``. ``anna@example.com`` and the token
``ci`` were last seen two months before.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(_section(value) for value in BUILT_IN)])


def _section(value: dict[str, Any]) -> str:
    detection = Detection.from_mapping(value)
    fires, quiet = CASES[detection.name]
    definition = {key: item for key, item in value.items() if key not in _TOLD}
    lines = [
        f"{detection.name}",
        "-" * len(detection.name),
        "",
        f"{detection.title}. Severity: {detection.severity}.",
        "",
        *_states(detection),
        f"*Why:* {detection.why}",
        "",
        f"*What to do:* {detection.check}",
        "",
        "*Definition:*",
        "",
        ".. code-block:: json",
        "",
        f"    {json.dumps(definition)}",
        "",
        "*Fires on:*",
        "",
        *_cases(fires, several=detection.count > 1),
        "*Does not fire on:*",
        "",
        *_cases(quiet, several=detection.count > 1),
    ]
    return "\n".join(lines)


def _states(detection: Detection) -> list[str]:
    if detection.experimental:
        return [
            "Experimental: the provider has not published the names of these actions. Off until ``enable`` names it.",
            "",
        ]
    fact = detection.missing_fact(SiteFacts())
    return [f"Off without ``{fact}``.", ""] if fact else []


def _cases(entries: Sequence[Any], several: bool) -> list[str]:
    shown = [_shown(entry) for entry in entries]
    if several:
        later = ", ".join(text.rsplit(" ", 1)[1] for text in shown[1:])
        shown = [f"{shown[0]}, {later}"]
    return [*(f"- {text}" for text in shown), ""]


def _shown(entry: dict[str, Any]) -> str:
    moment = timestamp(entry)
    when = moment.strftime("%Y-%m-%d %H:%M") if moment else f"the unreadable time ``{entry['timestamp']}``"
    who, address = actor(entry), entry.get("ip_address")
    name = f"{who.kind} ``{who.name}``" if who.name else who.kind
    name += f" ({who.uuid})" if who.uuid else ""
    where = f"from ``{address}``" if address else "without an address"
    action = entry.get("action")
    return f"{f'``{action}``' if action else 'no action'} by {name} {where}, {when}"


if __name__ == "__main__":
    PAGE.write_text(page())
