#!/bin/sh
# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Removes the units, drop-ins, timer stamps, secrets and programs that earlier versions of the role made for each project.
# Archives stay. Pins and bookmarks get their present names.
# Arguments: files to keep that have names like such secrets, but are not written by the role.
set -eu

cd /etc/systemd/system
timers=''
for unit in cloudscale-audit@*.timer cloudscale-audit-verify@*.timer cloudscale-audit-reconcile@*.timer; do
  [ ! -e "$unit" ] || timers="$timers $unit"
done
# shellcheck disable=SC2086 # unit names contain no spaces
[ -z "$timers" ] || systemctl --quiet disable --now $timers
systemctl stop 'cloudscale-audit@*.service' 'cloudscale-audit-verify@*.service' 'cloudscale-audit-reconcile@*.service'
systemctl reset-failed 'cloudscale-audit@*' 'cloudscale-audit-verify@*' 'cloudscale-audit-reconcile@*' || true
rm -rf cloudscale-audit@* cloudscale-audit-verify@* cloudscale-audit-reconcile@*
systemctl daemon-reload
cd /var/lib/systemd/timers
rm -f stamp-cloudscale-audit@* stamp-cloudscale-audit-verify@* stamp-cloudscale-audit-reconcile@*

cd /etc/cloudscale-audit
for file in "$PWD"/*.token "$PWD"/*.s3 "$PWD"/*.sign "$PWD"/*.ping "$PWD"/*.encrypted; do
  case " $* " in
    *" $file "*) continue ;;
  esac
  case ${file##*/} in
    tokens.json.encrypted | pings.json.encrypted | s3.encrypted) ;;
    *) rm -f "$file" ;;
  esac
done

cd /usr/local/lib/cloudscale-audit
rm -rf core core-* current cloudscale-audit ping

cd /var/lib/cloudscale-audit 2>/dev/null || exit 0
for file in */pin */journal; do
  [ ! -f "$file" ] || [ -e "$file.json" ] || mv "$file" "$file.json"
done
