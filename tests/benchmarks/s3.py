# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Long archives in a directory and in a bucket of SeaweedFS on this machine: how fast, and how many requests.

python3 dev.py run -- python tests/benchmarks/s3.py --commits 10000

Each commit has a data file with three entries. CPU is that of the client, and of the simulated
API where one is asked. On a network, add its latency to each request.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import find_head, load_commit
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.pin import HeadPin
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.status import status
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.collector import CollectSettings, collect
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import (
    FIRST_SEQUENCE,
    Commit,
    DataFile,
    Head,
    Project,
    Writer,
    sha256,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.data_file import DayFile
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.run_context import RunContext
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3 import S3Store
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3_address import BucketAccess
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import Store
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.verifier import verify
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import canonical
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Connection
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.storage.buckets import Buckets, environment
from ansible_collections.auditops.cloudscale.tests.storage.proxy import FaultyProxy
from ansible_collections.auditops.cloudscale.tests.storage.seaweed import SeaweedFS

ENTRIES = 3
STEP = timedelta(minutes=5)


def chain(commits: int) -> Iterator[tuple[str, bytes, str, bytes]]:
    """The names and bytes of each commit and its data file."""
    now = datetime.now(timezone.utc).replace(microsecond=0)
    began = now - STEP * commits
    previous: str | None = None
    for sequence in range(1, commits + 1):
        moment = began + STEP * sequence
        file, body = data_file(sequence, moment - timedelta(minutes=1))
        commit = describe(sequence, previous, file, moment, began)
        text = commit.to_bytes()
        previous = sha256(text)
        yield commit.name, text, file.path, body


def data_file(sequence: int, moment: datetime) -> tuple[DataFile, bytes]:
    day = DayFile(moment.strftime("%Y-%m-%d"))
    for number in range(ENTRIES):
        entry = {
            "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "action": "server_create",
            "message": f"Server 'n{sequence}-{number}' has been created",
            "ip_address": "192.0.2.1",
            "actor": {"user": {"email": "johanna@example.com"}},
            "subject": {"project": {"uuid": "8576274e-d626-4284-9141-206aaea9c075", "name": "shop"}},
        }
        day.add(canonical(entry) + b"\n", moment)
    return day.finish(sequence)


def describe(sequence: int, previous: str | None, file: DataFile, moment: datetime, began: datetime) -> Commit:
    return Commit(
        archive_id="9c1185a5c5e9fc54",
        sequence=sequence,
        kind="entries",
        run=f"{sequence:x}",
        signer=None,
        previous=previous,
        project=Project("shop", "8576274e-d626-4284-9141-206aaea9c075"),
        api="https://api.cloudscale.ch/v1",
        token_tag="a1b2c3d4",
        cursor_before=f"cursor={sequence - 1}" if sequence > 1 else "",
        cursor_after=f"cursor={sequence}",
        asked=moment,
        covered_from=began,
        covered_until=moment - timedelta(seconds=10),
        files=(file,),
        removed=(),
        gaps=(),
        entries=ENTRIES,
        total_entries=sequence * ENTRIES,
        total_gaps=0,
        pages=1,
        committed_at=moment,
        server_date=moment,
        clock_skew_seconds=0.0,
        newest=file.last,
        collector=Writer("1.0.0", "log1"),
    )


def fill_directory(path: Path, commits: int) -> None:
    for name in ("commits", "entries", "pending"):
        (path / name).mkdir(parents=True)
    for commit, text, data, body in chain(commits):
        (path / data).parent.mkdir(exist_ok=True)
        (path / commit).write_bytes(text)
        (path / data).write_bytes(body)


def fill_bucket(buckets: Buckets, place: str, commits: int) -> None:
    client = buckets.client()
    bucket, prefix = place[len("s3://") :].split("/")

    def put(name: str, body: bytes) -> None:
        client.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=body)

    with ThreadPoolExecutor(8) as pool:
        for some in batches(chain(commits), 1000):
            objects = [named for one in some for named in (one[:2], one[2:])]
            list(pool.map(lambda named: put(*named), objects))


def batches(items: Iterable[tuple[str, bytes, str, bytes]], size: int) -> Iterator[list[tuple[str, bytes, str, bytes]]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    yield batch


def timed(what: str, do: Callable[[], object], requests: list[str] | None = None) -> object:
    if requests is not None:
        del requests[:]
    began, used = time.monotonic(), time.process_time()
    result = do()
    took, used = time.monotonic() - began, time.process_time() - used
    counts = Counter(request.split(" ")[0] for request in requests or ())
    asked = ", ".join(f"{count} {method}" for method, count in sorted(counts.items()))
    print(f"  {what:<24} {took:8.3f} s, {used:8.3f} s CPU  {asked}", flush=True)
    return result


def measure(store: Store, commits: int, requests: list[str] | None = None) -> None:
    now = datetime.now(timezone.utc)
    head = find_head(store)
    pin: Head | None = head.head if head else None
    found = status(store, now)
    if (found.commits, found.entries) != (commits, commits * ENTRIES):
        sys.exit(f"status returns something else: {found}")
    timed("status", lambda: status(store, now), requests)
    timed("status with a pin", lambda: status(store, now, pin), requests)
    findings = timed("verify", lambda: verify(store), requests)
    if findings:
        sys.exit(f"verify finds {str(findings)[:500]}")


def measure_removal(store: Store, requests: list[str] | None = None) -> None:
    """Merge the oldest ten days, then prune half of them."""
    edge = load_commit(store, FIRST_SEQUENCE).commit.covered_from + timedelta(days=10)
    timed("compact", lambda: compact(store, edge), requests)
    timed("prune", lambda: prune(store, edge - timedelta(days=5)), requests)
    findings = verify(store)
    if findings:
        sys.exit(f"verify finds {str(findings)[:500]}")


def measure_collecting(name: str, store: Store, directory: Path, requests: list[str] | None = None) -> None:
    """A commit for each page of a new archive, and then polls that find nothing."""
    context = RunContext(pin=HeadPin(str(directory / f"head-{name}")))
    with Simulator(page_size=3) as simulator:
        for _entry in range(600):
            simulator.project("main").log.append()
        token = simulator.project("main").token
        with Api(Connection(api_token=token, api_url=simulator.url)) as api:

            def run() -> int:
                return collect(store, api, CollectSettings(max_pages=1), context).commits_added

            began, used = time.monotonic(), time.process_time()
            made = run()
            took, used = time.monotonic() - began, time.process_time() - used
            print(f"  {'commits a second':<24} {made / took:8.1f}  , {made / used:8.1f} a CPU second", flush=True)
            if requests:
                print(f"  {'requests a commit':<24} {len(requests) / made:8.1f}", flush=True)
            run()
            timed("empty poll", run, requests)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=10_000)
    parser.add_argument("--only", choices=("directory", "bucket"))
    parser.add_argument("--latency", type=float, default=10, metavar="MS", help="of a network, in the last measurement")
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="benchmark-"))
    try:
        if given.only != "bucket":
            print(f"directory, {given.commits} commits", flush=True)
            measure_collecting("directory", LocalStore(str(directory / "collected")), directory)
            fill_directory(directory / "archive", given.commits)
            measure(LocalStore(str(directory / "archive")), given.commits)
            measure_removal(LocalStore(str(directory / "archive")))
            print(f"  peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB", flush=True)
        if given.only != "directory":
            with SeaweedFS() as server, FaultyProxy(server.buckets) as proxy:
                os.environ.update(environment(server.buckets))
                print(f"bucket, {given.commits} commits", flush=True)
                measure_collecting("bucket", S3Store(server.buckets.new_location()), directory)
                measure_collecting(
                    "proxied",
                    S3Store(server.buckets.new_location(), BucketAccess(proxy.url)),
                    directory,
                    proxy.requests,
                )
                place = server.buckets.new_location()
                fill_bucket(server.buckets, place, given.commits)
                measure(S3Store(place), given.commits)
                print("the same, through a proxy that counts", flush=True)
                measure(S3Store(place, BucketAccess(proxy.url)), given.commits, proxy.requests)
                print(f"the same, {given.latency:g} ms away", flush=True)
                proxy.before = lambda _request: time.sleep(given.latency / 1000)
                measure(S3Store(place, BucketAccess(proxy.url)), given.commits, proxy.requests)
                measure_removal(S3Store(place, BucketAccess(proxy.url)), proxy.requests)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
