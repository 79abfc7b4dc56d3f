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
  - Polls the project log and hands each entry to the rules, in the order of the API.
  - Delivery is at least once. An entry that comes again, after a restart, has the same C(meta.uuid).
  - An event has C(entry) (the entry as the API returned it), C(actor) (its C(kind), C(name) and C(uuid)), C(meta)
    (C(uuid) and C(source_offset), the page's C(url) and the C(index) in it) and C(detections), the alerts of the entry.
    Each alert has C(id), C(detection), C(severity), C(title), C(check) and C(reviewer).
  - Detections are the same as those of M(auditops.cloudscale.project_logs_detect), on all entries of the project. What
    they remember is in the checkpoint. At the first start they learn from the week before.
  - Ansible takes the variables that an action gives to a playbook for templates. Give it C(entry_base64), the entry as
    JSON in Base64, and never use C(ansible_eda) there; otherwise a name in the cloud could run code. An event with
    alerts also has C(review), which the playbook C(auditops.cloudscale.review_open) takes.
  - When entries may have been lost, an event has C(gap) instead, with C(reason) (V(retention) or V(cursor_rejected)),
    C(since), C(until) and C(message), and an alert C(gap) of the severity V(high).
  - Passing faults of the API are waited out for as long as they last, with one line of log each.
options:
  api_token:
    description: The API token of the project; one with read access suffices. Default is E(CLOUDSCALE_API_TOKEN).
    type: str
  api_url:
    description: Where the API is. E(CLOUDSCALE_API_URL) has precedence over the default.
    type: str
    default: https://api.cloudscale.ch/v1
  api_timeout:
    description: Seconds to wait for one answer. E(CLOUDSCALE_API_TIMEOUT) has precedence over the default.
    type: int
    default: 45
  api_retries:
    description: How often one page is asked for again before a fault is logged.
    type: int
    default: 8
  api_retry_budget:
    description: Seconds that these retries may take in all.
    type: int
    default: 600
  validate_certs:
    description: Whether to verify the certificate of the API. Turn it off for tests only.
    type: bool
    default: true
  ca_path:
    description: A file or folder with the certificate authorities to trust instead of the system's.
    type: str
  actions:
    description: Patterns such as V(server_*); only entries with such an action become events.
    type: list
    elements: str
  actors:
    description: Only entries by these, named by e-mail, token description or uuid, V(system) or V(admin).
    type: list
    elements: str
  ip_networks:
    description: Only entries that came from one of these networks.
    type: list
    elements: str
  message_pattern:
    description: Only entries whose message matches this regular expression.
    type: str
  resources:
    description:
      - Patterns such as V(web*); only entries whose message names such a resource become events. Both names of a rename
        match.
      - The name is read from the message, whose wording is not a stable part of the API, so this is best effort.
    type: list
    elements: str
  interval:
    description: Seconds between two polls.
    type: float
    default: 120
  start:
    description:
      - Where to begin when there is no checkpoint. A date, a time with offset, V(now), or a distance back as V(-24h).
      - Without O(checkpoint) every start begins there, and what happened before is missed.
    type: str
    default: now
  checkpoint:
    description:
      - Path to a file that stores the position after the last event that the rules received, and what the detections
        remember. One file for one project and one engine. Its directory must exist.
    type: str
  replay:
    description:
      - Seconds. The events that the rules received this shortly before the source ended come again when it starts, with
        the same C(meta.uuid). An engine that is killed takes the actions with it that are running or still to come.
      - It is for actions that do nothing when they are run again. It needs O(checkpoint).
    type: float
    default: 0
  detections:
    description:
      - Detections of your own, in addition to the built-in ones. One that has the name of a built-in detection
        replaces it.
    type: list
    elements: dict
  enable:
    description: Names of experimental detections to apply as well.
    type: list
    elements: str
  disable:
    description: Names of detections to leave out.
    type: list
    elements: str
  severity:
    description: Least severity of the alerts in C(detections). One of V(info), V(low), V(medium), V(high), V(critical).
    type: str
    default: info
  own_actors:
    description: Your own automation, which fires no detection.
    type: list
    elements: str
  working_hours:
    description:
      - When people work, such as V(Mon-Fri 07:00-19:00 Europe/Zurich). Several are separated by a comma; without a time
        zone they are in UTC. Detections that need it are off without it.
    type: str
  holidays:
    description: Days on which nobody works, such as V(2026-04-03), or V(12-25) for each year. Needs O(working_hours).
    type: list
    elements: str
  known_networks:
    description: The networks that your changes come from. Detections that need them are off without them.
    type: list
    elements: str
  reviewers:
    description:
      - People who look at alerts. Each alert names one of them, always the same one for the same alert and never the
        actor of the entry.
    type: list
    elements: str
  feedback:
    description:
      - Wait until the engine says that it gave an event to the rules. It needs persistence (C(--persistence-id)).
      - Feedback comes after the rules received the event, not after their actions ran.
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
    """The collection's core, loaded by path: the engine runs this file without a package around it."""
    if CORE not in sys.modules:
        root = Path(__file__).resolve().parents[4] / "plugins" / "module_utils"
        spec = spec_from_file_location(CORE, root / "__init__.py", submodule_search_locations=[str(root)])
        if spec is None or spec.loader is None:
            raise ImportError(f"There is no core in {root}; install the collection again.")
        sys.modules[CORE] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[CORE])
    return import_module(f"{CORE}.events.watcher")


async def main(queue: Any, args: Dict[str, Any]) -> None:
    """Hand on events until cancelled."""
    feedback = args.get("eda_feedback_queue")
    if args.get("feedback") and feedback is None:
        raise ValueError("feedback: this engine gives none; start ansible-rulebook with --persistence-id.")
    watch = load_core().Watcher(args)
    try:
        while True:
            for delivery in await asyncio.to_thread(watch.read):
                await queue.put(delivery.event)
                await wait_until_received(queue, delivery.event, feedback)
                await asyncio.to_thread(watch.done, delivery)
    finally:
        # A thread cannot be cancelled: this ends its waits.
        watch.close()


async def wait_until_received(queue: Any, event: Dict[str, Any], feedback: Any) -> None:
    """Wait until the event is with the rules: by feedback, else by the engine having taken it out of its queue."""
    if feedback is not None:
        await _wait_for_feedback(event["meta"]["uuid"], feedback)
        return
    # The engine takes an event and posts it to the rules in one step; in its queue a kill would lose it.
    taken = getattr(queue, "queue", queue)
    while hasattr(taken, "empty") and not taken.empty():
        await asyncio.sleep(_POLL_SECONDS)


async def _wait_for_feedback(uuid: str, feedback: Any) -> None:
    async def arrival() -> None:
        while (await feedback.get())["meta"]["uuid"] != uuid:
            pass

    waiting = asyncio.ensure_future(arrival())
    try:
        # Not wait_for: before Python 3.12 it may swallow a cancellation.
        done, _pending = await asyncio.wait({waiting}, timeout=FEEDBACK_TIMEOUT)
    finally:
        waiting.cancel()
    if not done:
        raise TimeoutError(f"No feedback on an event within {FEEDBACK_TIMEOUT:.0f} s; it will come again.")
    waiting.result()


if __name__ == "__main__":

    class Printer:
        """What takes events where no engine does."""

        async def put(self, event: Dict[str, Any]) -> None:
            """Print an event."""
            print(event)  # noqa: T201

    asyncio.run(main(Printer(), {"start": "-24h"}))
