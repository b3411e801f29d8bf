# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: flashduty_doctor
short_description: Find out why changes do not reach Flashduty
version_added: 1.0.0
author: the flashcat.flashduty contributors (@flashcatcloud)
description:
  - Checks versions, configuration, callback, keys, network, proxy, certificate, clock and outbox of the control node,
    and says for each whether it is right, and if not, what to do. The playbook C(flashcat.flashduty.doctor)
    prints it. With C(-i), it also says from what the label C(env) of these hosts is guessed.
  - Where hosts of the inventory have keys in their variables, says which integration each group reports to, which
    hosts have none, and tests each of these keys. So name the inventory, as for a run.
  - With O(outbox_url), says whether the shared outbox can be used, which nodes report there, and what they left.
  - It creates no change. To find out about the integration key it sends an empty event, which the API has to refuse,
    once with the key and once with a made-up one, and compares the answers. If they are the same, it says that it
    cannot know whether the key is right.
  - Does not fail because of what it finds; see RV(healthy). Runs on the control node only.
extends_documentation_fragment:
  - flashcat.flashduty.connection
  - flashcat.flashduty.attributes
attributes:
  diff_mode:
    details: It changes nothing.
requirements:
  - requests on the control node
"""

EXAMPLES = r"""
- name: Look for what is wrong
  flashcat.flashduty.flashduty_doctor:
  register: doctor

- name: Stop before the maintenance if nobody would see it
  ansible.builtin.assert:
    that: doctor.healthy
    fail_msg: "{{ doctor.lines }}"
"""

RETURN = r"""
healthy:
  description: Whether nothing is broken. Warnings do not count.
  returned: always
  type: bool
findings:
  description:
    - What was found, as C(check), C(state) (C(ok), C(warn) or C(fail)), C(text), C(advice) and C(kind), its name in the
      table of docs/troubleshooting.md.
  returned: always
  type: list
  elements: dict
lines:
  description: The same as lines of text.
  returned: always
  type: list
  elements: str
"""
