#!/usr/bin/python
# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: flashduty_change
short_description: Report a change event to Flashduty
version_added: 1.0.0
author: the flashcat.flashduty contributors (@flashcatcloud)
description:
  - Reports one event of a change to Flashduty. It is idempotent. If the event says the same as the last one of this
    change that was delivered or waits for delivery, nothing is sent.
  - With O(app_key), it is compared with what Flashduty shows of the change, so that control nodes that share no disk
    agree. A field that the task does not give is not compared then. If Flashduty cannot be reached, the task warns and
    compares with what this machine has reported.
  - Runs on the control node, whatever host the task is for. With C(delegate_to) another host, such as a bastion with
    the only way out, the control node still checks, compares, stores and retries the event, and that host sends it. It
    needs Python 3.8 and requests.
  - O(ca_path), O(client_cert) and O(client_key) are files of the host that sends. So is O(integration_key_file) where
    the task names it; where the environment or ansible.cfg does, it is one of the control node.
  - Options that the task does not set come from the variables, environment and ansible.cfg of the callback
    P(flashcat.flashduty.flashduty_change#callback).
extends_documentation_fragment:
  - flashcat.flashduty.connection
  - flashcat.flashduty.attributes
attributes:
  diff_mode:
    support: full
options:
  change_status:
    description:
      - V(Planned) when the ticket is filed, V(Ready) when it is about to start, V(Processing) while it is in progress,
        V(Canceled) when it was cancelled or rolled back, V(Done) when it is finished.
    type: str
    required: true
    choices: [Planned, Ready, Processing, Canceled, Done]
  change_key:
    description:
      - The unique key of the change, usually the ticket's number. Events with one key merge into one change.
      - Without it the event joins the change that the callback P(flashcat.flashduty.flashduty_change#callback) reports
        for the running playbook, or for the task's host or group where it reports one for each. The task reports
        nothing while the callback waits for something to change.
    type: str
  title:
    description: The title of the change. Required with O(change_key).
    type: str
  event_time:
    description:
      - When it happened, as Unix seconds or ISO 8601 with a time zone. The default is now.
      - Only V(Ready) may be in the future.
    type: str
  description:
    description: At most 2048 characters.
    type: str
  link:
    description: Address of the ticket.
    type: str
  labels:
    description:
      - At most 50 labels, keys of at most 128 characters. They relate the change to alerts with the same labels.
      - Without O(change_key), they are added to the labels of the run's change, which stay as they are.
      - Lists are joined by commas; null and empty values make no label.
      - Without this option, an event of a change that this control node has reported before has the labels of the last
        one, so that it reaches the same channel.
    type: dict
  force:
    description:
      - Send the event even if the last one said the same.
      - Flashduty opens a closed change again with any event other than its end.
    type: bool
    default: false
  cancel_on_exit:
    description:
      - Report the change as Canceled if the running ansible-playbook ends, in whatever way, while the change is still
        open. So a task that fails, an unreachable host or a C(kill -9) between V(Processing) and V(Done) leaves no
        change open.
      - Without it, a change may be opened by one playbook and closed by another one.
      - Not possible with C(delegate_to) another host, which does not see ansible-playbook end.
    type: bool
    default: false
  on_delivery_failure:
    description:
      - With V(fail), the task fails where the event is not delivered within O(timeout). An event that closes a change
        then stays in the outbox, others are not sent any more.
      - With V(queue), the task continues with a warning, and the event stays in the outbox.
    type: str
    choices: [fail, queue]
    default: fail
requirements:
  - requests
"""

EXAMPLES = r"""
- name: Report that the upgrade has started
  flashcat.flashduty.flashduty_change:
    change_key: CHANGE-002
    change_status: Processing
    title: Upgrade the database
    labels:
      service: storefront
      cluster: nj
    cancel_on_exit: true

- name: Report that the upgrade is finished
  flashcat.flashduty.flashduty_change:
    change_key: CHANGE-002
    change_status: Done
    title: Upgrade the database
    labels:
      service: storefront
      cluster: nj
    on_delivery_failure: queue
"""

RETURN = r"""
change_key:
  description: The key of the change.
  returned: success, or when not delivered
  type: str
change_status:
  description: The status that was reported.
  returned: success, or when not delivered
  type: str
event:
  description: The event as sent; in check mode, as it would be sent.
  returned: success, or when not delivered
  type: dict
delivered:
  description: Whether Flashduty has accepted the event, or shows an equal one already.
  returned: success, or when not delivered
  type: bool
queued:
  description: Whether the event waits in the outbox.
  returned: success, or when not delivered
  type: bool
request_id:
  description: Flashduty's trace id of the request; null where nothing was sent or Flashduty has not answered.
  returned: success, or when not delivered
  type: str
error:
  description: Why Flashduty refused the event, with its C(code), C(http_status) and C(message).
  returned: when refused
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._argspec import CHANGE_OPTIONS, CONNECTION_OPTIONS
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import FIELDS, ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection, InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.module_utils._http import IMPORT_ERROR, Api


def main() -> None:
    """Send the event as it is given, once: the control node has checked and stored it, and tries again."""
    module = AnsibleModule({**CHANGE_OPTIONS, **CONNECTION_OPTIONS}, supports_check_mode=True)
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=IMPORT_ERROR)
    fields = {name: module.params[name] for name in FIELDS if module.params[name] is not None}
    fields["event_time"] = int(fields["event_time"])
    try:
        connection = Connection.from_options(module.params)
        request_id = Api(connection).push(ChangeEvent(**fields).to_json(), connection.timeout)
    except InvalidConnection as error:
        module.fail_json(msg=str(error))
    except ApiError as error:
        module.fail_json(msg=error.message, answer=error.to_dict())
    module.exit_json(changed=True, request_id=request_id)


if __name__ == "__main__":
    main()
