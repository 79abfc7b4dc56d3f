# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The event source as an engine runs it: from its path, with queues."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

SOURCE = Path(version.__file__).parents[2] / "extensions/eda/plugins/event_source/project_logs.py"
# As runpy does in the engine; Ansible's loader, which tests have around them, keeps runpy from files of collections.
source: dict[str, Any] = {"__name__": "source", "__file__": str(SOURCE)}
exec(compile(SOURCE.read_bytes(), SOURCE, "exec"), source)


class Filtered:
    """As the engine's own: it has a put, and the true queue inside."""

    def __init__(self, queue: asyncio.Queue[Any]) -> None:
        self.queue = queue

    async def put(self, event: Any) -> None:
        await self.queue.put(event)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(page_size=3) as running:
        yield running


@pytest.fixture
def args(simulator: Simulator, tmp_path: Path) -> dict[str, Any]:
    log = simulator.project("main").log
    for n in range(7):
        log.append(n=n)
    return {
        "api_url": simulator.url,
        "api_token": simulator.project("main").token,
        "start": "-1h",
        "interval": 3600,
        "checkpoint": str(tmp_path / "checkpoint"),
    }


async def cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def take(queue: asyncio.Queue[Any], count: int) -> list[int]:
    return [(await asyncio.wait_for(queue.get(), 10))["entry"]["n"] for _n in range(count)]


def test_hands_on_all_and_a_cancellation_ends_it_with_its_thread(args: dict[str, Any]) -> None:
    async def engine() -> None:
        queue: asyncio.Queue[Any] = asyncio.Queue(1)
        task = asyncio.create_task(source["main"](Filtered(queue), args))
        assert await take(queue, 7) == list(range(7))
        await cancelled(task)

    # asyncio.run waits for the threads: with the interval of an hour it would not come back.
    asyncio.run(engine())
    assert [thread for thread in threading.enumerate() if thread.name.startswith("asyncio")] == []


@pytest.mark.parametrize("taken", range(1, 7))
def test_what_an_engine_has_not_taken_comes_after_a_restart(args: dict[str, Any], taken: int) -> None:
    async def engine(count: int) -> list[int]:
        queue: asyncio.Queue[Any] = asyncio.Queue(1)
        task = asyncio.create_task(source["main"](Filtered(queue), args))
        numbers = await take(queue, count)
        while not queue.full():
            await asyncio.sleep(0)
        # One more waits in the queue; the place may not lie behind it.
        await cancelled(task)
        return numbers

    numbers = asyncio.run(engine(taken))
    args["feedback"] = False

    async def rest() -> list[int]:
        queue: asyncio.Queue[Any] = asyncio.Queue(1)
        task = asyncio.create_task(source["main"](Filtered(queue), args))
        left = await take(queue, 7 - taken)
        await cancelled(task)
        return left

    assert numbers + asyncio.run(rest()) == list(range(7))


def test_with_feedback_the_next_event_waits_for_it(args: dict[str, Any]) -> None:
    async def engine() -> None:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        feedback: asyncio.Queue[Any] = asyncio.Queue(1)
        task = asyncio.create_task(source["main"](queue, {**args, "feedback": True, "eda_feedback_queue": feedback}))
        for n in range(7):
            event = await asyncio.wait_for(queue.get(), 10)
            assert event["entry"]["n"] == n
            await feedback.put({"meta": {"uuid": "of another event"}})
            while not feedback.empty():
                await asyncio.sleep(0)
            assert queue.empty()
            await feedback.put(event)
        await cancelled(task)

    asyncio.run(engine())


def test_feedback_from_an_engine_without_it_is_refused(args: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="feedback: this engine does not support it"):
        asyncio.run(source["main"](asyncio.Queue(), {**args, "feedback": True}))


def test_an_invalid_option_is_reported_in_a_sentence(args: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="interval must be at least 1 and at most 86400, not 0"):
        asyncio.run(source["main"](asyncio.Queue(), {**args, "interval": 0}))


def test_the_documentation_names_the_options_that_there_are() -> None:
    options = yaml.safe_load(source["DOCUMENTATION"])["options"]
    # Ansible reserves the name message among options of modules; here it is free.
    assert {*options, "message_pattern"} == set(source["load_core"]()._OPTIONS)
    assert yaml.safe_load(source["EXAMPLES"])
