# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of an archiver of three projects, from the first check mode to its removal: each test continues the last."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.conftest import CA, Deployment
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.machines import GATEWAY, Machine, wait_for
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.authority import TimeAuthority

NAMES = ("main", "other", "third")
PATHS = {
    "main": "/srv/audit/main",
    "other": "/var/lib/cloudscale-audit/other/archive",
    "third": "/var/lib/cloudscale-audit/third/archive",
}
SERVICE = "cloudscale-audit-collect.service"
TIMER = "cloudscale-audit-collect.timer"
SECRETS = "/etc/cloudscale-audit"
# All that can change on the host, with its times.
FILES = "find /etc /usr/local /srv /var/lib -xdev -newermt 1970-01-01 -printf '%p %m %u %T@\\n' | sort"


# Takes webhooks on the host itself, and keeps what they said.
CHAT = """\
#!/usr/bin/python3
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Authorization"] == "Bearer secret-of-webhook"
        with open("/var/tmp/chat", "ab") as file:
            file.write(body + b"\\n")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_arguments):
        pass


HTTPServer(("127.0.0.1", 8099), Handler).serve_forever()
"""


def project(simulator: Simulator, name: str = "main", **options: Any) -> dict[str, Any]:
    token = simulator.project(name).token
    wanted = {"name": name, "token": token, "api_url": simulator.url, "ca_path": CA, **options}
    return {**wanted, "path": PATHS["main"]} if name == "main" and "path" not in options else wanted


def projects(simulator: Simulator, **changed: dict[str, Any]) -> list[dict[str, Any]]:
    return [project(simulator, name, **changed.get(name, {})) for name in NAMES]


def kept(machine: Machine, name: str = "main") -> list[Any]:
    return [json.loads(line) for line in machine.output_of(f"cloudscale-audit cat {PATHS[name]}").splitlines()]


def collect(machine: Machine) -> int:
    return machine.try_(f"systemctl start {SERVICE}").returncode


def journal(machine: Machine) -> str:
    return machine.output_of("journalctl --no-pager --output=cat -t cloudscale-audit")


@pytest.fixture(scope="module", autouse=True)
def at_the_start(machine: Machine, simulator: Simulator, deployment: Deployment) -> None:
    for name in NAMES[1:]:
        simulator.add_project(name)
    for name in NAMES:
        for number in range(7):
            simulator.project(name).log.append(action="server_create", message=f"{name} {number}")
    deployment.variables["archiver_projects"] = projects(simulator)


def test_a_host_with_an_old_python_is_refused_before_anything_changes(machine: Machine, deployment: Deployment) -> None:
    found = {"python": [3, 8], "systemd": 252, "booted": True}
    machine.output_of(
        f"cat > /root/old <<'END'\n#!/bin/sh\ncat > /dev/null; echo '{json.dumps(found)}'\nEND\nchmod +x /root/old"
    )
    before = machine.output_of(FILES)
    assert deployment.attempt(archiver_python="/root/old").returncode != 0
    assert "needs a running systemd 249 or later, and Python 3.9" in deployment.output
    assert "Python 3.8" in deployment.output
    assert deployment.attempt(archiver_python="/usr/bin/none").returncode != 0
    assert "needs a running systemd 249 or later, and Python 3.9" in deployment.output
    assert machine.output_of(FILES) == before


def test_wrong_variables_are_refused_before_anything_changes(
    machine: Machine, simulator: Simulator, deployment: Deployment
) -> None:
    before = machine.output_of(FILES)
    wrong = [
        {**project(simulator), "name": "Main"},
        project(simulator, token_file="/etc/hostname"),
        project(simulator, "other", path="srv", every="sometimes"),
        project(simulator, "third", path="/home/third"),
    ]
    assert deployment.attempt(archiver_projects=wrong, archiver_timeout='1h"\nExecStart=/bin/true').returncode != 0
    for sentence in (
        "Main: the name must have only lower-case letters, digits, - and _",
        "main: set exactly one of token and token_file",
        "other: the path must be absolute",
        "'sometimes' is not a valid duration",
        "third: path is below /home",
        "archiver_timeout must not contain quotes",
    ):
        assert sentence in deployment.output
    assert deployment.attempt(archiver_projects=[]).returncode != 0
    assert "archiver_projects is empty; add projects, or set archiver_state to absent" in deployment.output
    missing = project(simulator, token="", token_file="/root/none")
    assert deployment.attempt(archiver_projects=[missing], archiver_schedule="every now and then").returncode != 0
    for sentence in (
        "systemd rejects these schedules (OnCalendar=); correct the variables: every now and then.",
        "These files with secrets are missing on the host; create them first: /root/none.",
    ):
        assert sentence in deployment.output
    assert machine.output_of(FILES) == before


def test_check_mode_on_a_fresh_host_shows_what_would_change_and_changes_nothing(
    machine: Machine, simulator: Simulator, deployment: Deployment
) -> None:
    before = machine.output_of(FILES)
    recap = deployment.play("--check", "--diff")
    assert recap["changed"] > 10
    assert "+ProtectSystem=strict" in deployment.output
    assert simulator.project("main").token not in deployment.output
    assert machine.output_of(FILES) == before


def test_the_second_run_changes_nothing(machine: Machine, simulator: Simulator, deployment: Deployment) -> None:
    assert deployment.play("--diff", "-vvv")["changed"] > 10
    assert not [name for name in NAMES if simulator.project(name).token in deployment.output]
    assert machine.output_of(f"systemctl is-active {TIMER}") == "active\n"
    assert deployment.play("--diff")["changed"] == 0, deployment.output
    assert deployment.play("--check", "--diff")["changed"] == 0, deployment.output
    verified = machine.output_of("systemd-analyze verify /etc/systemd/system/cloudscale-audit-*.timer 2>&1")
    assert "cloudscale" not in verified, verified


def test_one_run_archives_all_projects(machine: Machine, simulator: Simulator) -> None:
    assert collect(machine) == 0, journal(machine)
    for name, path in PATHS.items():
        assert kept(machine, name) == simulator.project(name).log.entries
        assert machine.output_of(f"stat -c '%a %U' {path}") == "750 cloudscale-audit\n"
        assert "sha256" in machine.output_of(f"cat /var/lib/cloudscale-audit/{name}/pin.json")
        assert f"{name}: State: current." in journal(machine)
    assert machine.output_of(f"stat -c '%n %a %U' {SECRETS}/*").splitlines() == [
        f"{SECRETS}/allowed_signers 644 root",
        f"{SECRETS}/projects.json 644 root",
        f"{SECRETS}/sign_key 600 root",
        f"{SECRETS}/tokens.json 600 root",
    ]
    rows = [row.split()[:2] for row in machine.output_of("cloudscale-audit status").splitlines()]
    assert rows == [["Project", "State"], *([name, "current"] for name in NAMES)]


def test_its_commits_are_signed(machine: Machine) -> None:
    for path in PATHS.values():
        printed = machine.output_of(f"cloudscale-audit verify {path} --allowed-signers {SECRETS}/allowed_signers")
        assert printed.startswith("Intact: ")
        assert "signed" in printed.lower()


@pytest.mark.parametrize("kind", ["collect", "verify", "reconcile", "reconcile-full"])
def test_each_service_runs_and_is_confined(machine: Machine, kind: str) -> None:
    machine.output_of(f"systemctl start cloudscale-audit-{kind}.service")
    assert machine.exposure(f"cloudscale-audit-{kind}.service") <= 1.5


def test_the_timer_fires_and_entries_arrive(machine: Machine, simulator: Simulator, deployment: Deployment) -> None:
    simulator.project("main").log.append(action="server_stop", message="by the timer")
    assert deployment.play(archiver_schedule="*:*:0/2")["changed"] == 1, deployment.output
    wait_for(lambda: kept(machine)[-1]["message"] == "by the timer", "the timer has fired")
    assert deployment.play(archiver_enabled=False)["changed"] > 0
    assert machine.try_(f"systemctl is-active {TIMER}").stdout == "inactive\n"
    deployment.play()
    assert machine.output_of(f"systemctl is-active {TIMER}") == "active\n"


def test_a_token_is_only_in_the_file_of_tokens(machine: Machine, simulator: Simulator) -> None:
    assert collect(machine) == 0
    token = simulator.project("main").token
    script = f"""
    grep -rlF {token} /etc /usr/local /srv /var/lib /var/log /tmp /var/tmp 2>/dev/null
    journalctl --no-pager | grep -cF {token}
    systemctl show {SERVICE} | grep -cF {token}
    cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -cF {token}
    """
    # The shell of this very command has the token in its arguments, so ps is looked at from a file.
    machine.output_of(f"umask 077; cat > /root/look <<'END'\n{script}\nEND")
    assert machine.try_("sh /root/look; rm /root/look").stdout.split() == [f"{SECRETS}/tokens.json", "0", "0", "0"]


def test_the_token_is_not_seen_in_a_running_process(machine: Machine, simulator: Simulator) -> None:
    token = simulator.project("main").token
    simulator.set(latency=3.0)
    try:
        machine.output_of(f"systemctl start --no-block {SERVICE}")
        wait_for(lambda: "cloudscale-audit collect" in machine.output_of("ps -eo args ww"), "the run is to be seen")
        assert token not in machine.output_of("ps -eo args ww; ps eww -e")
    finally:
        simulator.set(latency=0.0)
    wait_for(lambda: machine.try_(f"systemctl is-active {SERVICE}").stdout == "inactive\n", "the run has ended")


def test_a_new_token_is_used_by_the_next_run(machine: Machine, simulator: Simulator, deployment: Deployment) -> None:
    simulator.project("main").rotate_token()
    simulator.project("main").log.append(action="server_stop", message="with a new token")
    simulator.project("other").log.append(action="server_stop", message="next to a bad token")
    assert collect(machine) != 0
    assert kept(machine, "other") == simulator.project("other").log.entries
    deployment.variables["archiver_projects"] = projects(simulator)
    assert deployment.play("--diff")["changed"] == 1, deployment.output
    assert simulator.project("main").token not in deployment.output
    assert collect(machine) == 0
    assert kept(machine) == simulator.project("main").log.entries


def test_a_bad_project_is_named_at_the_end_and_does_not_hold_up_the_others(
    machine: Machine, simulator: Simulator, deployment: Deployment
) -> None:
    machine.output_of(f"systemctl disable --now {TIMER}")
    wrong = projects(simulator, third={"token": "a-token-that-was-revoked-0123456789"})
    assert deployment.attempt(archiver_projects=wrong).returncode != 0
    printed = re.search(r'"msg": "(.*)"', deployment.output)
    assert printed
    api = f"api: {GATEWAY}:{simulator.port} does not accept the token (HTTP 401)"
    assert printed[1] == f"third cannot be collected: {api}; check the entry third of tokens.json and its project."
    assert "a-token-that-was-revoked" not in deployment.output
    assert machine.output_of(f"systemctl is-active {TIMER}") == "active\n"
    simulator.project("main").log.append(action="server_stop", message="while another token is bad")
    assert collect(machine) != 0
    assert kept(machine) == simulator.project("main").log.entries
    deployment.play()


def test_a_hook_is_called_on_a_change_and_on_recovery(
    machine: Machine, simulator: Simulator, deployment: Deployment
) -> None:
    machine.output_of(
        "cat > /usr/local/bin/hook <<'END'\n#!/bin/sh\n"
        'told="$CLOUDSCALE_AUDIT_UNIT|$CLOUDSCALE_AUDIT_PROJECT|$CLOUDSCALE_AUDIT_STATE|$CLOUDSCALE_AUDIT_MESSAGE"\n'
        'echo "hook: $told"\n'
        "END\nchmod +x /usr/local/bin/hook"
    )
    deployment.play(archiver_failure_command="/usr/local/bin/hook")

    def heard() -> list[str]:
        return [line for line in journal(machine).splitlines() if line.startswith("hook: ")]

    def settle() -> None:
        unit = "cloudscale-audit-failed@collect.service"
        wait_for(lambda: machine.try_(f"systemctl is-active {unit}").stdout == "inactive\n", "the hook has ended")

    simulator.project("other").rotate_token()
    for _again in range(2):
        assert collect(machine) != 0
        settle()
    assert len(heard()) == 1, heard()
    assert heard()[0].startswith(f"hook: {SERVICE}|other|failed|{GATEWAY}:{simulator.port} does not accept the token")
    deployment.variables["archiver_projects"] = projects(simulator)
    deployment.play(archiver_failure_command="/usr/local/bin/hook")
    for _again in range(2):
        assert collect(machine) == 0
        settle()
    assert [line.split("|")[1:3] for line in heard()] == [["other", "failed"], ["other", "recovered"]]
    machine.output_of("mv /etc/cloudscale-audit/tokens.json /root/")
    assert collect(machine) != 0
    settle()
    assert [line.split("|")[1:3] for line in heard()][2:] == [["", "failed"]]
    machine.output_of("mv /root/tokens.json /etc/cloudscale-audit/")
    assert collect(machine) == 0
    deployment.play()
    assert machine.try_("ls /etc/systemd/system/cloudscale-audit-failed@.service").returncode != 0


def test_a_deletion_reaches_the_chat_and_the_journal(
    machine: Machine, simulator: Simulator, deployment: Deployment
) -> None:
    machine.output_of(f"cat > /usr/local/bin/chat <<'END'\n{CHAT}END\nchmod +x /usr/local/bin/chat")
    start, stop = "systemd-run --quiet --unit=chat /usr/local/bin/chat", "systemctl stop chat"
    webhook = {"url": "http://127.0.0.1:8099/secret-of-chat", "token": "secret-of-webhook"}

    def delete(name: str) -> None:
        simulator.project("main").log.append(action="server_delete", message=f"Server '{name}' has been deleted")

    def heard() -> list[str]:
        lines = machine.output_of("cat /var/tmp/chat").splitlines()
        alerts = [alert for line in lines for alert in json.loads(line)["alerts"]]
        assert len({alert["id"] for alert in alerts}) == len(alerts)
        return [alert["entry"]["message"] for alert in alerts if alert["detection"] == "deletion"]

    machine.output_of(start)
    deployment.play("--diff", "-vvv", archiver_notify=[{"webhook": webhook}, {"journal": True}])
    assert "secret-of" not in deployment.output
    assert collect(machine) == 0
    assert machine.exposure(SERVICE) <= 1.5
    delete("first")
    assert collect(machine) == 0
    assert heard() == ["Server 'first' has been deleted"]
    machine.output_of(stop)
    delete("second")
    assert collect(machine) != 0
    machine.output_of(start)
    delete("third")
    assert collect(machine) == 0
    assert heard() == [f"Server '{name}' has been deleted" for name in ("first", "second", "third")]
    printed = machine.output_of("journalctl --no-pager --output=cat -t cloudscale-audit-alert").splitlines()
    deletions = [json.loads(line) for line in printed if json.loads(line)["detection"] == "deletion"]
    assert [alert["entry"]["message"] for alert in deletions] == heard()
    assert "secret-of" not in machine.output_of(f"journalctl --no-pager; systemctl show {SERVICE}")
    machine.output_of(stop)
    deployment.play()
    assert machine.try_("ls /etc/cloudscale-audit/notify.json").returncode != 0


def test_heads_are_stamped_by_the_confined_service(
    machine: Machine, simulator: Simulator, deployment: Deployment, tmp_path: Path
) -> None:
    trusted, verify = "/etc/ssl/certs/authority.pem", "cloudscale-audit-verify.service"
    with TimeAuthority(tmp_path, host=GATEWAY) as authority:
        machine.output_of(f"cat > {trusted} <<'END'\n{Path(authority.root).read_text()}END")
        options = {"archiver_timestamp_url": authority.url, "archiver_timestamp_ca": trusted}
        deployment.play(**options, archiver_timestamp_required=True)
        assert collect(machine) == 0, journal(machine)
        assert machine.exposure(SERVICE) <= 1.5
        machine.output_of(f"systemctl start {verify}")
        printed = machine.output_of(f"cloudscale-audit verify {PATHS['main']} --timestamp-ca {trusted}")
        assert re.search(r"Commit \d+ existed by ", printed)
        # One a day is enough.
        assert collect(machine) == 0
        assert len(machine.output_of(f"ls {PATHS['main']}/timestamps").split()) == 1
    deployment.play()


def test_a_project_is_added_changed_and_removed(machine: Machine, simulator: Simulator, deployment: Deployment) -> None:
    fourth = simulator.add_project("fourth")
    fourth.log.append(action="server_create", message="of the fourth project")
    machine.output_of(f"umask 077; printf %s {fourth.token} > /root/fourth-token")
    added = {"name": "fourth", "token_file": "/root/fourth-token", "api_url": simulator.url, "ca_path": CA}
    assert deployment.play(archiver_projects=[*projects(simulator), added])["changed"] == 2, deployment.output
    assert collect(machine) == 0
    archive = "/var/lib/cloudscale-audit/fourth/archive"
    assert "of the fourth project" in machine.output_of(f"cloudscale-audit cat {archive}")
    fourth.log.append(action="server_create", message="not due yet")
    rare = {**added, "every": "1d"}
    assert deployment.play(archiver_projects=[*projects(simulator), rare])["changed"] == 1, deployment.output
    assert collect(machine) == 0
    assert "not due yet" not in machine.output_of(f"cloudscale-audit cat {archive}")
    machine.output_of("mv /root/fourth-token /root/gone; rm /var/lib/cloudscale-audit/fourth/state.json")
    simulator.project("main").log.append(action="server_stop", message="while a file with a token is missing")
    assert collect(machine) != 0
    assert kept(machine) == simulator.project("main").log.entries
    deployment.play()
    assert "fourth" not in machine.output_of("cat /etc/systemd/system/cloudscale* /etc/cloudscale-audit/*.json")
    assert machine.output_of(f"ls {archive}/commits")
    assert deployment.play()["changed"] == 0, deployment.output
    assert collect(machine) == 0


def test_a_removed_token_is_deleted_even_if_a_later_task_fails(
    machine: Machine, simulator: Simulator, deployment: Deployment
) -> None:
    removed = simulator.project("third").token
    only = [project(simulator), project(simulator, "other")]
    assert deployment.attempt(archiver_projects=only, archiver_packages=["no-such-package"]).returncode != 0
    assert removed not in machine.output_of(f"cat {SECRETS}/tokens.json")
    deployment.play()


def test_proxies_reach_the_services_and_the_doctor(
    machine: Machine, simulator: Simulator, deployment: Deployment
) -> None:
    proxy = {"HTTPS_PROXY": f"http://{GATEWAY}:9"}
    assert deployment.attempt(archiver_environment=proxy).returncode != 0
    assert "main cannot be collected: api: " in deployment.output
    assert f"HTTPS_PROXY=http://{GATEWAY}:9" in machine.output_of(f"systemctl show --property=Environment {SERVICE}")
    deployment.play()


def test_a_shared_directory_of_metrics_stays_whose_it_is(machine: Machine, deployment: Deployment) -> None:
    # As node_exporter's on Debian: a directory of one user in a directory of another.
    machine.output_of("mkdir -p /srv/of-others/metrics && chown games:games /srv/of-others")
    machine.output_of("chown daemon:daemon /srv/of-others/metrics && chmod 0755 /srv/of-others/metrics")
    deployment.play(archiver_metrics_dir="/srv/of-others/metrics")
    assert collect(machine) == 0
    assert machine.output_of("ls /srv/of-others/metrics").split() == [
        f"cloudscale-audit-collect-{name}.prom" for name in NAMES
    ]
    assert machine.output_of("stat -c '%U %G' /srv/of-others/metrics") == "daemon daemon\n"
    machine.output_of("touch /srv/of-others/metrics/of-others.prom")
    deployment.play()
    assert machine.output_of("ls /srv/of-others/metrics").split() == ["of-others.prom"]
    machine.output_of("mkdir -p /srv/shared && chown root:daemon /srv/shared && chmod 2775 /srv/shared")
    deployment.play(archiver_metrics_dir="/srv/shared", archiver_metrics_group="daemon")
    assert collect(machine) == 0
    assert machine.output_of("stat -c '%a %U %G' /srv/shared") == "2775 root daemon\n"
    assert len(machine.output_of("ls /srv/shared").split()) == len(NAMES)
    deployment.play()


def test_maintenance_runs_by_policy(machine: Machine, simulator: Simulator, deployment: Deployment) -> None:
    unit = "cloudscale-audit-maintenance"
    assert machine.try_(f"systemctl cat {unit}.timer").returncode != 0
    policy = {"archiver_retention": "3y", "archiver_compact_older_than": "1d"}
    deployment.play(**policy)
    assert machine.output_of(f"systemctl is-active {unit}.timer") == "active\n"
    machine.output_of(f"systemctl start {unit}.service")
    assert machine.exposure(f"{unit}.service") <= 1.5
    assert "main: 0 entries" in journal(machine)
    deployment.play()
    assert machine.try_(f"systemctl cat {unit}.timer").returncode != 0


def test_a_program_that_somebody_changed_is_replaced(machine: Machine, deployment: Deployment) -> None:
    program = machine.output_of("readlink -f /usr/local/bin/cloudscale-audit").strip()
    machine.output_of(f"echo >> {program}")
    assert deployment.play("--check")["changed"] == 1
    assert deployment.play("--diff")["changed"] == 1, deployment.output
    assert collect(machine) == 0
    assert deployment.play()["changed"] == 0, deployment.output


def test_removal_keeps_the_archives(machine: Machine, simulator: Simulator, deployment: Deployment) -> None:
    archives = " ".join(PATHS.values())
    before = machine.output_of(f"find {archives} -type f | sort | xargs sha256sum")
    assert deployment.play("--check", archiver_state="absent")["changed"] > 0
    assert machine.output_of(f"systemctl is-active {TIMER}") == "active\n"
    deployment.play(archiver_state="absent")
    assert machine.output_of(f"find {archives} -type f | sort | xargs sha256sum") == before
    places = "/etc/systemd/system/*cloudscale* /usr/local/*/cloudscale* /var/lib/systemd/timers/*cloudscale*"
    assert all("No such file" in line for line in machine.output_of(f"ls -d {places} 2>&1; true").splitlines())
    assert machine.output_of(f"ls {SECRETS}") == "allowed_signers\n"
    assert "cloudscale" not in machine.output_of("systemctl list-units --all --no-legend 'cloudscale-audit*'")
    assert deployment.play(archiver_state="absent")["changed"] == 0, deployment.output
    simulator.project("main").log.append(action="server_stop", message="after a new installation")
    deployment.play()
    assert collect(machine) == 0, journal(machine)
    assert kept(machine) == simulator.project("main").log.entries
    machine.output_of(f"cloudscale-audit verify {PATHS['main']} --allowed-signers {SECRETS}/allowed_signers")
