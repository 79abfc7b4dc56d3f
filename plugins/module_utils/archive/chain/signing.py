# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures of commits, made and checked by OpenSSH's ``ssh-keygen -Y``, so that it alone suffices to check them.

Signed are the bytes of a commit as it is stored. It names its archive and its sequence, and by the chain of hashes all
commits before it, so that one good signature vouches for all that came before.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from typing import List, NamedTuple, Optional, Sequence

from ...errors import ArchiveDamaged, InvalidInput, StorageError
from ..format.commit import Head, sha256
from ..storage.store import Store, read
from .chain import load

NAMESPACE = "cloudscale-audit-head"
"""What ssh-keygen ties a signature to, so that one made for another purpose is none of an archive."""

_NAME = re.compile(r"signatures/(\d{12})-[0-9a-f]{12}\.sig", re.ASCII)
_SECONDS = 60


class Signature(NamedTuple):
    """A signature in the archive: the commit that it says it is of, and its name."""

    sequence: int
    name: str


def check_key(key: str) -> None:
    """Refuse a key that cannot sign before anything else is done.

    :raises InvalidInput: there is no such file, or no ssh-keygen.
    """
    _keygen()
    if not os.access(key, os.R_OK):
        raise InvalidInput(f"The key {key} cannot be read; check its path and its owner.")


def sign(store: Store, head: Head, key: str) -> str:
    """Sign a commit with an OpenSSH key, and return the name of the signature in the archive.

    ``key`` is the file of a private key without a passphrase, or of a public key whose private one an agent has.

    :raises InvalidInput: the key cannot sign.
    :raises ArchiveDamaged: the commit is not the one meant.
    :raises StorageError: the signature cannot be stored.
    """
    body = load(store, head.sequence).body
    if sha256(body) != head.sha256:
        raise ArchiveDamaged(f"Commit {head.sequence} in {store} is not the one that was written; verify the archive.")
    done = _run(["sign", "-f", key, "-n", NAMESPACE], body)
    if done.returncode != 0:
        raise InvalidInput(
            f"Commit {head.sequence} in {store} is not signed, for the key {key} cannot sign: {_words(done)}."
        )
    name = f"signatures/{head.sequence:012d}-{sha256(done.stdout)[:12]}.sig"
    store.put({name: done.stdout})
    return name


def signatures(store: Store) -> List[Signature]:
    """All signatures, that of the newest commit first."""
    matches = filter(None, map(_NAME.fullmatch, store.names("signatures")))
    return sorted((Signature(int(match[1]), match[0]) for match in matches), reverse=True)


class AllowedSigners:
    """Whose signatures count: a file as ``ssh-keygen`` describes it under ALLOWED SIGNERS, from outside the archive."""

    def __init__(self, path: str) -> None:
        """:raises InvalidInput: the file cannot be read, or there is no ssh-keygen."""
        _keygen()
        if not os.path.isfile(path) or not os.access(path, os.R_OK):
            raise InvalidInput(f"The file of allowed signers {path} cannot be read; check its path.")
        self._path = path

    def damage(self, store: Store, signature: Signature, body: bytes) -> Optional[str]:
        """Why this is no signature of these bytes by an allowed signer; None if it is.

        :raises StorageError: the signature cannot be read.
        """
        with tempfile.NamedTemporaryFile(prefix="cloudscale-audit-", suffix=".sig") as file:
            try:
                file.write(read(store, signature.name))
                file.flush()
            except OSError as exc:
                raise StorageError(f"{file.name} cannot be written: {exc.strerror or exc}.") from exc
            given = ["-f", self._path, "-s", file.name]
            found = _run(["find-principals", *given], b"")
            names = found.stdout.decode("utf-8", "replace").splitlines()
            if found.returncode != 0 or not names:
                return "it is of no allowed signer"
            done = _run(["verify", *given, "-I", names[0], "-n", NAMESPACE], body)
        return None if done.returncode == 0 else "it is no signature of this commit"


class _Answer(NamedTuple):
    """What ssh-keygen ended with and printed."""

    returncode: int
    stdout: bytes
    stderr: bytes


def _run(arguments: Sequence[str], text: bytes) -> _Answer:
    # By asyncio: what Ansible ships with modules may not start programs by the module subprocess.
    import asyncio

    try:
        return asyncio.run(_ask([_keygen(), "-Y", *arguments], text))
    except (OSError, asyncio.TimeoutError) as exc:
        raise InvalidInput(f"ssh-keygen does not work here: {str(exc) or 'it does not end'}.") from exc


async def _ask(command: Sequence[str], text: bytes) -> _Answer:
    import asyncio

    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # A key with a passphrase must fail, not wait for somebody to type.
        env={**os.environ, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"},
        start_new_session=True,
    )
    try:
        stdout, stderr = await asyncio.wait_for(process.communicate(text), _SECONDS)
    except asyncio.TimeoutError:
        process.kill()
        await process.wait()
        raise
    return _Answer(process.returncode or 0, stdout, stderr)


def _keygen() -> str:
    found = shutil.which("ssh-keygen")
    if found is None:
        raise InvalidInput("ssh-keygen is missing, which signs and checks; install OpenSSH's client.")
    return found


def _words(done: _Answer) -> str:
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].rstrip(".\r") if lines else f"exit status {done.returncode}"
