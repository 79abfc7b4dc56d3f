# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The flags about pins, keys and signers that all commands share which add commits, as the context of a run."""

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
    parser.add_argument("--pin", metavar="FILE", help="remember the head in FILE outside the archive, to detect a cut")
    parser.add_argument("--sign-key", metavar="FILE", help="an OpenSSH key that signs every commit, by ssh-keygen")
    parser.add_argument(
        "--allowed-signers", metavar="FILE", help="whose commits to build on; the format is that of ssh-keygen"
    )
    parser.add_argument(
        "--expected-head", type=head, metavar="SEQUENCE:SHA256", help="the newest commit, which you verified"
    )
    parser.add_argument(
        "--sign-from", type=head, metavar="SEQUENCE:SHA256", help="sign an archive that is not signed from here on"
    )


def context_from_options(
    options: argparse.Namespace,
    store: Store,
    stop: threading.Event,
    on_head: Callable[[StoredCommit], None] = lambda _link: None,
) -> RunContext:
    """The context of a run with these options. With a key, a pin is kept by default.

    :raises InvalidInput: the key or the file of signers cannot be used.
    """
    more: Dict[str, Any] = {"on_head": on_head, "stop": stop, "dry_run": options.dry_run, "warn": warn, "called": flag}
    if options.sign_key or options.allowed_signers:
        from ..archive.chain.signing import AllowedSigners, SigningKey  # takes its time, and few runs need it

        more["sign_key"] = SigningKey(options.sign_key) if options.sign_key else None
        more["allowed_signers"] = AllowedSigners(options.allowed_signers) if options.allowed_signers else None
    if options.pin:
        more["pin"] = HeadPin(options.pin)
    elif options.sign_key:
        more["pin"] = DefaultPin(str(store), warn)
    return RunContext(expected_head=options.expected_head, sign_from=options.sign_from, **more)


def head(text: str) -> Head:
    """A head as it is written on the command line."""
    sequence, _colon, digest = text.partition(":")
    if not sequence.isdigit() or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid head; copy SEQUENCE:SHA256 from status")
    return Head(int(sequence), digest)
