# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan, the files and the scripts of the role archiver, and the agreement of its texts."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from ansible_collections.auditops.cloudscale.plugins.filter.archiver import archiver_plan
from ansible_collections.auditops.cloudscale.plugins.filter.archiver_keys import (
    archiver_hosts_missing_key,
    archiver_signers,
)
from ansible_collections.auditops.cloudscale.plugins.filter.archiver_results import archiver_failures
from ansible_collections.auditops.cloudscale.plugins.lookup.archiver_program import PACKAGE, build_program, core_files
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.config import read_config
from ansible_collections.auditops.cloudscale.plugins.module_utils.notify.receivers import parse_receivers
from ansible_collections.auditops.cloudscale.plugins.module_utils.projects import read_projects

ROOT = Path(version.__file__).parents[2]
ROLE = ROOT / "roles/archiver"
CONFIG = "/etc/cloudscale-audit"
MAIN = {"name": "main", "token": "secret-of-main"}
BUCKET = {
    "name": "bucket",
    "token_file": "/run/secrets/token",
    "path": "s3://audit/bucket",
    "s3_access_key": "name-of-key",
    "s3_secret_key": "secret-of-key",
}


def load(name: str) -> Any:
    return yaml.safe_load((ROLE / name).read_text())


SPECS = load("meta/argument_specs.yml")["argument_specs"]["main"]["options"]


def plan(*projects: dict[str, Any], **variables: Any) -> Any:
    defaults = {name.removeprefix("archiver_"): value for name, value in load("defaults/main.yml").items()}
    return archiver_plan(list(projects), {**defaults, **variables})


def test_defaults_are_those_of_the_argument_specs() -> None:
    assert load("defaults/main.yml") == {name: spec["default"] for name, spec in SPECS.items()}


def test_the_readme_lists_every_variable_with_its_default() -> None:
    readme = (ROLE / "README.md").read_text()
    for name, spec in SPECS.items():
        default = spec["default"]
        shown = {"True": "true", "False": "false", "": '""'}.get(str(default), default)
        start = {"list": "`[", "dict": "`{"}.get(spec["type"], f"`{shown}`")
        assert f"| `{name}` | {start}" in readme
    for name in SPECS["archiver_projects"]["options"]:
        assert f"| `{name}` |" in readme


def variables_in(inventory: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The variables of an inventory's groups and hosts."""
    for group in inventory.values():
        yield group.get("vars", {})
        yield from (host or {} for host in group.get("hosts", {}).values())
        yield from variables_in(group.get("children", {}))


def test_sample_inventories_name_what_the_role_has() -> None:
    guide = (ROOT / "docs/docsite/rst/archiver_operations_guide.rst").read_text()
    shown = re.findall(r"^\.\. code-block:: yaml\n\n((?:    .*\n|\n)+)", guide, re.MULTILINE)
    samples = [yaml.safe_load(text) for text in (*shown, (ROOT / "playbooks/inventory/archivers.yml").read_text())]
    assert len(samples) >= 3
    for sample in samples:
        found = list(variables_in(sample)) if "archivers" in sample else [sample]
        assert {name for variables in found for name in variables} <= SPECS.keys()
        for project in (one for variables in found for one in variables.get("archiver_projects", [])):
            assert project.keys() <= SPECS["archiver_projects"]["options"].keys()


def test_every_setting_of_the_plan_is_a_variable_of_the_role() -> None:
    settings = load("vars/main.yml")["archiver_settings"]
    assert {f"archiver_{name}" for name in settings} <= SPECS.keys()
    assert archiver_plan([MAIN], {name: SPECS[f"archiver_{name}"]["default"] for name in settings})["problems"] == []


def test_the_projects_file_is_one_that_the_command_reads_and_holds_no_secret(tmp_path: Path) -> None:
    more = {"ping_url": "https://secret.example.org/", "start": "2026-11-01", "every": "1h", "pin": False, "sign": "no"}
    made = plan({**MAIN, **more}, BUCKET, retention="3y")
    assert made["problems"] == []
    assert "secret-of" not in made["projects_file"]
    assert "secret.example" not in made["projects_file"]
    (tmp_path / "projects.json").write_text(made["projects_file"])
    main, bucket = read_projects(str(tmp_path / "projects.json"))
    assert (main.path, main.pin, main.start, main.retention) == (
        "/var/lib/cloudscale-audit/main/archive",
        False,
        "2026-11-01",
        "3y",
    )
    assert (main.sign_key_file, main.allowed_signers) == (None, None)
    assert bucket.token_file == "$CREDENTIALS_DIRECTORY/token-bucket"
    assert (bucket.s3_credentials_file, bucket.s3_profile) == ("$CREDENTIALS_DIRECTORY/s3", "bucket")
    assert bucket.sign_key_file == "$CREDENTIALS_DIRECTORY/sign_key"
    assert bucket.allowed_signers == f"{CONFIG}/allowed_signers"


def test_there_is_one_file_of_each_kind_of_secret() -> None:
    made = plan({**MAIN, "ping_url": "https://secret.example.org/"}, BUCKET)
    assert json.loads(made["secrets"]["tokens.json"]) == {"main": "secret-of-main"}
    assert json.loads(made["secrets"]["pings.json"]) == {"main": "https://secret.example.org/"}
    assert made["secrets"]["s3"] == (
        "[bucket]\naws_access_key_id = name-of-key\naws_secret_access_key = secret-of-key\n"
    )
    assert made["credentials"] == {
        "api": [
            f"LoadCredential=tokens.json:{CONFIG}/tokens.json",
            "SetCredential=token-bucket:\\n",
            "LoadCredential=token-bucket:/run/secrets/token",
        ],
        "buckets": [f"LoadCredential=s3:{CONFIG}/s3"],
        "pings": [f"LoadCredential=pings.json:{CONFIG}/pings.json"],
        "notify": [],
        "signing": [f"LoadCredential=sign_key:{CONFIG}/sign_key"],
    }
    # As -e of the command line gives it.
    encrypted = plan(MAIN, encrypted_credentials="true", sign="false")
    assert encrypted["credentials"]["api"] == [f"LoadCredentialEncrypted=tokens.json:{CONFIG}/tokens.json.encrypted"]
    assert encrypted["credentials"]["signing"] == []


RECEIVERS: list[dict[str, Any]] = [
    {"webhook": {"url": "https://chat.example.com/secret-of-chat", "token": "secret-of-webhook"}, "severity": "high"},
    {"webhook": {"url": "https://other.example.com/", "token_file": "/run/secrets/other"}},
    {"journal": True},
]


def test_receivers_of_alerts_are_secret_and_their_file_is_one_that_the_command_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan(MAIN, notify=RECEIVERS, detections={"known_networks": ["192.0.2.0/24"]}, metrics_dir="/srv/metrics")
    assert made["problems"] == []
    assert (made["secrets"]["notify-token-1"], "notify-token-2" in made["secrets"]) == ("secret-of-webhook\n", False)
    assert "secret-of-webhook" not in made["secrets"]["notify.json"]
    assert made["credentials"]["notify"] == [
        f"LoadCredential=notify.json:{CONFIG}/notify.json",
        "SetCredential=notify-token-2:\\n",
        "LoadCredential=notify-token-2:/run/secrets/other",
        f"LoadCredential=notify-token-1:{CONFIG}/notify-token-1",
    ]
    assert "/srv/metrics/cloudscale-audit-notify-main.prom" in made["metrics"]
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/unit")
    (tmp_path / "notify.json").write_text(made["secrets"]["notify.json"])
    read = read_config(str(tmp_path / "notify.json"), "--config")
    assert len(read.facts.known_networks) == 1
    channels = [receiver.channel for receiver in parse_receivers(read.notify)]
    assert [getattr(channel, "token_file", None) for channel in channels] == [
        "/run/credentials/unit/notify-token-1",
        "/run/credentials/unit/notify-token-2",
        None,
    ]
    assert plan(MAIN)["credentials"]["notify"] == []
    assert "notify.json" not in plan(MAIN, notify=RECEIVERS, state="absent")["secrets"]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"detections": {"reviewers": ["a"]}},
            "archiver_detections requires archiver_notify, the receivers of the alerts",
        ),
        (
            {"notify": [{"webhok": {}}]},
            "archiver_notify or archiver_detections: notify: receiver 1 has unknown keys: webhok",
        ),
        (
            {"notify": [{"journal": True}], "detections": {"reviewrs": []}},
            "archiver_notify or archiver_detections: archiver_detections has unknown keys: reviewrs",
        ),
        (
            {"notify": [{"webhook": {**RECEIVERS[0]["webhook"], "token_file": "/t"}}]},
            "archiver_notify: token and token_file are mutually exclusive; remove one of them",
        ),
        (
            {"notify": [{"webhook": {"url": "https://secret-of-chat", "token_file": "t o k e n"}}]},
            "archiver_notify: token_file must be an absolute path with only letters, digits, dots, - and _",
        ),
    ],
)
def test_wrong_receivers_are_refused(wrong: dict[str, Any], sentence: str) -> None:
    (problem,) = plan(MAIN, **wrong)["problems"]
    assert problem.startswith(sentence)
    assert "secret-of" not in problem


TIME = {"timestamp_url": "https://time.example.com/tsa", "timestamp_ca": "/etc/ssl/time.pem"}


def test_time_stamps_are_settings_of_all_projects(tmp_path: Path) -> None:
    made = plan(MAIN, BUCKET, **TIME, timestamp_required="yes")
    assert (made["problems"], made["requests_timestamps"]) == ([], True)
    (tmp_path / "projects.json").write_text(made["projects_file"])
    for project in read_projects(str(tmp_path / "projects.json")):
        assert {key: getattr(project, key) for key in TIME} == TIME
        assert (project.timestamp_every, project.timestamp_required) == ("1d", True)
    without = plan(MAIN, timestamp_ca="/etc/ssl/time.pem")
    assert (without["requests_timestamps"], "timestamp" in without["projects_file"]) == (False, False)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"timestamp_url": "time.example.com"}, "archiver_timestamp_url must be the http:// or https:// URL"),
        ({"timestamp_every": "daily"}, "archiver_timestamp_every: 'daily' is not a valid duration"),
        ({"timestamp_ca": "/root/time.pem"}, "archiver_timestamp_ca must be an absolute path"),
    ],
)
def test_wrong_settings_of_time_stamps_are_refused(wrong: dict[str, Any], sentence: str) -> None:
    (problem,) = plan(MAIN, **{**TIME, **wrong})["problems"]
    assert problem.startswith(sentence)


def test_units_follow_schedules_and_policies() -> None:
    kinds = ["collect", "verify", "reconcile", "reconcile-full"]
    assert list(plan(MAIN)["schedules"]) == kinds
    assert list(plan(MAIN, verify_schedule="", reconcile_schedule="")["schedules"]) == ["collect", "reconcile-full"]
    assert list(plan({**MAIN, "compact_older_than": "7d"})["schedules"]) == [*kinds, "maintenance"]
    assert plan(MAIN, state="absent")["timers"] == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"name": 2026}, "2026: the name must have only lower-case letters"),
        ({"name": "Main"}, "Main: the name must have only lower-case letters"),
        ({"token": ""}, "main: set exactly one of token and token_file"),
        ({"token_file": "/etc/token"}, "main: set exactly one of token and token_file"),
        ({"path": "srv"}, "main: the path must be absolute"),
        ({"path": "/srv/a b"}, "main: the path must be absolute"),
        ({"path": "//root/x"}, "main: path is below /home, /root"),
        ({"path": "s3://Audit"}, "main: the path is not a valid address in a bucket; use s3://BUCKET/PREFIX"),
        (
            {"path": "s3://audit/main"},
            "main: a project with its path in a bucket requires s3_access_key and s3_secret_key, or",
        ),
        ({"s3_access_key": "a", "s3_secret_key": "b"}, "s3_credentials_file; no other project can have them"),
        (
            {**BUCKET, "name": "main", "s3_secret_key": "two words"},
            "must have only printable characters without spaces",
        ),
        ({"every": "sometimes"}, "main: every: 'sometimes' is not a valid duration"),
        ({"retention": "long"}, "main: retention: "),
    ],
)
def test_a_wrong_project_is_refused(wrong: dict[str, Any], sentence: str) -> None:
    problems = plan({**MAIN, **wrong})["problems"]
    assert any(sentence in problem for problem in problems), problems
    assert "secret-of" not in str(problems)


def test_projects_that_share_a_name_or_a_path_are_refused() -> None:
    problems = plan(MAIN, {**MAIN, "path": "/srv/other"}, {"name": "third", "token": "t", "path": "/srv/other"})[
        "problems"
    ]
    assert problems == [
        "two projects have the name main; give each project its own name",
        "two projects have the path /srv/other; give each project its own path",
    ]
    assert plan()["problems"] == ["archiver_projects is empty; add projects, or set archiver_state to absent"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": '1h"\nExecStart=/bin/true'},
        {"schedule": "daily%n"},
        {"environment": {"HTTPS_PROXY": 'http://proxy" "A=b'}},
        {"metrics_dir": "/home/metrics"},
        {"metrics_dir": "metrics"},
    ],
)
def test_what_would_mean_something_else_in_a_unit_is_refused(wrong: dict[str, Any]) -> None:
    assert len(plan(MAIN, **wrong)["problems"]) == 1


KEYS = [f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA{letter * 20}" for letter in "ABCD"]


def line(host: str, key: str, more: str = "") -> str:
    return f'{host} {more}namespaces="cloudscale-audit-head" {key}'


def hosts(**printed: list[str]) -> dict[str, Any]:
    return {name: {"archiver_keys": {"stdout_lines": lines}} for name, lines in printed.items()}


def test_every_host_accepts_the_keys_of_all_hosts_and_keeps_those_of_departed_ones() -> None:
    others = hosts(one=["changed", f"public {KEYS[0]} one"], two=[f"public {KEYS[1]} two"])
    others["away"] = {}
    printed = [f"public {KEYS[0]} one", "signer # kept by hand", f"signer {line('gone', KEYS[2])}"]
    given = [line("laptop", KEYS[3])]
    accepted = archiver_signers(printed, ["one", "two", "away"], others, given)
    assert accepted == [line("gone", KEYS[2]), line("laptop", KEYS[3]), line("one", KEYS[0]), line("two", KEYS[1])]
    again = [*printed[:1], *(f"signer {one}" for one in accepted)]
    assert archiver_signers(again, ["one", "two", "away"], others, given) == accepted


def test_a_key_that_its_host_replaces_is_closed_and_never_removed() -> None:
    printed = [f"public {KEYS[0]}", f"next {KEYS[1]}", f"signer {line('one', KEYS[0])}"]
    rotated = archiver_signers(printed, ["one"], hosts(one=printed), now="2026-11-29T08:00:00+00:00")
    closed = line("one", KEYS[0], 'valid-before="20261201",')
    assert rotated == [closed, line("one", KEYS[1])]
    later = [f"public {KEYS[1]}", *(f"signer {one}" for one in rotated)]
    assert archiver_signers(later, ["one"], hosts(one=later), now="2027-01-01T00:00:00+00:00") == rotated
    by_hand = line("one", KEYS[0], 'valid-before="20261129",')
    assert archiver_signers(later, ["one"], hosts(one=later), [by_hand]) == [by_hand, line("one", KEYS[1])]


def test_a_replaced_key_is_closed_also_under_an_earlier_name_of_its_host() -> None:
    printed = [f"public {KEYS[0]}", f"next {KEYS[1]}", f"signer {line('before', KEYS[0])}"]
    rotated = archiver_signers(printed, ["one"], hosts(one=printed), now="2026-11-29T08:00:00+00:00")
    assert rotated == [line("before", KEYS[0], 'valid-before="20261201",'), line("one", KEYS[1])]


def test_a_closed_line_is_one_that_ssh_keygen_reads(tmp_path: Path) -> None:
    for name in ("old", "new"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    old, new = ((tmp_path / f"{name}.pub").read_text().strip() for name in ("old", "new"))
    printed = [f"public {old}", f"next {new}", f"signer {line('one', ' '.join(old.split()[:2]))}"]
    rotated = archiver_signers(printed, ["one"], hosts(one=printed), now="2026-11-29T08:00:00+00:00")
    (tmp_path / "signers").write_text("\n".join(rotated) + "\n")
    (tmp_path / "head").write_text("head\n")
    sign = ["ssh-keygen", "-q", "-Y", "sign", "-n", "cloudscale-audit-head", "-f", tmp_path / "old", tmp_path / "head"]
    subprocess.run(sign, check=True, capture_output=True)

    def is_accepted(moment: str) -> bool:
        verify = ["ssh-keygen", "-Y", "verify", "-n", "cloudscale-audit-head", "-f", tmp_path / "signers", "-I", "one"]
        signature = ["-s", tmp_path / "head.sig", f"-Overify-time={moment}"]
        environment = {**os.environ, "TZ": "UTC"}
        with open(tmp_path / "head", "rb") as head:
            done = subprocess.run([*verify, *signature], stdin=head, env=environment, capture_output=True, check=False)
        return done.returncode == 0

    assert is_accepted("20261130120000")
    assert not is_accepted("20261202000000")


def test_a_new_key_is_refused_while_a_host_of_the_same_archive_is_not_there_to_learn_it() -> None:
    everybody = {"two": {"archiver_projects": [BUCKET]}, "three": {"archiver_projects": [MAIN]}, "four": {}}
    printed = [f"public {KEYS[0]} one"]
    assert archiver_hosts_missing_key(printed, [BUCKET["path"]], list(everybody), everybody) == ["two"]
    known = [*printed, f"signer {line('one', KEYS[0])}"]
    assert archiver_hosts_missing_key(known, [BUCKET["path"]], list(everybody), everybody) == []


def test_the_doctor_names_each_project_with_what_is_wrong() -> None:
    failed = {"name": "space", "failed": True, "detail": "No room."}
    fine = {"name": "clock", "failed": False, "detail": "right"}
    archives = [
        {"name": "main", "checks": [fine], "exit_status": 0},
        {"name": "other", "checks": [fine, failed], "exit_status": 4},
        {"name": "third", "msg": "No token for third.", "exit_status": 2},
    ]
    told = archiver_failures({"rc": 4, "stdout": json.dumps({"archives": archives})})
    assert told == ["other cannot be collected: space: No room.", "third cannot be collected: No token for third."]
    assert archiver_failures({"rc": 0, "stdout": ""}) == archiver_failures({"skipped": True}) == []
    assert archiver_failures({"rc": 1, "stdout": "", "stderr": "no such unit"}) == ["no such unit"]
    assert archiver_failures({"rc": 255, "stdout": "", "stderr": ""}) == [
        "The doctor ended with status 255 and no output; see the journal of the host."
    ]


def imported_files(file: Path, known: set[Path]) -> set[Path]:
    """The files that a file imports, directly and indirectly, also inside functions, and the ``known`` files."""
    if file in known or not file.exists():
        return known
    known.add(file)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            place = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for candidate in (place, *(place / name.name for name in node.names)):
                imported_files(candidate.with_suffix(".py"), known)
    return known


def test_the_program_holds_what_the_command_needs() -> None:
    known: set[Path] = set()
    for file in (ROOT / "plugins/module_utils/cli").rglob("*.py"):
        imported_files(file, known)
    packages = {file.parent / "__init__.py" for file in known}
    assert {file.resolve() for file in known | packages} <= set(core_files())


def write_program(path: Path) -> None:
    path.write_bytes(build_program(sys.executable))
    path.chmod(0o755)


def test_the_program_is_one_file_that_runs_by_itself(tmp_path: Path) -> None:
    command = tmp_path / "program"
    write_program(command)
    done = subprocess.run([command, "--version"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{version.VERSION}\n", "")
    assert (
        subprocess.run([command, "status", "nowhere"], cwd=tmp_path, capture_output=True, check=False).returncode == 4
    )
    assert build_program(sys.executable) == build_program(sys.executable)


def test_a_run_loads_all_of_it_from_the_version_it_began_with(tmp_path: Path) -> None:
    write_program(tmp_path / "one")
    with zipfile.ZipFile(tmp_path / "two", "w"):
        pass
    link = str(tmp_path / "current")
    os.symlink("one", link)
    main = zipfile.ZipFile(tmp_path / "one").read("__main__.py").decode()
    switched = main.split("from ")[0].replace("import sys\n", f"import sys\nsys.path.insert(0, {link!r})\n")
    switched += f"""
from {PACKAGE} import version
os.remove({link!r})
os.symlink("two", {link!r})
from {PACKAGE}.cli import main
print(version.VERSION)
"""
    done = subprocess.run([sys.executable, "-IBc", switched], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{version.VERSION}\n", "")


def script(name: str, tmp_path: Path, **places: str) -> list[str]:
    """A script of the role, with other places than those of a host."""
    text = (ROLE / "files" / name).read_text()
    for constant, value in places.items():
        text = re.sub(rf'^{constant} = "[^"]*"', f"{constant} = {value!r}", text, flags=re.MULTILINE)
    (tmp_path / name).write_text(text)
    return [sys.executable, str(tmp_path / name)]


def remember(state: Path, name: str, **runs: Any) -> None:
    (state / name).mkdir(parents=True, exist_ok=True)
    (state / name / "state.json").write_text(json.dumps({"path": "/", "runs": runs}))


@pytest.mark.parametrize(("statuses", "worst"), [((0, 0), 0), ((5, 3), 5), ((0, 6), 6), ((3, 4), 4), ((2, 70), 70)])
def test_commands_run_one_after_the_other_and_the_worst_status_counts(
    tmp_path: Path, statuses: tuple[int, int], worst: int
) -> None:
    command = tmp_path / "command"
    command.write_text('#!/bin/sh\necho "$@"\nexit $2\n')
    command.chmod(0o755)
    run = script("run-each", tmp_path, COMMAND=str(command))
    first, second = statuses
    done = subprocess.run(
        [*run, "--", "collect", str(first), "--", "journal", str(second)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (worst, f"collect {first}\njournal {second}\n")


def test_only_projects_with_a_good_run_are_pinged_and_no_url_is_printed(tmp_path: Path) -> None:
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        urls = {name: f"http://127.0.0.1:{server.server_port}/{name}" for name in ("good", "failed", "idle")}
        wrong = {
            f"wrong{number}": url for number, url in enumerate(("http://127.0.0.1:secret/", "http://a secret", "x"))
        }
        (tmp_path / "pings.json").write_text(json.dumps({**urls, **wrong}))
        command = tmp_path / "command"
        good = json.dumps({"runs": {"collect": {"succeeded": "2999-01-01T00:00:00.500000Z"}}})
        writes = "\n".join(f"echo '{good}' > {tmp_path}/{name}/state.json" for name in ("good", *wrong))
        command.write_text(f"#!/bin/sh\n{writes}\nexit 3\n")
        command.chmod(0o755)
        for name in ("good", "failed", *wrong):
            (tmp_path / name).mkdir()
        remember(tmp_path, "idle", collect={"succeeded": "2026-01-01T00:00:00Z"})
        run = script("run-each", tmp_path, COMMAND=str(command), STATE=str(tmp_path))
        environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path)}
        done = subprocess.run(
            [*run, "--ping", "--", "collect"], env=environment, capture_output=True, text=True, check=False
        )
        server.shutdown()
    assert (done.returncode, asked) == (3, ["/good"])
    assert sorted(done.stderr.splitlines()) == [f"{name}: the ping failed" for name in wrong]


def test_the_hook_is_called_once_for_each_change(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (tmp_path / "projects.json").write_text(json.dumps({"projects": [{"name": "main"}, {"name": "other"}]}))
    hook = tmp_path / "hook"
    hook.write_text(
        '#!/bin/sh\necho "$1|$CLOUDSCALE_AUDIT_UNIT|$CLOUDSCALE_AUDIT_PROJECT|$CLOUDSCALE_AUDIT_STATE|'
        '$CLOUDSCALE_AUDIT_MESSAGE"\n[ ! -e broken ]\n'
    )
    hook.chmod(0o755)
    systemctl = tmp_path / "systemctl"
    systemctl.write_text('#!/bin/sh\necho "Result=$(cat result 2>/dev/null || echo success)"\n')
    systemctl.chmod(0o755)
    run = script("report-failures", tmp_path, STATE=str(state), PROJECTS=str(tmp_path / "projects.json"))
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def run_hook(kind: str = "collect") -> list[str]:
        done = subprocess.run(
            [*run, kind, str(hook), "x"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, check=False
        )
        return done.stdout.splitlines()

    unit = "cloudscale-audit-collect.service"
    good, bad = {"exit_status": 0}, {"exit_status": 3, "failure": {"msg": "No connection."}}
    remember(state, "main", collect=good)
    assert run_hook() == []
    remember(state, "main", collect=bad)
    (tmp_path / "broken").touch()
    assert run_hook() == [f"x|{unit}|main|failed|No connection."]
    (tmp_path / "broken").unlink()
    assert run_hook() == [f"x|{unit}|main|failed|No connection."]
    assert run_hook() == []
    remember(state, "other", collect={"exit_status": 5})
    assert run_hook() == [f"x|{unit}|other|failed|collect ended with status 5; see journalctl --unit={unit}"]
    remember(state, "main", collect=good)
    remember(state, "other", collect=good)
    assert [told.split("|")[2:4] for told in run_hook()] == [["main", "recovered"], ["other", "recovered"]]
    (tmp_path / "result").write_text("exit-code")
    assert run_hook() == [f"x|{unit}||failed|The unit failed; see journalctl --unit={unit}"]
    (tmp_path / "result").write_text("success")
    assert [told.split("|")[2:4] for told in run_hook()] == [["", "recovered"]]


def test_a_key_is_made_once_and_the_next_one_takes_its_place(tmp_path: Path) -> None:
    text = (ROLE / "files/keys.sh").read_text().replace(CONFIG, str(tmp_path))

    def keys(verb: str) -> list[str]:
        done = subprocess.run(["sh", "-s", verb, "one"], input=text, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert keys("show") == []
    made = keys("create")
    assert [one.split()[0] for one in made] == ["changed", "public"]
    assert keys("create") == keys("show") == made[1:]
    prepared = keys("prepare")
    assert [one.split()[0] for one in prepared] == ["changed", "public", "next"]
    assert keys("switch") == ["changed", prepared[2].replace("next ", "public ")]
    assert keys("switch") == keys("show")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sign_key"]
    assert (tmp_path / "sign_key").stat().st_mode & 0o777 == 0o600
