# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: flashduty_flush
short_description: Deliver the events that wait in the outbox
version_added: 1.0.0
author: the flashcat.flashduty contributors (@flashcatcloud)
description:
  - Closes the changes of runs that ended without a final status, with the last known time of the run, and delivers the
    events that wait in the outbox for the integration.
  - Does so for each integration that variables of the inventory's hosts and groups name, one after the other, where no
    option of the task names one. It does not see what only a playbook sets.
  - Runs on the control node. With C(delegate_to) another host, such as a bastion with the only way out, that host sends
    the events in the outbox of the control node, one after the other.
  - With O(stale_after), also closes changes that Flashduty still shows as in progress although they had no event for
    that long. That is for control nodes whose disk does not survive a job, such as containers.
  - With O(outbox_url), also closes and delivers what any control node has left in the outbox that they share, unless
    the task is delegated to another host. If the shared outbox cannot be used, flushes this node's own, and fails.
extends_documentation_fragment:
  - flashcat.flashduty.connection
  - flashcat.flashduty.attributes
options:
  wait:
    description: The maximum number of seconds to wait for delivery.
    type: float
    default: 60
  stale_after:
    description:
      - Close a change as Canceled when Flashduty shows it as Processing and its last event is older than this. In
        seconds, or with a unit, such as V(90m), V(6h) or V(2d); from 10 minutes to 29 days. Without it, Flashduty is
        not asked.
      - Choose more than your longest run takes. A run that takes longer elsewhere would be reported as Canceled,
        until its own end corrects that.
      - Only changes that have the label C(source=ansible), which the callback gives to each of its changes, that belong
        to O(stale_integration_id), and that no run in this outbox has open, are closed. Those that began more than 30
        days ago are not found.
      - The time of the event is that of the change's last event, and its text says so. Title, link and labels stay.
      - Needs O(app_key) and O(stale_integration_id).
    type: str
  stale_integration_id:
    description:
      - The number of the integration that the integration key belongs to, as the Flashduty console and the
        C(integration_id) of M(flashcat.flashduty.flashduty_change_info) show it.
      - With the number of another integration, its changes would stay open, and changes with the same keys would appear
        in the integration of the key.
    type: int
  stale_labels:
    description: Close only changes that have all of these labels too, such as C(controller).
    type: dict
  adopt:
    description:
      - The other integrations whose events in the outbox this one takes over, because their key was replaced by this
        one's. Events that wait, and those that were refused only because of the key, are delivered with this key, and
        runs that vanished are closed with it.
      - Names as RV(others) and the warnings of runs show them, or V(true) for all that have the same API address.
      - If the new key belongs to another integration in Flashduty, changes of the old one stay open there.
    type: list
    elements: str
  drop:
    description: The other integrations whose events in the outbox are given up. Names as in O(adopt), or V(true).
    type: list
    elements: str
requirements:
  - requests
"""

EXAMPLES = r"""
- name: Deliver what waits
  flashcat.flashduty.flashduty_flush:
    wait: 30

- name: Close what job containers have left open for more than a day
  flashcat.flashduty.flashduty_flush:
    stale_after: 1d
    stale_integration_id: 2451
    app_key: "{{ vaulted_app_key }}"

- name: Deliver what waits for the key that this one has replaced
  flashcat.flashduty.flashduty_flush:
    adopt: [3f2a91c0]
"""

RETURN = r"""
closed:
  description: How many changes of vanished runs, and stale ones, were reported as Canceled.
  returned: success
  type: int
stale:
  description: The keys of the changes that were closed because of O(stale_after).
  returned: success
  type: list
  elements: str
delivered:
  description: How many of the events that waited, or that closed a change, were delivered.
  returned: success
  type: int
waiting:
  description: How many events still wait.
  returned: success
  type: int
refused:
  description:
    - The events that Flashduty refused, with C(change_key), C(change_status), C(http_status), C(request_id)
      and C(error).
  returned: success
  type: list
  elements: dict
others:
  description:
    - What the outbox contains for other integrations, each with C(integration), a name that reveals nothing about its
      key, C(same_address), whether it has the same API address, and C(text), what waits and since when.
  returned: success
  type: list
  elements: dict
adopted:
  description: The same of those that were adopted.
  returned: success
  type: list
  elements: dict
dropped:
  description: The same of those that were given up.
  returned: success
  type: list
  elements: dict
integrations:
  description:
    - What was done for each integration, as C(integration), the name that warnings and the doctor show, and how many
      events were C(delivered), C(waiting), C(closed) and C(refused).
  returned: success
  type: list
  elements: dict
lines:
  description: RV(integrations) as lines of text.
  returned: success
  type: list
  elements: str
of_others:
  description: RV(adopted), RV(dropped) and RV(others) as lines of text.
  returned: success
  type: list
  elements: str
"""
