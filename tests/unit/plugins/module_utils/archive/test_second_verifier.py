# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The second verifier, written only from the format guide, agrees with the collection's verifier."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.rules import newest_covered
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import (
    SigningKey,
    signature_name,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.data_file import DayFile
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import parse, timestamp
from ansible_collections.auditops.cloudscale.tests.second_verifier import verifier as second
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive import corpus, test_attacks
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.both import verdicts
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.corpus import (
    CASES,
    LEGITIMATE,
    LIES,
    Forged,
    append,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.signer import Signer
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

SOURCE = Path(second.__file__)


@contextmanager
def copied(world: World, target: Path) -> Iterator[World]:
    """Give the world a copy of its archive within the block."""
    path, store = world.path, world.store
    shutil.copytree(path, target, symlinks=True)
    world.path, world.store = target, LocalStore(str(target))
    try:
        yield world
    finally:
        world.path, world.store = path, store
        shutil.rmtree(target)


def test_it_shares_nothing_with_the_collection() -> None:
    nodes = list(ast.walk(ast.parse(SOURCE.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {"." * node.level + str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not [name for name in names if name.startswith((".", "ansible"))]
    # Only with Python's standard library.
    command = [sys.executable, "-I", "-S", str(SOURCE), "--help"]
    assert b"--allowed-signers" in subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def test_it_is_a_command(world: World) -> None:
    world.append(2)
    world.collect()
    for digest, said in ((world.head.head.sha256, ""), ("0" * 64, "error head commits/000000000001.json: ")):
        command = [sys.executable, "-I", "-S", str(SOURCE), str(world.path), "--head", f"1:{digest}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout[: len(said) or None], done.stderr) == (int(bool(said)), said, "")


def test_every_lie_of_the_corpus_is_judged_alike(world: World, tmp_path: Path) -> None:
    corpus.fill(world)
    differences = []
    for kind, name in [*((kind, None) for kind in LEGITIMATE), *CASES]:
        with copied(world, tmp_path / "copy"):
            forged = LEGITIMATE[kind](world)
            if name:
                changes = LIES[kind][name](forged.commit, world)
                forged = forged._replace(commit=replace(forged.commit, **changes))
            append(world, forged)
            found = verdicts(world.path, world.clock.now)
            if not found.agree or bool(found.ours) != bool(name):
                differences.append((kind, name, found))
    assert differences == []


# Forms of values in the newest commit: the replaced text, its replacement, and whether a commit can have the result.
LONGEST = "é" * 255
ESCAPED = LONGEST.replace("é", r"\\u00e9")
FORMS = [
    (r'"name":""', f'"name":"{ESCAPED}"', True),
    (r'"name":""', f'"name":"{ESCAPED}x"', False),
    (r'"name":""', '"name":"é"', False),
    (r'"name":""', r'"name":"\\u00E9"', False),
    (r'"name":""', r'"name":"\\ud83d\\ude00\\u007f\\n/"', True),
    (r'"name":""', r'"name":"\\/"', False),
    (r'"name":""', r'"name":"\\u000a"', False),
    (r'"name":""', '"name":null', False),
    (r'"name":""', '"name":"","name":""', False),
    (r'"uuid":"[^"]*"', '"uuid":null', True),
    (r'"run":"[^"]*"', '"run":""', False),
    (r'"run":"[^"]*"', '"run":"Nonce"', False),
    (r'"run":"[^"]*"', f'"run":"{"x" * 65}"', False),
    (r'"run":"[^"]*"', f'"run":"{"x" * 64}"', True),
    (r'"cursor_after":"[^"]*"', '"cursor_after":""', True),
    (r'"cursor_after":"[^"]*"', '"cursor_after":"a b"', False),
    (r'"cursor_after":"[^"]*"', f'"cursor_after":"{"x" * 8192}"', True),
    (r'"cursor_after":"[^"]*"', f'"cursor_after":"{"x" * 8193}"', False),
    (r'"clock_skew_seconds":0.0', '"clock_skew_seconds":0', False),
    (r'"clock_skew_seconds":0.0', '"clock_skew_seconds":-1800.0', True),
    (r'"clock_skew_seconds":0.0', '"clock_skew_seconds":0.10', False),
    (r'"clock_skew_seconds":0.0', '"clock_skew_seconds":1e400', False),
    (r'"clock_skew_seconds":0.0', '"clock_skew_seconds":NaN', False),
    (r'"clock_skew_seconds":0.0', '"clock_skew_seconds":"0.0"', False),
    (r'"pages":1', '"pages":9007199254740991', True),
    (r'"pages":1', '"pages":9007199254740992', False),
    (r'"pages":1', '"pages":1.0', False),
    (r'"pages":1', '"pages":true', False),
    (r'"pages":1', '"pages":-1', False),
    (r'"format":1', '"format":2', False),
    (r'"format":1', '"format":true', False),
    (r'"kind":"entries"', '"kind":"snapshot"', False),
    (r'"committed_at":"([^"]*)Z"', r'"committed_at":"\1.500000Z"', True),
    (r'"committed_at":"([^"]*)Z"', r'"committed_at":"\1.5Z"', False),
    (r'"committed_at":"([^"]*)Z"', r'"committed_at":"\1.000000Z"', False),
    (r'"committed_at":"([^"]*)Z"', r'"committed_at":"\1+00:00"', False),
    (r'"committed_at":"([^"]*)Z"', r'"committed_at":"\1z"', False),
    (r'"committed_at":"[^"]*"', '"committed_at":null', False),
    (r'"collector":', '"more":1,"collector":', False),
    (r'"newest":"[^"]*"', '"newest":"0001-01-01T00:00:00Z"', False),
    (r"\}\n", "} \n", False),
    (r"\}\n", "}", False),
    (r"\}\n", "}\n\n", False),
    (r'"removed":\[\]', '"removed":{}', False),
    (r'"files":\[', '"files":[null,', False),
    (r"date=2026-11-22", "date=2026-13-22", False),
    (r"date=2026-11-22", "date=2026-02-31", False),
    (r'"signer":null', '"signer":"SHA256:x"', False),
    (r'"signer":null', '"signer":""', False),
    (r'"api":"http', '"api":"ftp', False),
]


def test_every_form_of_a_value_is_judged_alike(world: World, tmp_path: Path) -> None:
    world.append(2)
    world.collect(project="")
    text = world.head.body.decode()
    differences = []
    for number, (old, new, valid) in enumerate(FORMS):
        changed = re.sub(old, new, text, count=1)
        assert changed != text, old
        with copied(world, tmp_path / str(number)):
            (world.path / world.head.commit.name).write_bytes(changed.encode())
            found = verdicts(world.path, world.clock.now)
            if not found.agree or bool(found.ours) == valid:
                differences.append((old, new[:40], valid, found))
    assert differences == []


LINES = [
    *(
        (f'{{"timestamp":"2026-11-22{rest}"}}', valid)
        for rest, valid in [
            ("T12:00:00Z", True),
            ("T12:00:00.1234567899Z", True),
            (" 12:00Z", True),
            ("t12:00:00,5 z", True),
            ("T12:00:00+01", True),
            ("T12:00:00+0130", True),
            ("T12:00:00+01:30", True),
            ("T12:00:00+01:75", False),
            ("T00:00:00+00:01", False),
            ("T24:00:00Z", False),
            ("T23:59:60Z", False),
            ("T12:00:00", False),
            ("T12:00:00.Z", False),
            ("", False),
        ]
    ),
    ('{"timestamp":"2026-11-21T23:59:59.999999-00:01"}', True),
    ('{"timestamp":"2026-11-23T00:00:59+00:01"}', True),
    ('{"timestamp":20261122}', False),
    ('{"a":1.10,"timestamp":"2026-11-22T12:00:00Z"}', True),
    ('{"a":1e400,"timestamp":"2026-11-22T12:00:00Z"}', True),
    ('{"a":-0,"timestamp":"2026-11-22T12:00:00Z"}', True),
    ('{"a":01,"timestamp":"2026-11-22T12:00:00Z"}', False),
    ('{"a":NaN,"timestamp":"2026-11-22T12:00:00Z"}', False),
    ('{"a": 1,"timestamp":"2026-11-22T12:00:00Z"}', False),
    ('{"timestamp":"2026-11-22T12:00:00Z","a":1}', False),
    ('{"a":{"c":1,"b":1},"timestamp":"2026-11-22T12:00:00Z"}', False),
    ('{"a":[{"b":1,"b":1}],"timestamp":"2026-11-22T12:00:00Z"}', False),
    (r'{"a":"\ud800é\u001f\n/","timestamp":"2026-11-22T12:00:00Z"}', True),
    (r'{"a":"\uD800","timestamp":"2026-11-22T12:00:00Z"}', False),
    (r'{"a":"\u00e9","timestamp":"2026-11-22T12:00:00Z"}', False),
    (r'{"a":"\ud83d\ude00","timestamp":"2026-11-22T12:00:00Z"}', False),
    (r'{"a":"\/","timestamp":"2026-11-22T12:00:00Z"}', False),
    ('{"a":"\x7f\x85\u2028\r","timestamp":"2026-11-22T12:00:00Z"}', False),
    ('{"a":"\x7f\x85\u2028","timestamp":"2026-11-22T12:00:00Z"}', True),
    ('["2026-11-22T12:00:00Z"]', False),
    ("", False),
]


def test_every_form_of_a_line_is_judged_alike(world: World, tmp_path: Path) -> None:
    """Add an entry of the file's day, and describe it in the file's commit."""
    world.append(2)
    world.collect()
    world.wait(minutes=1)
    other = {"timestamp": "2026-11-22T12:00:00Z"}
    differences = []
    for number, (line, valid) in enumerate(LINES):
        file = DayFile("2026-11-22")
        try:
            moment = timestamp(parse(line.encode()))
        except (ValueError, AttributeError):
            moment = None
        file.add(line.encode() + b"\n", moment or timestamp(other))
        described, body = file.finish(2)
        head = world.head.commit
        added = {"files": (described,), "entries": 1, "total_entries": head.total_entries + 1}
        commit = corpus.after(world, "entries", **added)
        commit = replace(commit, newest=newest_covered(head, commit.files, commit.covered_until))
        with copied(world, tmp_path / str(number)):
            append(world, Forged(commit, {described.path: body}))
            found = verdicts(world.path, world.clock.now)
            if not found.agree or bool(found.ours) == valid:
                differences.append((line, valid, found))
    assert differences == []


def test_every_attack_is_judged_alike(world: World, tmp_path: Path) -> None:
    test_attacks.fill(world)
    noted = world.head.head
    differences = []
    for name, attack in test_attacks.ATTACKS.items():
        with copied(world, tmp_path / "copy"):
            attack.do(world)
            for head in (None, noted):
                found = verdicts(world.path, world.clock.now, head)
                if not found.agree:
                    differences.append((name, head, found))
    assert differences == []


def test_signatures_are_judged_alike(world: World, tmp_path: Path) -> None:
    own, other, stranger = (Signer(tmp_path, name) for name in ("log1", "log2", "stranger"))
    key, strange = SigningKey(own.key), SigningKey(stranger.key)
    for _run in range(3):
        world.append(2, ago=30)
        world.wait(minutes=1)
        world.collect(sign_key=key)
    archive_id = world.head.commit.archive_id

    def place(by: SigningKey, sequence: int, of: str = archive_id) -> Callable[[], Any]:
        def put() -> None:
            head = world.head.head._replace(sequence=sequence, sha256="0" * 64)
            (world.path / signature_name(head, by.fingerprint)).write_bytes(by.sign(of, head))

        return put

    def newest(body: Callable[[bytes], bytes]) -> Callable[[], Any]:
        def put() -> None:
            path = max((world.path / "signatures").iterdir())
            path.write_bytes(body(path.read_bytes()))

        return put

    def cut() -> None:
        for sequence in (2, 3):
            (world.path / f"commits/{sequence:012d}.json").unlink()
            next((world.path / "entries").rglob(f"{sequence:012d}-*")).unlink()

    # Attacks, and whether each is an error for a verifier with allowed signers.
    cases: dict[str, tuple[Callable[[], Any], bool]] = {
        "nothing": (lambda: None, False),
        "of a lost race": (place(key, 4), False),
        "of a killed first run": (place(key, 1, "another"), False),
        "of a commit that was cut off": (place(key, 5), True),
        "of a stranger, ahead": (place(strange, 5), False),
        "of another archive, ahead": (place(key, 5, "another"), False),
        "a note": (lambda: (world.path / "signatures/note.txt").write_text("x"), False),
        "a large file": (lambda: (world.path / "signatures/large").write_bytes(bytes(1 << 20)), False),
        "none of the newest commit": (lambda: max((world.path / "signatures").iterdir()).unlink(), True),
        "none of the oldest commit": (lambda: min((world.path / "signatures").iterdir()).unlink(), True),
        "another's in its place": (
            newest(lambda _body: min((world.path / "signatures").iterdir()).read_bytes()),
            True,
        ),
        "a large one in its place": (newest(lambda body: body + bytes(1 << 20)), True),
        "commits cut off": (cut, True),
    }
    closed = tmp_path / "closed"
    closed.write_text(own.line('valid-before="20260101"'))
    several = tmp_path / "several"
    several.write_text(own.line('valid-before="20260101"') + other.line() + own.line())
    differences = []
    for name, (do, is_error) in cases.items():
        with copied(world, tmp_path / "copy"):
            do()
            for allowed in (None, own.allowed, str(several), other.allowed, str(closed)):
                found = verdicts(world.path, world.clock.now, None, allowed)
                wanted = is_error or allowed in (other.allowed, str(closed))
                if not found.agree or (allowed and bool(found.ours) != wanted):
                    differences.append((name, allowed, found))
    assert differences == []
