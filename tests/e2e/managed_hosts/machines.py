# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts with a systemd of their own, on a network that only this test run can reach."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = HERE.parents[2] / ".work"
GATEWAY = "10.77.0.1"
_NEW_NETWORK = 0x40000000
# Control groups of version 2 are mounted next to those of version 1, or alone.
_GROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))

_PACKAGES = (
    "systemd,systemd-sysv,dbus,openssh-server,python3,python3-apt,sudo,iproute2,ca-certificates,udev,libpam-systemd"
)
# Left in the tree's cache, so that a host without the internet can install them: either of two loggers.
_LATER = (
    "python3-requests python3-boto3 acl rsyslog rsyslog-gnutls prometheus-node-exporter",
    "syslog-ng-core",
    "python3-venv default-jre-headless",
)
_DOWNLOADS = [f'chroot "$1" apt-get install --download-only --yes --no-install-recommends {one}' for one in _LATER]


def run(*command: str | Path, **options: object) -> str:
    """Run a command that must succeed, and return what it prints."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise RuntimeError(f"{shlex.join(map(str, command))}: {done.stdout}{done.stderr}")
    return str(done.stdout)


def wait_for(happened: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Ask again and again until it happened."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def tree(suite: str) -> Path:
    """A tar of a minimal Debian, made once from the mirrors that this machine's own apt uses."""
    mirror, security = _mirrors()
    sources = f"deb {mirror} {suite} main\ndeb {mirror} {suite}-updates main\ndeb {security} {suite}-security main\n"
    recipe = hashlib.sha256(f"{sources}{_PACKAGES}{_DOWNLOADS}".encode()).hexdigest()[:12]
    kept = WORK / "trees" / f"{suite}-{recipe}.tar"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_suffix(".draft.tar")
        options = ["--variant=minbase", "--skip=cleanup/apt", f"--include={_PACKAGES}"]
        hooks = [f"--customize-hook={download}" for download in _DOWNLOADS]
        run("mmdebstrap", *options, *hooks, suite, draft, "-", input=sources)
        draft.rename(kept)
    return kept


def plain_tree(suite: str, packages: str) -> Path:
    """A tar of a minimal Debian with these packages, to change the root directory to; made once, too."""
    mirror, _security = _mirrors()
    source = f"deb {mirror} {suite} main\n"
    kept = WORK / "trees" / f"{suite}-{hashlib.sha256(f'{source}{packages}'.encode()).hexdigest()[:12]}.tar"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_suffix(".draft.tar")
        # The index of a testing release can be past its Valid-Until date.
        options = ["--variant=minbase", f"--include={packages}", "--aptopt=Acquire::Check-Valid-Until false"]
        run("mmdebstrap", "--quiet", *options, suite, draft, "-", input=source)
        draft.rename(kept)
    return kept


def wheels(python: str) -> Path:
    """A directory with what the environment eda has on this Python, fetched once, with the pinned hashes."""
    pins = WORK.parent / "tests/requirements/eda.txt"
    kept = WORK / "wheels" / f"{python}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    if not kept.exists():
        draft = kept.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        options = ("--quiet", "--only-binary=:all:", "--no-deps", "--python-version", python)
        run(WORK / "boot/bin/pip", "download", *options, "--dest", draft, "--requirement", pins)
        draft.rename(kept)
    return kept


def _mirrors() -> tuple[str, str]:
    """The archive's and the security archive's address, of this machine's apt."""
    addresses = [line.split()[0] for line in run("apt-get", "indextargets", "--format", "$(SITE)").splitlines() if line]
    security = next((address for address in addresses if "security" in address), None)
    mirror = next((address for address in addresses if address.rstrip("/").endswith("/debian")), None)
    if mirror is None or security is None:
        raise RuntimeError("this machine's apt has no Debian mirror to make trees from")
    return mirror, security


@contextmanager
def own_network() -> Iterator[None]:
    """Move this thread, and what it starts, into a network with nothing but a bridge for the hosts."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if libc.unshare(_NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "unshare")
    try:
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "hosts", "type", "bridge")
        run("ip", "address", "add", f"{GATEWAY}/24", "dev", "hosts")
        run("ip", "link", "set", "hosts", "up")
        yield
    finally:
        libc.setns(before, _NEW_NETWORK)
        os.close(before)


class Machine:
    """A host that was booted: it runs until the context ends."""

    # Each host of a test run has a directory, a network and an address of its own.
    _numbers = count(1)

    def __init__(self, root: Path, key: Path) -> None:
        number = next(self._numbers)
        self.name = f"archiver-{os.getpid()}-{number}"
        self.address = f"10.77.0.{10 + number}"
        self._directory, self._root, self._key = root.parent / self.name, root, key
        self._link = f"host{number}"

    def __enter__(self) -> Machine:
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "link", "set", self._link, "master", "hosts", "up")
        inside = ("ip", "-n", self.name)
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "address", "add", f"{self.address}/24", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        command = ["unshare", "--mount", "--propagation", "private", str(HERE / "boot.sh")]
        self._directory.mkdir()
        with open(f"{self._directory}.log", "wb") as log:
            self._process = subprocess.Popen(
                [*command, self.name, str(self._root), str(self._directory), self.name],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        wait_for(self._is_up, f"{self.name} is up, see {self._directory}.log")
        return self

    def __exit__(self, *_error: object) -> None:
        with suppress(OSError):
            (self._group / "cgroup.kill").write_text("1")
        self._process.kill()
        self._process.communicate()
        wait_for(lambda: _removed(self._group), f"the control group of {self.name} is gone")
        run("ip", "netns", "delete", self.name)

    def kill(self) -> None:
        """End every process on the host at the same moment, and boot it again from what is on its disk."""
        payload = self._group / "payload"
        (payload / "cgroup.kill").write_text("1")
        # The kernel would kill what the next boot starts in control groups that are left.
        wait_for(lambda: _removed(payload), f"{self.name} has ended")
        if self._process.stdin is None:
            raise RuntimeError(f"{self.name} was not booted")
        self._process.stdin.write(b"again\n")
        self._process.stdin.flush()
        wait_for(self._is_up, f"{self.name} is up again, see {self._directory}.log")

    @property
    def _group(self) -> Path:
        return next(root for root in _GROUPS if root.is_dir()) / self.name

    @property
    def ssh_options(self) -> str:
        return f"-i {self._key} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"

    def try_(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command on the host as root."""
        ssh = ["ssh", *self.ssh_options.split(), "-o", "ConnectTimeout=2", f"root@{self.address}", command]
        return subprocess.run(ssh, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL, check=False)

    def output_of(self, command: str) -> str:
        """Run a shell command that must succeed, and return what it prints."""
        done = self.try_(command)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def exposure(self, unit: str) -> float:
        """How much of this machine a unit could reach, as systemd rates it: from 0, nothing, to 10."""
        printed = self.output_of(f"systemd-analyze security --no-pager {unit}")
        print(printed.splitlines()[-1])
        return float(re.findall(r"exposure level for .*: ([0-9.]+)", printed)[-1])

    def send(self, path: str, to: Path) -> None:
        """Copy a file of the host to this machine."""
        run("scp", *self.ssh_options.split(), f"root@{self.address}:{path}", to)

    def receive(self, file: Path, path: str) -> None:
        """Copy a file of this machine to the host."""
        run("scp", *self.ssh_options.split(), file, f"root@{self.address}:{path}")

    def _is_up(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} ended: {Path(f'{self._directory}.log').read_text()}")
        return self.try_("systemctl is-system-running --wait").stdout.strip() in ("running", "degraded")


def _removed(group: Path) -> bool:
    """Remove what is empty of this control group; whether all of it is gone."""
    for directory in (*sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True), group):
        with suppress(OSError):
            directory.rmdir()
    return not group.exists()


def prepared_root(suite: str, directory: Path, key: Path) -> Path:
    """The tree unpacked, reachable over SSH by this key."""
    root = directory / "tree"
    root.mkdir()
    run("tar", "--extract", "--file", tree(suite), "--directory", root)
    ssh = root / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(f"{key}.pub", ssh / "authorized_keys")
    (root / "etc/hostname").write_text("archiver\n")
    (root / "etc/machine-id").write_text("")
    (root / "etc/ssh/sshd_config.d/test.conf").write_text("PermitRootLogin prohibit-password\nUseDNS no\n")
    # The package lists were fetched with the tree; the host has no mirror to fetch them again.
    os.utime(root / "var/lib/apt/lists")
    return root
