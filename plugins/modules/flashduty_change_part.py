# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: flashduty_change_part
short_description: Report a change that many hosts share
version_added: 1.0.0
author: the flashcat.flashduty contributors (@flashcatcloud)
description:
  - Each host of a play reports when it starts its part of a change and how it has ended. The first host that starts
    reports the change as Processing, and the last host that finishes closes it. It ends as Done if all hosts that
    started are done, otherwise as Canceled, naming the hosts that failed.
  - Hosts that become unreachable or are stopped report nothing more. They are found when the other hosts have finished,
    at the latest when ansible-playbook ends, however it ends.
  - If some hosts of the play take no part, the change is closed when ansible-playbook ends, with the time at which the
    last host finished. Name the hosts in O(hosts) to have it closed earlier.
  - The role P(flashcat.flashduty.tracked_change#role) does this for a tasks file.
  - Runs on the control node only.
extends_documentation_fragment:
  - flashcat.flashduty.connection
  - flashcat.flashduty.attributes
attributes:
  diff_mode:
    support: full
options:
  state:
    description: Whether this host starts its part, is done with it, or has failed.
    type: str
    required: true
    choices: [started, done, failed]
  change_key:
    description: The unique key of the change, usually the ticket's number.
    type: str
    required: true
  title:
    description: The title of the change. Required with O(state=started).
    type: str
  description:
    description: What the change is about. At its end, the outcome is put in front.
    type: str
  link:
    description: Address of the ticket.
    type: str
  labels:
    description: Labels as in M(flashcat.flashduty.flashduty_change), the same for all hosts.
    type: dict
  reason:
    description: Why the host has failed. It is sent to Flashduty unchanged.
    type: str
  failed_task:
    description: The name of the task that has failed, for the label C(failed_task) of the change's end.
    type: str
  failed_module:
    description:
      - The module of the task that has failed. Without it and without O(reason), the text says that a task with
        C(no_log) has failed.
    type: str
  failed_message:
    description: The message of that task. It may contain secrets.
    type: str
  rollback:
    description: How the rollback ended.
    type: str
    choices: [none, done, failed]
    default: none
  rollback_task:
    description: The name of the task at which the rollback has failed.
    type: str
  hosts:
    description: The hosts that take part. The default is all hosts of the play.
    type: list
    elements: str
  on_delivery_failure:
    description:
      - With V(fail), the task fails if the event is not delivered within O(timeout). With V(queue), it continues with
        a warning, and the event stays in the outbox.
    type: str
    choices: [fail, queue]
    default: queue
requirements:
  - requests on the control node
seealso:
  - module: flashcat.flashduty.flashduty_change
"""

EXAMPLES = r"""
- name: Upgrade on all hosts as one change
  block:
    - name: Begin
      flashcat.flashduty.flashduty_change_part:
        state: started
        change_key: CHANGE-002
        title: Upgrade the storefront
        labels:
          service: storefront

    - name: Upgrade
      ansible.builtin.package:
        name: storefront
        state: latest

    - name: This host is done
      flashcat.flashduty.flashduty_change_part:
        state: done
        change_key: CHANGE-002
  rescue:
    - name: This host has failed
      flashcat.flashduty.flashduty_change_part:
        state: failed
        change_key: CHANGE-002
        reason: the package could not be upgraded

    - name: Pass the failure on
      ansible.builtin.fail:
        msg: The upgrade failed.
"""

RETURN = r"""
change_key:
  description: The key of the change.
  returned: success, or when not delivered; in check mode only with state started
  type: str
change_status:
  description: The state that the change is in.
  returned: success, or when not delivered; in check mode only with state started
  type: str
event:
  description: The event that begins the change, or the one that closes it.
  returned: with state started, or when this host was the last one; in check mode only with state started
  type: dict
delivered:
  description: Whether Flashduty has accepted the event.
  returned: with the event
  type: bool
queued:
  description: Whether the event waits in the outbox.
  returned: with the event
  type: bool
request_id:
  description: Flashduty's trace id of the request; null where Flashduty has not answered.
  returned: with the event
  type: str
error:
  description: Why Flashduty refused the event, with its C(code), C(http_status) and C(message).
  returned: when refused
  type: dict
"""
