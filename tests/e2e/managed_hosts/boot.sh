#!/usr/bin/env bash
# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# boot.sh NAME TREE DIRECTORY NAMESPACE: boot a Debian tree with its own systemd, in the foreground.
# The tree is overlaid and stays as it is; a private mount namespace gives the guest a pure view of control groups.
# When the host has ended, a line on stdin boots it again, with the disk as it was left.
set -euo pipefail
name=$1 tree=$2 folder=$3 namespace=$4

mkdir -p /run/systemd/nspawn
mount -t tmpfs tmpfs /run/systemd/nspawn
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$name"
echo $$ > "/sys/fs/cgroup/$name/cgroup.procs"
mkdir -p "$folder"
mount -t tmpfs -o size=2g tmpfs "$folder"
mkdir "$folder"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
while true; do
  systemd-nspawn --quiet --directory="$folder/root" --machine="$name" --boot --register=no --keep-unit \
    --resolv-conf=off --timezone=off --console=pipe --network-namespace-path="/run/netns/$namespace" </dev/null || true
  read -r _again
done
