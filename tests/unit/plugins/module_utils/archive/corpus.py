# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Forged commits: for each kind one that a collector could make next, and the lies that make it invalid."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any, Callable, NamedTuple

from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import replay
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.rules import (
    newest_covered,
    resync_start,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import (
    Commit,
    DataFile,
    Gap,
    Part,
    Resync,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.data_file import DayFile
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import lines_of
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import parse, timestamp
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
Files = dict[str, bytes]


class Forged(NamedTuple):
    """A commit, and the data files that it names."""

    commit: Commit
    files: Files


def fill(world: World, **options: Any) -> None:
    """Six days of entries; the oldest is pruned, one is compacted."""
    world.clock.now -= timedelta(days=5)
    for _day in range(6):
        for _part in range(2):
            world.append(2, ago=30)
            world.collect(pin=True, **options)
            world.wait(minutes=30)
        world.wait(hours=23)
    world.wait(hours=-23)
    prune(world.store, world.clock.ago(days=4), world.context(pin=world.pin, **options))
    compact(world.store, world.clock.ago(days=3), world.context(pin=world.pin, **options))
    world.wait(minutes=5)
    world.collect(pin=True, heartbeat=timedelta(0), **options)


def after(world: World, kind: str, **changes: Any) -> Commit:
    """Return a forged commit of this kind after the head, with these changes."""
    head, now = world.head, world.clock.now
    same: dict[str, Any] = {
        "sequence": head.commit.sequence + 1,
        "kind": kind,
        "run": "forger",
        "previous": head.head.sha256,
        "cursor_before": head.commit.cursor_after,
        "files": (),
        "removed": (),
        "gaps": (),
        "entries": 0,
        "resync": None,
        "committed_at": now,
    }
    reads = {"asked": now, "server_date": now, "covered_until": now - 10 * SECOND, "pages": 1}
    more = {"pages": 0} if kind in ("prune", "compact") else reads
    return replace(head.commit, **{**same, **more, **changes})


def stored(world: World, day: str, lines: list[bytes]) -> tuple[DataFile, Files]:
    file = DayFile(day)
    for line in lines:
        file.add(line, timestamp(parse(line)))
    described, body = file.finish(world.head.commit.sequence + 1)
    return described, {described.path: body}


def heartbeat(world: World) -> Forged:
    return Forged(after(world, "heartbeat"), {})


def resync(world: World) -> Forged:
    head = world.head.commit
    return Forged(after(world, "resync", resync=Resync("cursor", resync_start(head), 2, 1, False)), {})


def entries(world: World) -> Forged:
    moment = world.clock.ago(seconds=40)
    line = json.dumps({"message": "m", "timestamp": f"{moment:%Y-%m-%dT%H:%M:%S}Z"}, separators=(",", ":")).encode()
    file, files = stored(world, f"{moment:%Y-%m-%d}", [line + b"\n"])
    made = after(world, "entries", files=(file,), entries=1, total_entries=world.head.commit.total_entries + 1)
    return Forged(replace(made, newest=newest_covered(world.head.commit, made.files, made.covered_until)), files)


def merge(world: World) -> Forged:
    live = replay(world.store, world.head).live
    day = max(path.split("/")[1] for path in live if path.count("/") == 2 and path < "entries/date=2026-11-22")
    gone = [live[path] for path in sorted(live) if f"/{day}/" in path]
    file, files = stored(world, day.partition("=")[2], [line for one in gone for line in lines_of(world.store, one)])
    parts = tuple(Part(one.path, one.content_sha256, one.content_bytes, one.entries) for one in gone)
    described = replace(file, parts=parts)
    removed = tuple(one.path for one in gone)
    return Forged(after(world, "compact", files=(described,), removed=removed, entries=file.entries), files)


def prune_commit(world: World) -> Forged:
    live = replay(world.store, world.head).live
    edge = world.head.commit.pruned_until
    assert edge is not None
    edge += 2 * DAY
    removed = tuple(path for path in sorted(live) if path < f"entries/date={edge:%Y-%m-%d}")
    gone = sum(live[path].entries for path in removed)
    total = world.head.commit.total_entries - gone
    return Forged(after(world, "prune", removed=removed, pruned_until=edge, total_entries=total), {})


LEGITIMATE = {"heartbeat": heartbeat, "resync": resync, "entries": entries, "compact": merge, "prune": prune_commit}

Lie = Callable[[Commit, World], dict[str, Any]]


def says(**changes: Any) -> Lie:
    return lambda _commit, _world: changes


def moved(name: str, by: timedelta) -> Lie:
    return lambda commit, _world: {name: getattr(commit, name) + by}


def of_resync(**changes: Any) -> Lie:
    return lambda commit, _world: {"resync": commit.resync and commit.resync._replace(**changes)}


def of_file(**changes: Any) -> Lie:
    return lambda commit, _world: {"files": (replace(commit.files[0], **changes),)}


def gap(why: str, start: timedelta, end: timedelta, total: int = 1) -> Lie:
    def lie(commit: Commit, world: World) -> dict[str, Any]:
        before = world.head.commit.covered_until
        return {"gaps": (Gap(before + start, before + end, why),), "total_gaps": commit.total_gaps + total}

    return lie


def parts(change: Callable[[tuple[Part, ...]], tuple[Part, ...]]) -> Lie:
    return lambda commit, _world: {"files": (replace(commit.files[0], parts=change(commit.files[0].parts)),)}


def without_last(commit: Commit, _world: World) -> dict[str, Any]:
    return {"removed": commit.removed[:-1]}


def of_recent_days(commit: Commit, world: World) -> dict[str, Any]:
    live = replay(world.store, world.head).live
    return {"removed": tuple(sorted(live)), "total_entries": 0}


def of_one_recent_file(commit: Commit, world: World) -> dict[str, Any]:
    live = replay(world.store, world.head).live
    newest = max(live)
    total = world.head.commit.total_entries - live[newest].entries
    return {"removed": (newest,), "total_entries": total, "pruned_until": world.head.commit.pruned_until}


SOME_DAY = "entries/date=2026-11-19/000000000001-0123456789ab.jsonl.gz"
EVERY_KIND: dict[str, Lie] = {
    "another archive": says(archive_id="other"),
    "another beginning of the chain": says(previous=None),
    "another commit before it": says(previous="0" * 64),
    "a signer without a signature": says(signer="SHA256:" + "A" * 43),
    "another beginning of what is covered": moved("covered_from", -DAY),
    "coverage that begins in 2001": moved("covered_from", -9000 * DAY),
    "another project": lambda commit, _world: {"project": commit.project._replace(uuid="other")},
    "another API": says(api="https://elsewhere.example/v1"),
    "another token": says(token_tag="00000000"),
    "another cursor before it": says(cursor_before="cursor=999999"),
    "more entries in all": lambda commit, _world: {"total_entries": commit.total_entries + 1},
    "no entries in all": says(total_entries=0),
    "more gaps in all": lambda commit, _world: {"total_gaps": commit.total_gaps + 1},
    "a count of entries that it has not": lambda commit, _world: {"entries": commit.entries + 1},
    "another newest entry": moved("newest", DAY),
    "no newest entry": says(newest=None),
    "made in the future": moved("committed_at", 2 * HOUR),
    "made before it was read": moved("committed_at", -30 * DAY),
    "a skew that is refused": says(clock_skew_seconds=1801.0),
    "coverage past what was read": moved("covered_until", DAY),
    "coverage until 2099": moved("covered_until", 26_000 * DAY),
    "coverage that goes back": moved("covered_until", -2 * DAY),
    "a server's date that goes back": moved("server_date", -2 * DAY),
    "a run that began later": moved("asked", 3 * HOUR),
    "a run that began long ago": moved("asked", -2 * DAY),
    "no edge of the last prune": says(pruned_until=None),
    "an edge that goes back": moved("pruned_until", -DAY),
    "an edge in the year 9998": moved("pruned_until", 2_900_000 * DAY),
    "an edge that is not midnight": moved("pruned_until", HOUR),
}
OF_READING: dict[str, Lie] = {
    "no page": says(pages=0),
    "a removal": says(removed=(SOME_DAY,)),
    "a gap of retention that was not": gap("retention", 0 * DAY, HOUR),
    "a gap for want of an overlap": gap("no overlap", 0 * DAY, SECOND),
    "a gap of another reason": gap("holidays", 0 * DAY, SECOND),
    "a gap in what was covered": gap("retention", -DAY, SECOND),
    "a gap past what is covered": gap("retention", 0 * DAY, 3 * DAY),
    "an edge of a prune": moved("pruned_until", DAY),
}
OF_REARRANGING: dict[str, Lie] = {
    "a page": says(pages=1),
    "another cursor": says(cursor_after="cursor=999999"),
    "another time of asking": moved("asked", SECOND),
    "more coverage": moved("covered_until", -SECOND),
    "another name of the project": lambda commit, _world: {"project": commit.project._replace(name="other")},
    "a gap": gap("retention", 0 * DAY, HOUR),
    "nothing removed": says(removed=()),
    "a file that was not live removed": lambda commit, _world: {"removed": (*commit.removed, SOME_DAY)},
    "files unsorted": lambda commit, _world: {"removed": commit.removed[::-1]},
    "a file twice": lambda commit, _world: {"removed": (commit.removed[0], *commit.removed)},
}
LIES: dict[str, dict[str, Lie]] = {
    "heartbeat": {
        **EVERY_KIND,
        **OF_READING,
        "a file": lambda _commit, world: {"files": entries(world).commit.files, "entries": 1},
        "a resync": lambda _commit, world: {"resync": resync(world).commit.resync},
    },
    "resync": {
        **OF_READING,
        "an invented reason": of_resync(why="because"),
        "a start of another time": lambda commit, _world: {
            "resync": commit.resync and commit.resync._replace(start=commit.resync.start + HOUR)
        },
        "a start in 2099": lambda commit, _world: {
            "resync": commit.resync and commit.resync._replace(start=commit.resync.start + 26_000 * DAY)
        },
        "no overlap and no gap": of_resync(overlap=0, renamed=0),
        "more renamed than found": of_resync(renamed=3),
        "an acceptance that was not needed": of_resync(accepted_identity=True),
        "a change of token that was none": of_resync(why="token"),
        "a change of API that was none": of_resync(why="api"),
        "another token, not accepted": lambda commit, _world: {
            "token_tag": "00000000",
            "resync": commit.resync and commit.resync._replace(why="token", overlap=0, renamed=0),
        },
        "nothing of a resync": says(resync=None),
    },
    "entries": {
        "no file": says(files=(), entries=0),
        "a file without an entry": of_file(entries=0),
        "a file of another sequence": lambda commit, _world: {
            "files": (replace(commit.files[0], path=commit.files[0].path.replace("/0000", "/0001")),)
        },
        "times that its lines have not": lambda commit, _world: {
            "files": (replace(commit.files[0], last=commit.covered_until),)
        },
        "times of another day": lambda commit, _world: {
            "files": (replace(commit.files[0], first=commit.covered_until - DAY, last=commit.covered_until),)
        },
        "no times": of_file(first=None, last=None),
        "more bytes": of_file(content_bytes=999),
        "other content": of_file(content_sha256="0" * 64),
        "parts": of_file(parts=(Part(SOME_DAY, "0" * 64, 1, 1),)),
        "the file of a day twice": lambda commit, _world: {"files": commit.files * 2, "entries": 2},
    },
    "compact": {
        **EVERY_KIND,
        **OF_REARRANGING,
        "no parts": of_file(parts=()),
        "a part less": parts(lambda all_: all_[:-1]),
        "a part twice": parts(lambda all_: (*all_, all_[0])),
        "parts unsorted": parts(lambda all_: all_[::-1]),
        "a part of other content": parts(lambda all_: (all_[0]._replace(content_sha256="0" * 64), *all_[1:])),
        "a part of fewer entries": parts(lambda all_: (all_[0]._replace(entries=1), *all_[1:])),
        "a part of another file": parts(lambda all_: (all_[0]._replace(path=SOME_DAY), *all_[1:])),
        "a removal less": without_last,
        "files of all days": of_recent_days,
        "fewer entries": lambda commit, _world: {
            "files": (replace(commit.files[0], entries=1),),
            "entries": 1,
            "total_entries": commit.total_entries - commit.entries + 1,
        },
        "other times": lambda commit, _world: {"files": (replace(commit.files[0], last=commit.files[0].first),)},
        "no file": says(files=(), entries=0),
    },
    "prune": {
        **EVERY_KIND,
        **OF_REARRANGING,
        "a removal less": without_last,
        "one recent file under the old edge": of_one_recent_file,
        "all files": of_recent_days,
        "an edge after what is covered": moved("pruned_until", 90 * DAY),
        "a file": lambda commit, world: {"files": entries(world).commit.files, "entries": 1},
    },
}

CASES = [(kind, name) for kind, lies in LIES.items() for name in lies]


def append(world: World, forged: Forged) -> None:
    world.store.put(forged.files)
    world.store.put_if_absent(forged.commit.name, forged.commit.to_bytes())


def errors(world: World, **options: Any) -> list[str]:
    return [finding.type for finding in world.verify(**options) if not finding.is_warning]
