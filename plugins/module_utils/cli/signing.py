# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flags for pins, keys and signers, shared by all commands that add commits, and the run context made of them."""

from __future__ import annotations

import argparse
import threading
from typing import Any, Callable, Dict

from ..archive.chain.chain import StoredCommit
from ..archive.chain.pin import DefaultPin, HeadPin
from ..archive.format.commit import Head
from ..archive.run_context import RunContext
from ..archive.storage.store import Store
from .flags import flag
from .output import warn


def add_signing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pin",
        metavar="FILE",
        help="path to a file that stores the head outside the archive, to detect a truncated archive",
    )
    parser.add_argument(
        "--sign-key", metavar="FILE", help="path to an OpenSSH key that signs each new commit; requires ssh-keygen"
    )
    parser.add_argument(
        "--allowed-signers",
        metavar="FILE",
        help="path to a file with the keys whose commits are trusted, in the allowed signers format of ssh-keygen",
    )
    parser.add_argument(
        "--expected-head",
        type=parse_head,
        metavar="SEQUENCE:SHA256",
        help="newest commit, which you have verified; replaces a different pinned head",
    )
    parser.add_argument(
        "--sign-from",
        type=parse_head,
        metavar="SEQUENCE:SHA256",
        help="newest commit of an unsigned archive, to sign all later commits",
    )


def context_from_options(
    options: argparse.Namespace,
    store: Store,
    stop: threading.Event,
    on_head: Callable[[StoredCommit], None] = lambda _head: None,
) -> RunContext:
    """The context of a run with these options. With a key, the head is pinned by default.

    :raises InvalidInput: the key or the file of signers is not valid.
    """
    keywords: Dict[str, Any] = {
        "on_head": on_head,
        "stop": stop,
        "dry_run": options.dry_run,
        "warn": warn,
        "option_name": flag,
    }
    if options.sign_key or options.allowed_signers:
        from ..archive.chain.signing import AllowedSigners, SigningKey  # slow to import, and few runs need it

        keywords["sign_key"] = SigningKey(options.sign_key) if options.sign_key else None
        keywords["allowed_signers"] = AllowedSigners(options.allowed_signers) if options.allowed_signers else None
    if options.pin:
        keywords["pin"] = HeadPin(options.pin)
    elif options.sign_key:
        keywords["pin"] = DefaultPin(str(store), warn)
    return RunContext(expected_head=options.expected_head, sign_from=options.sign_from, **keywords)


def parse_head(text: str) -> Head:
    """Parse a head from the command line."""
    sequence, _colon, digest = text.partition(":")
    if not sequence.isdigit() or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid head; copy SEQUENCE:SHA256 from status")
    return Head(int(sequence), digest)
