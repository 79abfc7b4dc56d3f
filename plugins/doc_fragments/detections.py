# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  detections:
    description:
      - Detections of your own, in addition to the built-in ones. One that has the name of a built-in detection
        replaces it.
      - The guide lists the keys of a detection and the built-in ones.
    type: list
    elements: dict
  enable:
    description: Names of experimental detections to apply as well.
    type: list
    elements: str
  disable:
    description: Names of detections to leave out.
    type: list
    elements: str
  own_actors:
    description:
      - Your own automation, which fires no detection. A user is named by e-mail address, a token by its description or
        uuid. V(*) stands for any characters and V(?) for one.
    type: list
    elements: str
  working_hours:
    description:
      - When people work at your site, such as V(Mon-Fri 07:00-19:00 Europe/Zurich). Detections that need working hours
        are off without this option.
    type: str
  holidays:
    description:
      - Days on which nobody works, such as V(2026-04-03), or V(12-25) for each year, in the time zone of
        O(working_hours).
      - Requires O(working_hours).
    type: list
    elements: str
  known_networks:
    description: The networks that your changes come from. Detections that need them are off without this option.
    type: list
    elements: str
"""
