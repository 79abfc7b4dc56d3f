# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  detections:
    description:
      - Your own detections, in addition to the built-in detections. A detection with the name of a built-in detection
        replaces the built-in detection.
      - The guide to detections describes the keys of a detection; the reference lists the built-in detections.
    type: list
    elements: dict
  enable:
    description: Names of experimental detections to apply too.
    type: list
    elements: str
  disable:
    description: Names of detections to turn off.
    type: list
    elements: str
  own_actors:
    description:
      - Actors of your own automation, whose changes fire no detection. Name a user by e-mail address, a token by its
        description or uuid. V(*) matches any characters and V(?) matches one character.
    type: list
    elements: str
  working_hours:
    description:
      - Working hours at your site, such as V(Mon-Fri 07:00-19:00 Europe/Zurich). Without this option, detections that
        need working hours are off.
    type: str
  holidays:
    description:
      - Days without working hours, such as V(2026-04-03), or V(12-25) for each year, in the time zone of
        O(working_hours).
      - Requires O(working_hours).
    type: list
    elements: str
  known_networks:
    description: Networks from which your changes are made. Without this option, detections that need networks are off.
    type: list
    elements: str
"""
