#!/bin/sh
# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# keys.sh show|create|prepare|switch NAME: manages the key with which this host signs, and prints its public half.
# create: creates the key if it does not exist. prepare: also creates the next key. switch: replaces the key by the next.
# Prints lines: "changed", "public KEY", "next KEY", and "signer LINE" for each line of allowed_signers.
set -eu
[ "$1" = show ] || [ -d /etc/cloudscale-audit ] || mkdir -m 0755 /etc/cloudscale-audit
cd /etc/cloudscale-audit 2>/dev/null || exit 0
umask 077

create_key() {
  [ ! -e "$1" ] || return 0
  rm -f draft draft.pub
  ssh-keygen -q -t ed25519 -N '' -C "$2" -f draft
  rm -f draft.pub
  sync draft
  mv draft "$1"
  sync .
  echo changed
}

case $1 in
  create) create_key sign_key "$2" ;;
  prepare)
    create_key sign_key "$2"
    create_key sign_key.next "$2"
    ;;
  switch)
    if [ -e sign_key.next ]; then
      mv sign_key.next sign_key
      sync .
      echo changed
    fi
    ;;
esac
[ ! -e sign_key ] || echo "public $(ssh-keygen -y -f sign_key)"
[ ! -e sign_key.next ] || echo "next $(ssh-keygen -y -f sign_key.next)"
[ ! -e allowed_signers ] || sed 's/^/signer /' allowed_signers
