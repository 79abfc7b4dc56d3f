# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of the collector as a process of its own, to be killed: API_URL TOKEN ARCHIVE HINT.

Exit status 3 tells a StorageError. It writes nothing but the archive and the hint.
"""

from __future__ import annotations

import sys

from ansible_collections.auditops.cloudscale.plugins.module_utils.api import Api
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain import Hint
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.collector import CollectSettings, collect
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import StorageError
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Connection


def main() -> int:
    url, token, archive, hint = sys.argv[1:]
    with Api(Connection(api_token=token, api_url=url)) as api:
        try:
            collect(LocalStore(archive), api, CollectSettings(most_entries=4), hint=Hint(hint))
        except StorageError:
            return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
