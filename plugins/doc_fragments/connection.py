# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  api_token:
    description:
      - The API token of a project; one with read access suffices. A token belongs to one project, and so does its log.
      - Required where the API is read, here or through the environment.
      - Ansible masks its text wherever it appears in a result, in entries too.
    type: str
  api_url:
    description:
      - Where the API is. The token is sent there and nowhere else.
      - Only V(https://) URLs are accepted, but for the machine itself (a simulator).
    type: str
    default: https://api.cloudscale.ch/v1
  api_timeout:
    description: Seconds to wait for one answer of the API.
    type: int
    default: 45
  api_retries:
    description:
      - How often one page is asked for again after a passing fault (no connection, a broken answer, HTTP 429, 500,
        502, 503 or 504).
      - Before the API has responded for the first time, a refused connection or an unknown host is retried twice at
        most, within 5 seconds, and a connection that times out once.
    type: int
    default: 8
  api_retry_budget:
    description:
      - Maximum number of seconds for all retries of one page, including waits that the API asks for.
      - If the API asks for a longer wait than the rest of the budget, the read fails at once.
    type: int
    default: 600
  validate_certs:
    description: Whether to verify the certificate of the API. Turn it off for tests only.
    type: bool
    default: true
  ca_path:
    description: A file or folder with the certificate authorities to trust instead of the system's.
    type: path
notes:
  - For modules the environment variables E(CLOUDSCALE_API_TOKEN), E(CLOUDSCALE_API_URL) and E(CLOUDSCALE_API_TIMEOUT)
    are read where the module runs; for lookups on the controller.
"""

    # The same options, where a plugin on the controller finds them.
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

    # The variables of a play, which a callback does not see.
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
