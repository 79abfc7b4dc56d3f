# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  api_token:
    description:
      - API token of a project. A token with read access is enough. Each token belongs to one project, and so does the
        log that it reads.
      - Required where the API is read, here or through the environment.
      - Ansible masks the text of the token everywhere in results, also in entries.
    type: str
  api_url:
    description:
      - URL of the API. The token is sent only to this URL.
      - Only V(https://) URLs are accepted. V(http://) is accepted only for the local machine (a simulator).
    type: str
    default: https://api.cloudscale.ch/v1
  api_timeout:
    description: Timeout for one response of the API, in seconds.
    type: int
    default: 45
  api_retries:
    description:
      - Maximum number of retries per page after a transient error (no connection, an incomplete response, HTTP 429,
        500, 502, 503 or 504).
      - Before the first response of the API, a refused connection or an unknown host is retried at most twice, within 5
        seconds, and a connection timeout once.
    type: int
    default: 8
  api_retry_budget:
    description:
      - Maximum time for all retries of one page, in seconds, including waits that the API requests.
      - If the API requests a wait that exceeds the rest of this time, the read fails at once.
    type: int
    default: 600
  validate_certs:
    description: If V(true), the certificate of the API is verified. Set it to V(false) only for tests.
    type: bool
    default: true
  ca_path:
    description: Path to a file or directory with the certificate authorities to trust instead of the system's.
    type: path
notes:
  - Modules read the environment variables E(CLOUDSCALE_API_TOKEN), E(CLOUDSCALE_API_URL) and E(CLOUDSCALE_API_TIMEOUT)
    on the host where they run. Lookups and callbacks read them on the controller.
"""

    # Sources of the same options for plugins on the controller.
    PLUGINS = r"""
options:
  api_token:
    env:
      - name: CLOUDSCALE_API_TOKEN
    ini:
      - section: auditops.cloudscale
        key: api_token
  api_url:
    env:
      - name: CLOUDSCALE_API_URL
    ini:
      - section: auditops.cloudscale
        key: api_url
  api_timeout:
    env:
      - name: CLOUDSCALE_API_TIMEOUT
    ini:
      - section: auditops.cloudscale
        key: api_timeout
  api_retries:
    ini:
      - section: auditops.cloudscale
        key: api_retries
  api_retry_budget:
    ini:
      - section: auditops.cloudscale
        key: api_retry_budget
  validate_certs:
    ini:
      - section: auditops.cloudscale
        key: validate_certs
  ca_path:
    ini:
      - section: auditops.cloudscale
        key: ca_path
"""

    # Variables of a play, which a callback cannot read.
    VARIABLES = r"""
options:
  api_token:
    vars:
      - name: cloudscale_api_token
  api_url:
    vars:
      - name: cloudscale_api_url
  api_timeout:
    vars:
      - name: cloudscale_api_timeout
  api_retries:
    vars:
      - name: cloudscale_api_retries
  api_retry_budget:
    vars:
      - name: cloudscale_api_retry_budget
  validate_certs:
    vars:
      - name: cloudscale_validate_certs
  ca_path:
    vars:
      - name: cloudscale_ca_path
"""
