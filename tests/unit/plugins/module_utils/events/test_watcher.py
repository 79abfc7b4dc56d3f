# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The watcher across crashes, errors and restarts; one file, since all tests share one engine."""

from __future__ import annotations

import json
import logging
import re
import threading
from base64 import b64decode
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.catalogue import select_detections
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.detection import SiteFacts
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.detector import Detector
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import (
    Cancelled,
    InvalidInput,
    PaginationLoop,
    StorageError,
    Unauthorized,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.events.watcher import Watcher
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


class Idle(Exception):
    """The watcher would now wait for its next poll, since all entries have been delivered."""


class Engine:
    """A rule engine that runs the watcher, as often as a test needs."""

    def __init__(self, simulator: Simulator, checkpoint: Path, **options: Any) -> None:
        self.simulator = simulator
        self.options = {
            "api_url": simulator.url,
            "api_token": simulator.project("main").token,
            "api_retries": 0,
            "interval": 60,
            "checkpoint": str(checkpoint),
            **options,
        }
        self.events: List[Dict[str, Any]] = []
        self.pauses: List[float] = []
        self.now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)

    def live(self, polls: int = 1, killed_after: Optional[int] = None, acknowledged: bool = True) -> None:
        """Receive events until this many polls are over, or until a crash before or after the last acknowledgement."""
        polls_left, received = polls, 0

        def wait(seconds: float) -> bool:
            nonlocal polls_left
            self.pauses.append(seconds)
            if seconds == 60:
                polls_left -= 1
                if polls_left == 0:
                    raise Idle
            return False

        watcher = Watcher(self.options, wait=wait, now=self.now)
        try:
            while True:
                for delivery in watcher.read():
                    self.events.append(delivery.event)
                    received += 1
                    if received == killed_after and not acknowledged:
                        return
                    watcher.acknowledge(delivery)
                    if received == killed_after:
                        return
        except Idle:
            pass
        finally:
            watcher.close()

    @property
    def numbers(self) -> List[Any]:
        return [event["entry"]["n"] if "entry" in event else event["gap"]["reason"] for event in self.events]

    @property
    def uuids(self) -> List[str]:
        return [event["meta"]["uuid"] for event in self.events]


@pytest.fixture
def engine(simulator: Simulator, tmp_path: Path) -> Engine:
    """An engine that has read the empty log once."""
    made = Engine(simulator, tmp_path / "checkpoint")
    made.live()
    return made


def append(simulator: Simulator, *numbers: int, **fields: Any) -> None:
    for n in numbers:
        simulator.project("main").log.append(n=n, **fields)


def test_new_entries_are_delivered_in_the_order_of_the_api(simulator: Simulator, tmp_path: Path) -> None:
    append(simulator, -1, timestamp=datetime.now(timezone.utc) - timedelta(minutes=1))
    engine = Engine(simulator, tmp_path / "checkpoint")
    engine.live()
    append(simulator, *range(8))
    engine.live()
    assert engine.numbers == list(range(8))
    assert len(set(engine.uuids)) == 8


def test_the_start_now_is_a_time_of_the_api(tmp_path: Path) -> None:
    with Simulator(clock=lambda: datetime.now(timezone.utc) - timedelta(minutes=20)) as simulator:
        engine = Engine(simulator, tmp_path / "checkpoint")
        engine.live()
        append(simulator, 1)
        engine.live()
    assert engine.numbers == [1]


def test_the_start_applies_only_without_a_checkpoint(simulator: Simulator, tmp_path: Path) -> None:
    append(simulator, 1, 2)
    engine = Engine(simulator, tmp_path / "checkpoint", start="-1h")
    engine.live()
    engine.live()
    assert engine.numbers == [1, 2]


def test_entries_between_two_runs_are_not_missed(engine: Engine, simulator: Simulator) -> None:
    append(simulator, 1)
    engine.live()
    append(simulator, 2)
    engine.live()
    assert engine.numbers == [1, 2]


@pytest.mark.parametrize("kill", range(1, 9))
def test_a_crash_before_the_checkpoint_repeats_one_event_with_its_uuid(
    engine: Engine, simulator: Simulator, kill: int
) -> None:
    append(simulator, *range(8))
    engine.live(killed_after=kill, acknowledged=False)
    append(simulator, 8)
    engine.live()
    assert engine.numbers == [*range(kill), *range(kill - 1, 9)]
    assert engine.uuids[kill - 1] == engine.uuids[kill]
    assert len(set(engine.uuids)) == 9


@pytest.mark.parametrize("kill", range(1, 9))
def test_a_crash_after_the_checkpoint_repeats_nothing(engine: Engine, simulator: Simulator, kill: int) -> None:
    append(simulator, *range(8))
    engine.live(killed_after=kill)
    append(simulator, 8)
    engine.live()
    assert engine.numbers == list(range(9))


def test_identical_and_late_entries_are_separate_events(engine: Engine, simulator: Simulator) -> None:
    now = datetime.now(timezone.utc)
    append(simulator, 1, 1, 1, timestamp=now + timedelta(seconds=2))
    engine.live()
    append(simulator, 2, timestamp=now + timedelta(seconds=1))
    engine.live(polls=2)
    assert engine.numbers == [1, 1, 1, 2]
    assert len(set(engine.uuids)) == 4


def test_projects_with_equal_cursors_have_different_uuids(simulator: Simulator, tmp_path: Path) -> None:
    simulator.add_project("other")
    engines = [
        Engine(simulator, tmp_path / name, api_token=simulator.project(name).token, start="2026-01-01")
        for name in ("main", "other")
    ]
    for engine, name in zip(engines, ("main", "other")):
        simulator.project(name).log.append(n=1)
        engine.live()
    assert engines[0].events[0]["meta"]["source_offset"] == engines[1].events[0]["meta"]["source_offset"]
    assert engines[0].uuids != engines[1].uuids


def test_a_selection_changes_neither_positions_nor_uuids(simulator: Simulator, tmp_path: Path) -> None:
    everything = Engine(simulator, tmp_path / "everything", start="2026-01-01T00:00:00Z")
    deletions = Engine(simulator, tmp_path / "deletions", start="2026-01-01T00:00:00Z", actions="*_delete")
    append(simulator, 1, 2)
    append(simulator, 3, action="server_delete")
    append(simulator, 4)
    for engine in (everything, deletions):
        engine.live()
    assert deletions.numbers == [3]
    assert deletions.uuids == everything.uuids[2:3]
    append(simulator, 5, action="volume_delete")
    deletions.live()
    assert deletions.numbers == [3, 5]


def test_a_smaller_page_after_a_restart_repeats_and_loses_nothing(engine: Engine, simulator: Simulator) -> None:
    simulator.set(page_size=10)
    append(simulator, *range(7))
    engine.live(killed_after=5)
    simulator.set(page_size=2)
    engine.live()
    assert engine.numbers == list(range(7))


def test_recent_events_are_replayed_unchanged(engine: Engine, simulator: Simulator) -> None:
    engine.options["replay"] = 600
    append(simulator, 0, 1)
    engine.live()
    # These reach the page that was read before; there they would have other places.
    append(simulator, *range(2, 9))
    engine.live(killed_after=4)
    assert engine.numbers == [0, 1, 0, 1, 2, 3]
    engine.live()
    assert engine.numbers[6:] == [0, 1, 2, 3, *range(4, 9)]
    assert len(set(engine.uuids)) == len(set(zip(engine.numbers, engine.uuids))) == 9


def test_a_crash_during_a_replay_loses_nothing(engine: Engine, simulator: Simulator) -> None:
    engine.options["replay"] = 600
    append(simulator, *range(5))
    engine.live()
    engine.now = lambda: datetime.now(timezone.utc) + timedelta(hours=9)
    engine.live(killed_after=2)
    engine.live()
    assert engine.numbers == [*range(5), 0, 1, *range(5)]


def test_old_events_are_not_replayed(engine: Engine, simulator: Simulator) -> None:
    engine.options["replay"] = 600
    append(simulator, 1)
    engine.live()
    engine.now = lambda: datetime.now(timezone.utc) + timedelta(seconds=700)
    append(simulator, 2)
    engine.live()
    engine.live()
    # The first life of the later time had to believe that it had been killed just before.
    assert engine.numbers == [1, 1, 2, 1, 2]
    engine.now = lambda: datetime.now(timezone.utc) + timedelta(seconds=1400)
    engine.live(polls=2)
    engine.now = lambda: datetime.now(timezone.utc) + timedelta(seconds=2100)
    engine.live(polls=2)
    assert engine.numbers[5:] == [1, 2, 1, 2]


def test_a_selection_applies_to_replayed_events(engine: Engine, simulator: Simulator) -> None:
    engine.options.update(replay=600, actions=["*_delete"])
    append(simulator, 1, 3)
    append(simulator, 2, 4, action="server_delete")
    engine.live()
    engine.live()
    assert engine.numbers == [2, 4, 2, 4]


def fired(event: Dict[str, Any]) -> List[str]:
    return [alert["detection"] for alert in event["detections"]]


def test_an_event_has_the_alerts_of_its_entry(engine: Engine, simulator: Simulator) -> None:
    engine.options.update(
        working_hours="Mon-Fri 08:00-18:00",
        known_networks=["192.0.2.0/24"],
        own_actors=["ci"],
        detections=[{"name": "own", "title": "Own", "severity": "info", "select": {"resources": ["db*"]}}],
        disable=["burst_of_deletions"],
    )
    evening = datetime(2027, 3, 1, 20, tzinfo=timezone.utc)
    append(simulator, 1, ip_address="192.0.2.7", timestamp=evening.replace(hour=9), message="Server 'db1' is new")
    append(simulator, 2, ip_address="198.51.100.7", timestamp=evening)
    append(simulator, 3, action="server_delete", timestamp=evening, actor={"api_token": {"description": "ci"}})
    engine.live()
    assert [fired(event) for event in engine.events] == [["own"], ["unknown_network", "outside_working_hours"], []]
    assert ["review" in event for event in engine.events] == [True, True, False]
    engine.options.update(severity="high", checkpoint=f"{engine.options['checkpoint']}-2", start="-1h")
    engine.live()
    assert [fired(event) for event in engine.events[3:]] == [[], ["unknown_network"], []]


def test_alerts_are_identical_in_events_and_in_a_search(engine: Engine, simulator: Simulator) -> None:
    reviewers = ["anna@example.com", "bea@example.com", "carl@example.com"]
    engine.options["reviewers"] = reviewers
    append(simulator, *range(5), action="volume_delete")
    engine.live()
    facts = SiteFacts.from_mapping({"reviewers": reviewers})
    detector = Detector(select_detections(), facts)
    expected = [alert for entry in simulator.project("main").log.entries for alert in detector.alerts(entry)]
    found = [alert for event in engine.events for alert in event["detections"]]
    assert [(alert["id"], alert["reviewer"], alert["title"]) for alert in found] == [
        (alert.id, alert.reviewer, alert.title) for alert in expected
    ]
    review = json.loads(b64decode(engine.events[4]["review"]))
    assert review == {"detections": engine.events[4]["detections"], "entry": engine.events[4]["entry"]}
    assert fired(engine.events[4]) == ["deletion", "burst_of_deletions"]


def test_the_week_before_the_first_start_is_the_baseline(simulator: Simulator, tmp_path: Path) -> None:
    now = datetime.now(timezone.utc)
    kim, lee, new = ({"user": {"email": f"{name}@example.com"}} for name in ("kim", "lee", "new"))
    append(simulator, 1, timestamp=now - timedelta(days=8), actor=new)
    append(simulator, 2, timestamp=now - timedelta(days=7) + timedelta(minutes=1), actor=kim)
    append(simulator, 3, timestamp=now - timedelta(days=3), actor=lee)
    engine = Engine(simulator, tmp_path / "checkpoint")
    engine.live()
    for n, who in enumerate((kim, lee, new, new), 4):
        append(simulator, n, actor=who, timestamp=now + timedelta(minutes=5))
        engine.live()
    assert [fired(event) for event in engine.events] == [[], [], ["first_seen_actor"], []]


def test_an_error_during_the_baseline_does_not_change_the_start(simulator: Simulator, tmp_path: Path) -> None:
    engine = Engine(simulator, tmp_path / "checkpoint")
    simulator.script(Fault("pass"), Fault("status"), Fault("status"))

    class Pauses(List[float]):
        def append(self, seconds: float) -> None:
            if not self:
                append(simulator, 1)
            super().append(seconds)

    engine.pauses = Pauses()
    engine.live()
    assert engine.pauses[:2] == [5, 10]
    assert engine.numbers == [1]


def test_a_checkpoint_without_a_memory_learns_again(engine: Engine, simulator: Simulator, tmp_path: Path) -> None:
    document = json.loads((tmp_path / "checkpoint").read_text())
    assert document.pop("memory") is not None
    (tmp_path / "checkpoint").write_text(json.dumps(document))
    append(simulator, 1, action="server_delete")
    engine.live()
    assert [fired(event) for event in engine.events] == [["deletion"]]


def test_a_selection_hides_no_entry_from_the_detections(engine: Engine, simulator: Simulator) -> None:
    engine.options["actions"] = ["server_*"]
    append(simulator, *range(4), action="volume_delete")
    append(simulator, 4, action="server_delete")
    engine.live()
    assert [fired(event) for event in engine.events] == [["deletion", "burst_of_deletions"]]


def test_replayed_events_have_their_original_alerts(engine: Engine, simulator: Simulator) -> None:
    engine.options["replay"] = 600
    append(simulator, *range(5), action="server_delete")
    engine.live(killed_after=4)
    engine.live()
    engine.live()
    by_number: Dict[int, Any] = {}
    for number, event in zip(engine.numbers, engine.events):
        assert by_number.setdefault(number, event["detections"]) == event["detections"]
    assert len(engine.events) > 9
    engine.options["disable"] = ["deletion"]
    before = len(engine.events)
    engine.live()
    assert {name for event in engine.events[before:] for name in fired(event)} == {"burst_of_deletions"}


def test_an_event_has_its_actor_and_position(engine: Engine, simulator: Simulator) -> None:
    append(simulator, 1, actor={"admin": {}}, action="server_delete", odd={"x": [1.5]})
    engine.live()
    (event,) = engine.events
    assert event["actor"] == {"kind": "admin", "name": "", "uuid": ""}
    assert event["entry"] == simulator.project("main").log.entries[0]
    assert event["meta"]["source_offset"]["index"] == 0
    assert "cursor=" in event["meta"]["source_offset"]["url"]
    assert json.loads(b64decode(event["entry_base64"])) == event["entry"]


@pytest.mark.parametrize("kind", ["status", "html", "reset", "truncated", "no_results", "no_poll_more"])
def test_transient_errors_are_retried_with_one_log_line_each(
    engine: Engine, simulator: Simulator, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    append(simulator, *range(4))
    simulator.script(Fault("pass"), Fault(kind, times=9))
    engine.pauses.clear()
    with caplog.at_level(logging.WARNING):
        engine.live()
    assert engine.numbers == list(range(4))
    assert engine.pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600, 60]
    assert [record.message.endswith(" s.") for record in caplog.records] == [True] * 9 + [False]


def test_an_outage_is_retried_until_it_ends(engine: Engine, simulator: Simulator) -> None:
    append(simulator, 1)
    simulator.stop()
    threading.Timer(0.5, simulator.start).start()
    engine.live()
    assert engine.numbers == [1]


def test_a_wrong_token_is_an_error_after_a_few_attempts(engine: Engine, simulator: Simulator) -> None:
    simulator.project("main").rotate_token()
    engine.pauses.clear()
    with pytest.raises(Unauthorized, match=r"does not accept the token \(HTTP 401\); check api_token"):
        engine.live()
    assert engine.pauses == [5, 10, 20]


def test_a_pagination_loop_is_an_error(engine: Engine, simulator: Simulator) -> None:
    append(simulator, 1)
    simulator.script(Fault("loop", times=10))
    with pytest.raises(PaginationLoop):
        engine.live()
    assert engine.events == []


@pytest.mark.parametrize("status", ["refuse", 400, 410])
def test_a_rejected_cursor_is_a_gap_and_reading_continues(tmp_path: Path, status: Any) -> None:
    offset = timedelta(0)

    def now() -> datetime:
        return datetime.now(timezone.utc) + offset

    with Simulator(clock=now, expired_cursor=status, page_size=3) as simulator:
        engine = Engine(simulator, tmp_path / "checkpoint", start="-1h")
        engine.now = now
        append(simulator, 1)
        engine.live()
        append(simulator, 2)
        offset = timedelta(days=91)
        append(simulator, 3)
        engine.live(killed_after=1, acknowledged=False)
        engine.live()
        assert engine.numbers == [1, "cursor_rejected", "cursor_rejected", 3]
        engine.options["replay"] = 600
        offset *= 3
        append(simulator, 4)
        engine.live()
        engine.live()
    assert engine.numbers[4:] == ["retention", 4, "retention", 4]


def test_a_checkpoint_older_than_retention_is_a_gap(tmp_path: Path) -> None:
    with Simulator(page_size=10) as simulator:
        engine = Engine(simulator, tmp_path / "checkpoint")
        engine.live()
        append(simulator, 1, 2, 3)
        engine.live(killed_after=2)
        simulator.set(clock_offset=timedelta(days=91))
        append(simulator, *range(4, 9))
        engine.live(killed_after=1, acknowledged=False)
        engine.live()
        engine.live()
    assert engine.numbers == [1, 2, "retention", "retention", *range(4, 9)]
    assert engine.uuids[2] == engine.uuids[3]
    gap = engine.events[2]["gap"]
    assert gap["since"] < gap["until"]
    assert "90 days" in gap["message"]
    assert fired(engine.events[2]) == ["gap"]
    assert engine.events[2]["review"] == engine.events[3]["review"]


def test_a_quiet_project_has_no_gap_while_it_is_polled(engine: Engine, simulator: Simulator) -> None:
    for days in range(30, 181, 30):
        simulator.set(clock_offset=timedelta(days=days))
        engine.live()
    append(simulator, 1)
    engine.live()
    assert engine.numbers == [1]


@pytest.mark.parametrize(
    "content",
    [
        *("", "\0" * 40, "{}", "[]", '{"format": 2, "url": "x", "index": 0, "complete_until": "x"}'),
        '{"format": 1, "url": "x", "index": 0, "complete_until": "2026-11-22T12:00:00Z", "memory": []}',
    ],
)
def test_a_damaged_checkpoint_is_an_error(simulator: Simulator, tmp_path: Path, content: str) -> None:
    (tmp_path / "checkpoint").write_text(content)
    with pytest.raises(StorageError, match="checkpoint: .* is not a valid checkpoint"):
        Engine(simulator, tmp_path / "checkpoint").live()


def test_an_unwritable_checkpoint_fails_before_any_event(simulator: Simulator, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="checkpoint: the directory .* does not exist"):
        Engine(simulator, tmp_path / "missing" / "checkpoint").live()


def test_events_continue_on_a_full_disk(
    engine: Engine, simulator: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    append(simulator, 1, 2)
    watcher = Watcher(engine.options, wait=lambda _seconds: True)
    first, second = watcher.read()
    (tmp_path / "checkpoint").unlink()
    (tmp_path / "checkpoint").mkdir()
    watcher.acknowledge(first)
    watcher.acknowledge(second)
    assert "A restart will repeat events" in caplog.text
    watcher.close()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"api_token": "no token"}, "api_token is malformed"),
        ({"interval": 0}, "interval must be at least 1 and at most 86400, not 0"),
        ({"interval": "soon"}, "interval: 'soon' is not a number"),
        ({"replay": -1}, "replay must be at least 0"),
        ({"working_hours": "always"}, "working_hours: 'always' is not valid; use a form such as Mon-Fri 07:00-19:00"),
        ({"detections": [{"name": "own"}]}, "title of detection own must be a non-empty text"),
        ({"disable": ["deletoin"]}, "disable names unknown detections: deletoin (did you mean deletion?)"),
        ({"severity": "bad"}, "severity must be one of info, low"),
        ({"known_networks": 5}, "known_networks: 5 is not a list of texts"),
        ({"known_networks": ["home"]}, "known_networks: 'home' is not a valid network"),
        ({"start": "soon"}, "start: 'soon' is not a valid time"),
        ({"limit": 5}, "limit does not apply to a stream of events"),
        ({"message_pattern": "("}, "is not a valid regular expression"),
        ({"chekpoint": "x"}, "Unknown option chekpoint"),
    ],
)
def test_options_are_checked_before_any_request(
    simulator: Simulator, tmp_path: Path, options: Dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=re.escape(sentence)):
        Engine(simulator, tmp_path / "checkpoint", **options).live()
    assert simulator.requests == []


def test_the_environment_can_set_the_connection(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDSCALE_API_TOKEN", simulator.project("main").token)
    monkeypatch.setenv("CLOUDSCALE_API_URL", simulator.url)
    append(simulator, 1)
    engine = Engine(simulator, tmp_path / "checkpoint", api_token=None, api_url=None, start="-1h")
    engine.live()
    assert engine.numbers == [1]


def test_a_systemd_credential_can_be_the_token(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "api_token").write_text(f"{simulator.project('main').token}\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("CLOUDSCALE_API_TOKEN", "of-another-project")
    append(simulator, 1)
    engine = Engine(simulator, tmp_path / "checkpoint", api_token=None, start="-1h")
    engine.live()
    assert engine.numbers == [1]
    given = Engine(simulator, tmp_path / "other", api_token="of-another-project", start="-1h")
    with pytest.raises(Unauthorized, match="does not accept the token"):
        given.live()


def test_close_ends_a_wait(simulator: Simulator) -> None:
    token = simulator.project("main").token
    watcher = Watcher({"api_url": simulator.url, "api_token": token, "interval": 3600})
    ended: List[Any] = []

    def read() -> None:
        try:
            watcher.read()
        except Cancelled as stopped:
            ended.append(stopped)

    thread = threading.Thread(target=read)
    thread.start()
    watcher.close()
    thread.join(10)
    assert len(ended) == 1


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 7)),
        st.tuples(st.just("hide"), st.integers(1, 3)),
        st.tuples(st.just("kill"), st.integers(1, 9)),
        st.tuples(st.just("kill before"), st.integers(1, 9)),
        st.tuples(st.just("fault"), st.integers(1, 3)),
        st.tuples(st.just("poll"), st.integers(1, 3)),
    ),
    max_size=12,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=steps,
    size=st.integers(1, 5),
    sizes=st.one_of(st.just([]), st.lists(st.integers(0, 4), max_size=8)),
    replay=st.sampled_from([0, 600]),
)
def test_no_sequence_of_crashes_and_errors_loses_an_entry_or_changes_a_uuid(
    tmp_path_factory: pytest.TempPathFactory, steps: Any, size: int, sizes: List[int], replay: int
) -> None:
    with Simulator(page_size=size) as simulator:
        engine = Engine(simulator, tmp_path_factory.mktemp("story") / "checkpoint", replay=replay)
        engine.live()
        simulator.page_sizes(sizes)
        written, allowed = 0, 0
        for step, count in steps:
            if step == "append":
                append(simulator, *range(written, written + count), action="server_delete")
                written += count
            elif step == "hide":
                simulator.project("main").log.hide(count)
            elif step == "fault":
                simulator.script(Fault("pass"), Fault("reset_body"), Fault("status", times=count))
            elif step == "poll":
                engine.live(polls=count)
            else:
                allowed += step == "kill before"
                engine.live(killed_after=count, acknowledged=step == "kill")
        simulator.clear_script()
        engine.live()
    first_time = list(dict.fromkeys(engine.numbers))
    assert first_time == list(range(written))
    detector = Detector(select_detections(), SiteFacts())
    alerts = [[alert.id for alert in detector.alerts(entry)] for entry in simulator.project("main").log.entries]
    for event in engine.events:
        assert [alert["id"] for alert in event["detections"]] == alerts[event["entry"]["n"]]
    assert replay or len(engine.numbers) - written <= allowed
    if sizes:
        # An API that cuts other pages at the second reading gives entries other places.
        return
    assert len(set(engine.uuids)) == written
    assert len(set(zip(engine.numbers, engine.uuids))) == written
