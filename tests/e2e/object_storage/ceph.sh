#!/usr/bin/env bash
# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ceph.sh ROOT PORT: the smallest real Ceph object gateway, at 127.0.0.1:PORT, in the foreground, with all in memory.
# ROOT is a Debian tree with ceph-mon, ceph-osd, ceph-mgr and radosgw, in a mount and process namespace of its own.
# Who owns the buckets is testkey, testsecret; another user is collectorkey, collectorsecret.
set -euo pipefail
if [ "${1:-}" != inside ]; then
  root=$1
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  cp "$0" "$root/ceph.sh"
  exec chroot "$root" bash /ceph.sh inside "$2"
fi

port=$2
folder=/srv/ceph
mkdir -p "$folder"/{mon,osd,run,log,mgr}
cd "$folder"
id=$(cat /proc/sys/kernel/random/uuid)
cat > ceph.conf <<END
[global]
fsid = $id
mon host = v2:127.0.0.1:$((port + 1)),v1:127.0.0.1:$((port + 2))
public network = 127.0.0.0/8
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
mon warn on pool no redundancy = false
mon allow pool size one = true
osd crush chooseleaf type = 0
mon max pg per osd = 1000
run dir = $folder/run
log file = $folder/log/\$name.log
admin socket = $folder/run/\$name.asok
mon data = $folder/mon
mgr data = $folder/mgr
osd data = $folder/osd
osd objectstore = memstore
osd class dir = /usr/lib/$(uname -m)-linux-gnu/rados-classes
erasure code dir = /usr/lib/$(uname -m)-linux-gnu/ceph/erasure-code
memstore device bytes = 2147483648
osd memory target = 939524096
mon data avail crit = 1
mon data avail warn = 2
mon osd full ratio = .98
mon osd nearfull ratio = .97
mon osd backfillfull ratio = .975
ms mon client mode = crc
ms mon service mode = crc
ms mon cluster mode = crc
rgw frontends = beast endpoint=127.0.0.1:$port
END
export CEPH_CONF=$folder/ceph.conf CEPH_ARGS="--conf $folder/ceph.conf"
monmaptool --create --fsid "$id" --addv a "[v2:127.0.0.1:$((port + 1)),v1:127.0.0.1:$((port + 2))]" monmap
ceph-mon -i a --mkfs --monmap monmap
ceph-mon -i a
osd=$(cat /proc/sys/kernel/random/uuid)
ceph osd new "$osd"
ceph-osd -i 0 --mkfs --osd-uuid "$osd"
ceph-osd -i 0
ceph-mgr -i x
radosgw-admin user create --uid test --display-name test --access-key testkey --secret-key testsecret
radosgw-admin user create --uid collector --display-name collector --access-key collectorkey \
  --secret-key collectorsecret
exec radosgw -n client.rgw.a --foreground
