# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Event source: the audit log of a cloudscale.ch project."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Dict

DOCUMENTATION = r"""
---
short_description: Receive the audit log of a cloudscale.ch project
description:
  - Polls the project log and sends each entry to the rules, in the order of the API.
  - Delivery is at least once. An entry that is delivered again after a restart has the same C(meta.uuid).
  - An event has C(entry) (the entry as the API returned it), C(actor) (its C(kind), C(name) and C(uuid)), C(meta)
    (C(uuid) and C(source_offset), the page's C(url) and the C(index) in the page) and C(detections), the alerts of the
    entry. Each alert has C(id), C(detection), C(severity), C(title), C(check) and C(reviewer).
  - Detections are the same as those of M(auditops.cloudscale.project_logs_detect), and apply to all entries of the
    project. The checkpoint stores their memory. At the first start they learn from the week before.
  - Ansible evaluates the variables that an action passes to a playbook as templates. Pass C(entry_base64), the entry as
    JSON in Base64, and never use C(ansible_eda) in that playbook; otherwise the name of a resource could run code. An
    event with alerts also has C(review), the input of the playbook C(auditops.cloudscale.review_open).
  - If entries may have been lost, an event has C(gap) instead of an entry, with C(reason) (V(retention) or
    V(cursor_rejected)), C(since), C(until) and C(message), and an alert C(gap) of severity V(high).
  - Transient errors of the API are retried for as long as they last. Each failed attempt logs one line.
options:
  api_token:
    description:
      - API token of the project. Read access is enough. Default is the systemd credential C(api_token), if the service
        has one, else E(CLOUDSCALE_API_TOKEN).
    type: str
  api_url:
    description: URL of the API. E(CLOUDSCALE_API_URL) takes precedence over the default.
    type: str
    default: https://api.cloudscale.ch/v1
  api_timeout:
    description:
      - Maximum number of seconds to wait for one response. E(CLOUDSCALE_API_TIMEOUT) takes precedence over the default.
    type: int
    default: 45
  api_retries:
    description: Number of retries per page after a transient error, before the error is logged.
    type: int
    default: 8
  api_retry_budget:
    description: Maximum number of seconds for all retries of one page.
    type: int
    default: 600
  validate_certs:
    description: If V(false), the certificate of the API is not verified. Use V(false) for tests only.
    type: bool
    default: true
  ca_path:
    description: Path to a file or directory of CA certificates to trust instead of the system's.
    type: str
  actions:
    description: Only entries whose action matches one of these patterns, such as V(server_*).
    type: list
    elements: str
  actors:
    description: Only entries by these actors. An e-mail address, a token's description or uuid, V(system) or V(admin).
    type: list
    elements: str
  ip_networks:
    description: Only entries from one of these networks.
    type: list
    elements: str
  message_pattern:
    description: Only entries whose message matches this regular expression.
    type: str
  resources:
    description:
      - Only entries whose message names a resource that matches one of these patterns, such as V(web*). Both names of a
        rename match.
      - The name is read from the message, whose wording is not a stable part of the API, so this is best effort.
    type: list
    elements: str
  interval:
    description: Number of seconds between two polls, from 1 to 86400.
    type: float
    default: 120
  start:
    description:
      - Time of the first entry if there is no checkpoint. A date, a time with offset, V(now), or an age such as
        V(-24h).
      - Without O(checkpoint) every start begins at this time, so entries from before a restart are missed.
    type: str
    default: now
  checkpoint:
    description:
      - Path to a file that stores the position after the last event that the rules received, and the memory of the
        detections. Use one file per project and engine. Its directory must exist.
    type: str
  replay:
    description:
      - Number of seconds, up to 86400. Events that the rules received this shortly before the source ended are
        delivered again when it starts, with the same C(meta.uuid). A crash of the engine loses its running and queued
        actions.
      - Use it for actions that can run twice without harm. It requires O(checkpoint).
    type: float
    default: 0
  detections:
    description:
      - Your own detections, in addition to the built-in ones. A detection with the name of a built-in one replaces it.
    type: list
    elements: dict
  enable:
    description: Names of experimental detections to turn on.
    type: list
    elements: str
  disable:
    description: Names of detections to turn off.
    type: list
    elements: str
  severity:
    description:
      - Minimum severity of the alerts in C(detections).
    type: str
    choices: [info, low, medium, high, critical]
    default: info
  own_actors:
    description: Actors of your own automation. Their entries fire no detection.
    type: list
    elements: str
  working_hours:
    description:
      - Working hours, such as V(Mon-Fri 07:00-19:00 Europe/Zurich). Separate several with commas. The default time zone
        is UTC. Detections that need working hours are off without them.
    type: str
  holidays:
    description: Days without work, such as V(2026-04-03), or V(12-25) for each year. Requires O(working_hours).
    type: list
    elements: str
  known_networks:
    description: Networks that your changes come from. Detections that need known networks are off without them.
    type: list
    elements: str
  reviewers:
    description:
      - People who review alerts. Each alert names one of them, never the actor of the entry. The same alert always
        names the same reviewer.
    type: list
    elements: str
  feedback:
    description:
      - If V(true), wait until the engine confirms that the rules received an event. Requires persistence
        (C(--persistence-id)).
      - The engine confirms an event before its actions run.
    type: bool
    default: false
"""

EXAMPLES = r"""
- auditops.cloudscale.project_logs:
    api_token: "{{ cloudscale_api_token }}"
    actions: ["*_delete"]
    interval: 60
    checkpoint: /var/lib/rulebook/project.checkpoint
"""

CORE = "auditops_cloudscale_core"
FEEDBACK_TIMEOUT = 600.0
_POLL_SECONDS = 0.02


def load_core() -> Any:
    """Load the core of the collection by path: the engine runs this file outside any package."""
    if CORE not in sys.modules:
        root = Path(__file__).resolve().parents[4] / "plugins" / "module_utils"
        spec = spec_from_file_location(CORE, root / "__init__.py", submodule_search_locations=[str(root)])
        if spec is None or spec.loader is None:
            raise ImportError(f"The core is missing in {root}; reinstall the collection.")
        sys.modules[CORE] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[CORE])
    return import_module(f"{CORE}.events.watcher")


async def main(queue: Any, args: Dict[str, Any]) -> None:
    """Send events to the queue until cancelled."""
    feedback = args.get("eda_feedback_queue")
    if args.get("feedback") and feedback is None:
        raise ValueError("feedback: this engine does not support it; start ansible-rulebook with --persistence-id.")
    watcher = load_core().Watcher(args)
    try:
        while True:
            for delivery in await asyncio.to_thread(watcher.read):
                await queue.put(delivery.event)
                await wait_until_received(queue, delivery.event, feedback)
                await asyncio.to_thread(watcher.acknowledge, delivery)
    finally:
        # A thread cannot be cancelled; close ends its waits.
        watcher.close()


async def wait_until_received(queue: Any, event: Dict[str, Any], feedback: Any) -> None:
    """Wait until the rules received the event: until feedback arrives, or until the engine's queue is empty."""
    if feedback is not None:
        await _wait_for_feedback(event["meta"]["uuid"], feedback)
        return
    # The engine takes an event from the queue and posts it to the rules in one step. A crash loses queued events.
    engine_queue = getattr(queue, "queue", queue)
    while hasattr(engine_queue, "empty") and not engine_queue.empty():
        await asyncio.sleep(_POLL_SECONDS)


async def _wait_for_feedback(uuid: str, feedback: Any) -> None:
    async def find_feedback() -> None:
        while (await feedback.get())["meta"]["uuid"] != uuid:
            pass

    search = asyncio.ensure_future(find_feedback())
    try:
        # Not wait_for: before Python 3.12 it can swallow a cancellation.
        done, _pending = await asyncio.wait({search}, timeout=FEEDBACK_TIMEOUT)
    finally:
        search.cancel()
    if not done:
        raise TimeoutError(f"No feedback on an event within {FEEDBACK_TIMEOUT:.0f} s; a restart repeats the event.")
    search.result()


if __name__ == "__main__":

    class Printer:
        """A queue that prints events, for use without an engine."""

        async def put(self, event: Dict[str, Any]) -> None:
            """Print an event."""
            print(event)  # noqa: T201

    asyncio.run(main(Printer(), {"start": "-24h"}))
