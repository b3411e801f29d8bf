# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: flashduty_outbox
short_description: Show what this control node has sent to Flashduty
version_added: 1.0.0
author: the flashcat.flashduty contributors (@flashcatcloud)
description:
  - Lists the events in the outbox of the control node, the latest first, with the state of each and, if Flashduty
    refused it, the reason. The playbook C(flashcat.flashduty.outbox) prints them.
  - With O(outbox_url), it lists those of all control nodes that share that outbox, and names the node of each.
  - Sends refused events again, or gives them up.
  - Needs no key and sends no request. Runs on the control node only.
extends_documentation_fragment:
  - flashcat.flashduty.connection
  - flashcat.flashduty.attributes
attributes:
  idempotent:
    details: An event that was sent again is not refused any more, and naming it again is an error.
options:
  limit:
    description: The maximum number of events to list.
    type: int
    default: 20
  state:
    description:
      - List only events in these states.
      - V(waiting) for delivery, V(sending) now, V(delivered), V(refused) by Flashduty, V(expired) if it became too old
        to be sent or was given up, V(held) while another run reports to the same change.
    type: list
    elements: str
    choices: [waiting, sending, delivered, refused, expired, held]
  change_key:
    description: List only events of this change.
    type: str
  resend:
    description:
      - The ids of refused events that are to be sent again, with the next run or
        M(flashcat.flashduty.flashduty_flush).
    type: list
    elements: str
  drop:
    description: The ids of refused events that are to be given up.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Look at what Flashduty refused
  flashcat.flashduty.flashduty_outbox:
    state: [refused]
  register: outbox

- name: Send it again
  flashcat.flashduty.flashduty_outbox:
    resend: "{{ outbox.events | map(attribute='id') }}"
"""

RETURN = r"""
events:
  description:
    - The events, the latest first, each with C(id), C(change_key), C(change_status), C(state), C(event_time),
      C(stored_at), C(settled_at), C(title), C(link), C(request_id), C(http_status), C(error), C(integration), a name
      of its integration that reveals nothing about the key, and C(node), the control node that has reported it, empty
      for what is only in the outbox of this one. Times are Unix seconds.
  returned: success
  type: list
  elements: dict
lines:
  description: The same as lines of text, in the language that is set.
  returned: success
  type: list
  elements: str
resent:
  description: The ids of the events that wait again.
  returned: success
  type: list
  elements: str
dropped:
  description: The ids of the events that were given up.
  returned: success
  type: list
  elements: str
"""
