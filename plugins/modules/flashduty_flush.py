#!/usr/bin/python
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
  - Closes the runs that vanished without a word, with their last known moment as the time of the event, and delivers
    what waits in the outbox for the integration.
  - Runs on the control node. With C(delegate_to) another host, it flushes that host's outbox.
  - With O(stale_after), also closes changes that Flashduty still shows as in progress although nothing was heard of
    them for that long. That is for control nodes whose disk does not survive a job, such as containers.
extends_documentation_fragment:
  - flashcat.flashduty.connection
  - flashcat.flashduty.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  wait:
    description: How many seconds to wait for the delivery at most.
    type: float
    default: 60
  stale_after:
    description:
      - Close a change as Canceled when Flashduty shows it as Processing and its last event is older than this. In
        seconds, or with a unit, such as V(90m), V(6h) or V(2d); from 10 minutes to 29 days. Without it, Flashduty is
        not asked.
      - Choose more than your longest run takes. A run that goes on for longer elsewhere would be reported as Canceled,
        until its own end corrects that.
      - Only changes that have the label C(source=ansible), which the callback gives to each of its changes, that belong
        to O(stale_integration_id), and that no run in this outbox has open, are closed. Those that began more than 30
        days ago are not found.
      - The event says when the change was last heard of, and has that moment as its time. Title, link and labels stay.
      - Needs O(app_key) and O(stale_integration_id).
    type: str
  stale_integration_id:
    description:
      - The number of the integration that the integration key belongs to, as the Flashduty console and the
        C(integration_id) of M(flashcat.flashduty.flashduty_change_info) show it.
      - With another integration's number, that one's changes would stay open, and changes of the same keys would appear
        in the key's own integration.
    type: int
  stale_labels:
    description: Close only changes that have all of these labels too, such as C(controller).
    type: dict
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
  description: How many events were delivered.
  returned: success
  type: int
waiting:
  description: How many events still wait.
  returned: success
  type: int
refused:
  description:
    - The events that Flashduty refused for good, with C(change_key), C(change_status), C(http_status), C(request_id)
      and C(error).
  returned: success
  type: list
  elements: dict
"""

import time
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.flashcat.flashduty.plugins.module_utils._api import IMPORT_ERROR
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_list import find_changes
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import InvalidQuery
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection, InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.module_utils._delivery import Delivery
from ansible_collections.flashcat.flashduty.plugins.module_utils._flushing import FLUSH_OPTIONS, Flush
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_file import OutboxError
from ansible_collections.flashcat.flashduty.plugins.module_utils._reporting import CONNECTION_OPTIONS, STATE_DIR

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Flush the outbox of the host that the task is delegated to."""
    module = AnsibleModule({**FLUSH_OPTIONS, **CONNECTION_OPTIONS}, supports_check_mode=True)
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=IMPORT_ERROR)
    folder = module.params["state_dir"] or STATE_DIR
    try:
        connection = Connection.from_options(module.params)

        def wait(used: str, done: Callable[[Outbox], bool], seconds: float) -> bool:
            with Delivery(used, connection) as delivery:
                return delivery.wait(done, time.monotonic() + seconds)

        flush = Flush(
            module.params, connection, folder, lambda query: find_changes(connection, query, connection.timeout)
        )
        result: dict[str, Any] = flush.preview() if module.check_mode else flush.flush(wait)
    except (InvalidQuery, InvalidConnection, OutboxError, OSError) as error:
        module.fail_json(msg=str(error))
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
