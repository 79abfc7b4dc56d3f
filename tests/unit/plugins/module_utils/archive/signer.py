# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys that sign archives in tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import NAMESPACE


class Signer:
    """An OpenSSH key, and a file that allows it."""

    def __init__(self, directory: Path, name: str, passphrase: str = "") -> None:
        self.key = str(directory / name)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", self.key]
        subprocess.run(command, check=True, timeout=60)
        self.name = name
        self.allowed = str(directory / f"{name}.allowed")
        Path(self.allowed).write_text(self.line())

    def line(self, options: str = "") -> str:
        """A line that allows this key; ``options`` such as ``valid-before="20300101"``."""
        public = Path(f"{self.key}.pub").read_text()
        more = f",{options}" if options else ""
        return f'{self.name}@example.com namespaces="{NAMESPACE}"{more} {public}'


def allowing(path: Path, *signers: Signer) -> str:
    """A file that allows these keys."""
    path.write_text("".join(signer.line() for signer in signers))
    return str(path)
