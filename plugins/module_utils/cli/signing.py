# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signs the newest commit of an archive, on request."""

from __future__ import annotations

import argparse

from ..archive.format.commit import Head
from ..archive.storage.store import Store
from .output import say


def add_sign_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sign-key", metavar="FILE", help="an OpenSSH key that signs the newest commit, by ssh-keygen")


def check_sign_key(options: argparse.Namespace) -> None:
    """Refuse a key that cannot sign before anything else is done.

    :raises InvalidInput: there is no such file, or no ssh-keygen.
    """
    if options.sign_key:
        from ..archive.chain.signing import check_key

        check_key(options.sign_key)


def sign_head(options: argparse.Namespace, store: Store, head: Head) -> None:
    """Sign this commit if a key is given; errors are those of :func:`signing.sign`."""
    if options.sign_key:
        from ..archive.chain.signing import sign

        sign(store, head, options.sign_key)


def tell_unsigned(options: argparse.Namespace, store: Store) -> None:
    """Say so if older commits are signed and the one just made is not, for lack of a key."""
    from ..archive.chain.signing import signatures

    if not options.sign_key and signatures(store):
        say("It is not signed, as older commits are: --sign-key does that here, or with the next commit of collect.")
